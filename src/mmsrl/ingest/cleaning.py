"""What tables of counts hold beside cells and genes: controls, cells held twice, lost places. Arrays only."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse
from scipy.spatial import cKDTree

from mmsrl._errors import InputError
from mmsrl.ingest.matrix import Counts

GENE_EXPRESSION = "Gene Expression"

CONTROLS = re.compile(
    r"^(?:Blank[-_]|NegControl|NegPrb|SystemControl|antisense_|(?:Deprecated|Unassigned)Codeword_|ERCC-)", re.IGNORECASE
)
"""Names of control features, which many files give no type."""

CONTROL_TYPES = re.compile(r"control|codeword|blank", re.IGNORECASE)
"""Types of control features."""

MAX_DOUBLED = 0.25
"""Share of cells held twice above which a file is taken to be several sections; osmFISH's has a tenth."""

FAR = 10.0
"""Neighbour distances from all other cells at which a coordinate of 0 is taken to stand for a lost one."""


def gene_expression(counts: Counts) -> tuple[Counts, NDArray[np.float64] | None, list[str]]:
    """Keep the genes.

    Returns
    -------
    counts
        Features of the type Gene Expression, or of none, that are not named like controls.
    controls
        (n,), what each spot has of control features; ``None`` where there are none.
    notes
        What was left out.

    Raises
    ------
    InputError
        No gene is left.
    """
    types = counts.features["feature_types"].astype(str).str.strip()
    # Blank where tables were joined of which one did not say.
    genes = types.str.lower().isin(("", GENE_EXPRESSION.lower())).to_numpy()
    named = genes & counts.features["symbol"].str.match(CONTROLS).to_numpy()
    controls = named | (~genes & types.str.contains(CONTROL_TYPES).to_numpy())
    keep = genes & ~named
    notes = []
    if not genes.all():
        others = ", ".join(f"{n} {name}" for name, n in types[~genes].value_counts().items())
        if not genes.any():
            raise InputError(f"no features of type {GENE_EXPRESSION!r}, only {others}; mend feature_types")
        notes.append(f"features of other types left out: {others}")
    if named.any():
        examples = ", ".join(counts.features["symbol"][named].head(3))
        if not keep.any():
            raise InputError(f"no genes, only control features such as {examples}; give a file with genes")
        notes.append(f"{named.sum()} control features left out, by their names ({examples})")
    totals = np.asarray(counts.matrix[:, controls].sum(axis=1), dtype=np.float64).ravel() if controls.any() else None
    return Counts(counts.matrix[:, keep], counts.barcodes, counts.features[keep]), totals, notes


def first_of_doubled(counts: sparse.csr_matrix, spatial: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which cells to keep, (n,): of those with the same coordinates and the same counts the first.

    All are kept where more than the share ``MAX_DOUBLED`` would go: such files are several sections.
    """
    keep = np.ones(len(spatial), dtype=bool)
    places = pd.DataFrame(spatial)
    shared = np.flatnonzero(places.duplicated(keep=False).to_numpy() & np.isfinite(spatial).all(axis=1))
    if not len(shared):
        return keep
    part = counts[shared]
    rows = [
        part.indices[start:end].tobytes() + part.data[start:end].tobytes()
        for start, end in zip(part.indptr[:-1], part.indptr[1:], strict=True)
    ]
    keep[shared] = ~places.iloc[shared].assign(counts=rows).duplicated().to_numpy()
    return keep if np.mean(~keep) <= MAX_DOUBLED else np.ones_like(keep)


def lost_places(spatial: NDArray[np.float64], neighbour_distance: float) -> NDArray[np.bool_]:
    """Tell which cells, (n,), have a coordinate of exactly 0 and lie far from all that have none."""
    zero: NDArray[np.bool_] = np.any(spatial == 0, axis=1)
    if not zero.any() or zero.all():
        return np.zeros(len(spatial), dtype=bool)
    distances, _ = cKDTree(spatial[~zero]).query(spatial[zero])
    zero[zero] = distances > FAR * neighbour_distance
    return zero
