"""What ingest needs of an `.h5ad` of any platform; the rest of the file is not read."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from mmsrl import _keys
from mmsrl._counts import not_counts
from mmsrl._errors import InputError
from mmsrl._hdf5 import coordinates_fault, open_hdf5
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.images import pictures_of
from mmsrl.ingest.matrix import Counts, checked
from mmsrl.ingest.positions import array_obs
from mmsrl.ingest.units import scale_of_columns, stacked_fields

ROWS_AT_ONCE = 4096
"""Rows of a dense matrix read at a time."""

_ENSEMBL = re.compile(r"^ENS[A-Z]*G\d+")
_SYMBOL_COLUMNS = ("gene_symbols", "gene_symbol", "gene_name", "gene_names", "feature_name", "symbol", "SYMBOL")
_ID_COLUMNS = ("gene_ids", "gene_id", "ensembl_id", "ensembl")


Candidate = tuple[str, Callable[[], sparse.csr_matrix], Callable[[], pd.DataFrame]]
"""Where counts may be: the place in words, and what reads the matrix and its genes."""


MAX_STACKED = 0.01
"""Share of spots on top of another from which a file is taken to hold several sections; single-cell platforms with
rounded centroids stay below."""


def read_h5ad(path: Path, sample: str) -> Content:
    """Read raw counts, names, coordinates and images of an `.h5ad`.

    Raises
    ------
    InputError
        The file is damaged or foreign, or has no `obsm['spatial']` or no raw counts.
    """
    with open_hdf5(path, "AnnData", "write it anew with anndata >= 0.8") as file:
        if not {"obs", "var"} <= set(file):
            raise InputError(f"{path.name}: HDF5, but no AnnData (it has no obs and var)")
        obs: pd.DataFrame = read_elem(file["obs"])
        counts_from, matrix, var = _raw_counts(file, path.name)
        library, notes = _library(file, sample)
        spatial = _spatial(file, path.name)
    counts = checked(Counts(matrix, obs.index.astype(str).to_numpy(dtype=object), features_of(var)), path.name)
    if len(spatial) != len(obs):
        raise InputError(f"{path.name}: obsm['spatial'] has {len(spatial)} rows for {len(obs)} spots")
    pictures, no_pictures = pictures_of(_entry(library, "images"))
    return content_of_table(
        counts=counts,
        obs=obs,
        spatial=spatial,
        pictures=pictures,
        scalefactors=scalefactors_of(library),
        source=path.name,
        notes=[info(f"raw counts from {counts_from}"), *map(warning, [*notes, *no_pictures])],
    )


def content_of_table(
    *,
    counts: Counts,
    obs: pd.DataFrame,
    spatial: NDArray[np.float64],
    pictures: dict[str, NDArray[np.uint8]],
    scalefactors: dict[str, float],
    source: str,
    notes: list[dict[str, str]],
) -> Content:
    """Return the content of AnnData: of ``obs`` what the internal form has, and what it tells of the scale.

    Raises
    ------
    InputError
        A value of the array position is not whole.
    """
    array, said = array_obs(obs, spatial, source)
    told = scale_of_columns(obs, spatial)
    stacked = stacked_fields(obs, spatial)
    return Content(
        counts=counts,
        obs=array,
        spatial=spatial,
        pictures=pictures,
        scalefactors=scalefactors,
        source=source,
        notes=[*notes, *map(info, said), *map(warning, [stacked] if stacked else [])],
        platform=told.platform if told else None,
        um_per_px=told.um_per_px if told else None,
        um_per_px_from=told.why if told else "",
        max_stacked=MAX_STACKED,
    )


def scalefactors_of(library: dict[str, Any]) -> dict[str, float]:
    """Return the scale factors of an entry of `uns['spatial']`; what is no positive number is left out."""
    return {
        name: float(value)
        for name, value in _entry(library, "scalefactors").items()
        if isinstance(value, int | float | np.number) and 0 < value < float("inf")
    }


def _raw_counts(file: h5py.File, name: str) -> tuple[str, sparse.csr_matrix, pd.DataFrame]:
    """Return the first of layers['counts'], X and raw.X that holds counts."""
    places = (("layers['counts']", "layers/counts", "var"), ("X", "X", "var"), ("raw.X", "raw/X", "raw/var"))
    return first_counts(
        [(place, partial(_csr, file[key]), partial(read_elem, file[var])) for place, key, var in places if key in file],
        name,
    )


def first_counts(candidates: Iterable[Candidate], name: str) -> tuple[str, sparse.csr_matrix, pd.DataFrame]:
    """Return the first of several matrices that holds counts: its place, the matrix and its genes.

    Raises
    ------
    InputError
        None of them holds counts.
    """
    faults = []
    for place, matrix_of, var_of in candidates:
        matrix = matrix_of()
        fault = not_counts(matrix.data)
        if fault is None:
            return place, matrix, var_of()
        faults.append(f"{place}: {fault}")
    raise InputError(
        f"{name}: no raw counts ({'; '.join(faults) or 'it has no matrix'}); "
        "put the counts as they were sequenced, whole numbers from 0, in X or layers['counts']"
    )


def csr_of(matrix: Any) -> sparse.csr_matrix:
    """Return a matrix in memory, sparse or dense, as CSR float32."""
    return sparse.csr_matrix(matrix, dtype=np.float32)


def _csr(element: h5py.Group | h5py.Dataset) -> sparse.csr_matrix:
    if isinstance(element, h5py.Dataset) and element.ndim == 2:
        blocks = range(0, element.shape[0], ROWS_AT_ONCE)
        rows = [sparse.csr_matrix(element[start : start + ROWS_AT_ONCE], dtype=np.float32) for start in blocks]
        return sparse.vstack(rows, format="csr") if rows else sparse.csr_matrix(element.shape, dtype=np.float32)
    return sparse.csr_matrix(read_elem(element), dtype=np.float32)


def _spatial(file: h5py.File, name: str) -> NDArray[np.float64]:
    fault = coordinates_fault(file)
    if fault is not None:
        raise InputError(f"{name}: {fault}")
    return np.asarray(read_elem(file[f"obsm/{_keys.SPATIAL}"]), dtype=np.float64)


def _library(file: h5py.File, sample: str) -> tuple[dict[str, Any], list[str]]:
    """Return the entry of `uns['spatial']` that is the sample's: the only one, or that of its name."""
    key = f"uns/{_keys.UNS_SPATIAL}"
    if key not in file or not isinstance(file[key], h5py.Group):
        return {}, []
    # What is no group is about all of them, as CELLxGENE's `is_single`.
    names = [name for name in file[key] if isinstance(file[key][name], h5py.Group)]
    chosen = sample if sample in names else names[0] if len(names) == 1 else None
    if chosen is None:
        return {}, [f"uns['spatial'] has images of {', '.join(names)}, none named {sample}; took none"] if names else []
    library = read_elem(file[f"{key}/{chosen}"])
    return library if isinstance(library, dict) else {}, []


def _entry(library: dict[str, Any], name: str) -> dict[str, Any]:
    entry = library.get(name)
    return entry if isinstance(entry, dict) else {}


def features_of(var: pd.DataFrame) -> pd.DataFrame:
    """Return symbol, id, type and genome of every gene, as far as ``var`` tells."""
    names = pd.Series(var.index.astype(str), dtype=str)
    symbols, ids = names, _column(var, _ID_COLUMNS)
    if len(names) and names.str.match(_ENSEMBL).mean() > 0.5:
        ids = names if ids is None else ids
        stated = _column(var, _SYMBOL_COLUMNS)
        symbols = names if stated is None else stated.where(stated != "", names)
    types, genome = _column(var, ("feature_types",)), _column(var, ("genome",))
    return pd.DataFrame(
        {
            "symbol": symbols,
            "gene_ids": names if ids is None else ids,
            "feature_types": "Gene Expression" if types is None else types,
            "genome": "" if genome is None else genome,
        }
    )


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> pd.Series[str] | None:
    for name in names:
        if name in table:
            return table[name].astype(object).where(table[name].notna(), "").astype(str).reset_index(drop=True)
    return None
