"""Domains of the sections trained together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.domains.number import choose_number
from mmsrl.domains.readouts import Readout, read_out, reduce

if TYPE_CHECKING:
    from anndata import AnnData


class Domains(NamedTuple):
    """Domains of one unit."""

    table: pd.DataFrame
    """One row a spot, in the order of the embedding: ``sample``, ``barcode``, ``domain`` ("1", "2", …)."""
    facts: dict[str, Any]
    """How they were found: for the summary."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


def domains(
    embedding: AnnData,
    n_domains: int | None = None,
    *,
    readout: Readout = "gmm",
    resolution: float = 1.0,
    seed: int = 0,
) -> Domains:
    """Group the spots of all sections of a unit into domains, jointly, so that one number means one domain in all.

    Parameters
    ----------
    embedding
        ``obsm['X_mmsrl']``, (n, d); ``obs['sample']``, ``obs['barcode']``.
    n_domains
        Number of domains; chosen without labels if it is not given.
    readout
        ``gmm``, ``kmeans`` or ``leiden``: see :func:`mmsrl.domains.readouts.read_out`.
    resolution
        Used where ``n_domains`` is not given: see :func:`mmsrl.domains.number.choose_number`.
    seed
        Seed of everything random.

    Raises
    ------
    InputError
        If the embedding is missing, not finite or constant, or ``n_domains`` exceeds the number of different spots.
    """
    if _keys.EMBEDDING not in embedding.obsm:
        raise InputError(f"the embedding file has no obsm['{_keys.EMBEDDING}']; it must come from mmsrl-train")
    points = reduce(np.asarray(embedding.obsm[_keys.EMBEDDING]))
    messages: list[dict[str, str]] = []
    facts: dict[str, Any] = {"readout": readout, "components": points.shape[1], "chosen": None}
    wanted = n_domains
    if wanted is None:
        number = choose_number(points, resolution, seed)
        wanted = number.n_domains
        facts["chosen"] = {"n_domains": wanted, "rule": number.rule, "curve": number.curve}
        messages.append({"level": "info", "text": f"the number of domains was not given: {wanted}, {number.rule}"})
    labels = read_out(points, wanted, readout, seed)
    table = pd.DataFrame(
        {
            _keys.SAMPLE: embedding.obs[_keys.SAMPLE].astype(str).to_numpy(),
            _keys.BARCODE: embedding.obs[_keys.BARCODE].astype(str).to_numpy(),
            _keys.DOMAIN: labels.astype(str),
        }
    )
    found = int(labels.max())
    if found != wanted:
        messages.append(
            {"level": "warning", "text": f"{wanted} domains were wanted, {readout} finds {found} in this embedding"}
        )
    facts["n_domains"] = found
    facts["spots"] = {
        sample: {str(k): int((part == str(k)).sum()) for k in range(1, found + 1)}
        for sample, part in table.groupby(_keys.SAMPLE, sort=False)[_keys.DOMAIN]
    }
    return Domains(table, facts, messages)
