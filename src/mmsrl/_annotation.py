"""Write the results of a stage to AnnData objects, as :mod:`mmsrl.pp` and :mod:`mmsrl.tl` do."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from anndata import AnnData


def as_sections(data: AnnData | Sequence[AnnData], *, copy: bool = False) -> list[AnnData]:
    """Return the sections as a list, or copies of them."""
    sections = [data] if isinstance(data, AnnData) else list(data)
    return [adata.copy() for adata in sections] if copy else sections


def result_of(data: AnnData | Sequence[AnnData], sections: list[AnnData], *, copy: bool) -> Any:
    """Return what a function with the argument ``copy`` returns: ``None``, or copies in the form of ``data``."""
    if not copy:
        return None
    return sections[0] if isinstance(data, AnnData) else sections


def shallow(adata: AnnData, *, obs: Mapping[str, str] | None = None, obsm: Mapping[str, str] | None = None) -> AnnData:
    """Return a new object that shares all arrays with ``adata``, so that additions to it do not reach ``adata``.

    ``obs`` and ``obsm`` map the key in the new object to the key in ``adata``. Missing keys are left out.
    """
    columns = {new: adata.obs[key] for new, key in (obs or {}).items() if key in adata.obs}
    arrays = {new: adata.obsm[key] for new, key in (obsm or {}).items() if key in adata.obsm}
    return AnnData(
        adata.X,
        obs=adata.obs.drop(columns=list(obs or {}), errors="ignore").assign(**columns),
        var=adata.var,
        obsm={key: value for key, value in adata.obsm.items() if key not in (obsm or {})} | arrays,
        uns=dict(adata.uns),
    )


def rows_of(sections: Iterable[AnnData]) -> Iterable[tuple[AnnData, slice]]:
    """Yield each section with its rows in tables and arrays of all spots."""
    first = 0
    for adata in sections:
        yield adata, slice(first, first + adata.n_obs)
        first += adata.n_obs


def report(messages: Iterable[Mapping[str, str]]) -> None:
    """Issue warnings as Python warnings, and log all other messages on the logger ``mmsrl``."""
    for message in messages:
        if message["level"] == "warning":
            # Three frames up: the caller of the function in mmsrl.pp or mmsrl.tl.
            warnings.warn(message["text"], UserWarning, stacklevel=3)
        else:
            logging.getLogger("mmsrl").info(message["text"])


def storable(value: Any) -> Any:
    """Return the value as ``uns`` of an h5ad file can hold it: ``None`` is left out, records become a table."""
    if isinstance(value, Mapping):
        return {str(key).replace("/", "_"): storable(part) for key, part in value.items() if part is not None}
    if isinstance(value, pd.DataFrame):
        return pd.DataFrame({name: _column(value[name]) for name in value})
    if isinstance(value, (list, tuple)):
        if value and isinstance(value[0], Mapping):
            return storable(pd.DataFrame.from_records(value))
        return np.asarray(value if len(value) else np.zeros(0))
    return value


def _column(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return a column of one dtype that h5ad files can hold."""
    column = column.infer_objects()
    return column.fillna("").astype(str) if column.dtype == object else column
