"""Choice of the expression matrix of a file: raw counts if there are any, else normalised values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import sparse

from mmsrl import _keys
from mmsrl._counts import not_counts
from mmsrl._errors import InputError
from mmsrl.ingest.content import info, warning


class Candidate(NamedTuple):
    """Matrix that may hold counts."""

    place: str
    """Name of the matrix in AnnData, for messages."""
    n_genes: int
    matrix: Callable[[], sparse.csr_matrix]
    """Function that reads the matrix."""
    var: Callable[[], pd.DataFrame]
    """Function that reads the annotations of its genes."""


class Chosen(NamedTuple):
    """Chosen expression matrix."""

    matrix: sparse.csr_matrix
    """(n_spots, n_genes), float32."""
    var: pd.DataFrame
    """(n_genes, …) annotations."""
    expression: str
    """``counts`` or ``normalised``."""
    notes: list[dict[str, str]]
    """Messages on the source of the matrix and the reason for the choice."""


def choose_matrix(candidates: Iterable[Candidate], name: str, expression: str | None, of: str = "") -> Chosen:
    """Return the matrix of raw counts with the most genes; without raw counts, normalised values.

    Smaller count matrices hold selected variable genes. Ties go to the first candidate. Among normalised matrices, the
    first without negative values is preferred, because standardised values are usually stored beside their source.

    Parameters
    ----------
    candidates
        Matrices, in order of preference.
    name
        Name of the file, for messages.
    expression
        ``counts`` or ``normalised`` from the samplesheet. ``None`` decides by the values.
    of
        Suffix that names the owner of the matrices, for messages.

    Raises
    ------
    InputError
        There is no matrix, no raw counts although ``counts`` was requested, or only matrices with non-finite values.
    """
    matrices = list(candidates)
    if not matrices:
        raise InputError(f"{name}: has no matrix of expression (X, raw.X or layers['counts']); put the raw counts in X")
    faults = {}
    if expression != _keys.NORMALISED:
        ordered = sorted(matrices, key=lambda candidate: -candidate.n_genes)
        for candidate in ordered:
            matrix = candidate.matrix()
            fault = not_counts(matrix.data)
            if fault is None:
                fewer = [f"{other.place} has {other.n_genes}" for other in ordered if other.n_genes < candidate.n_genes]
                reason = f", which has {candidate.n_genes} genes ({', '.join(fewer)})" if fewer else ""
                text = f"raw counts from {candidate.place}{reason}{of}"
                return Chosen(matrix, candidate.var(), _keys.COUNTS, [info(text)])
            faults[candidate.place] = fault
    reasons = "; ".join(f"{place}: {fault}" for place, fault in faults.items())
    if expression == _keys.COUNTS:
        raise InputError(
            f"{name}: no raw counts ({reasons}); put the sequenced counts, whole numbers from 0, in X or "
            "layers['counts'], or set expression to normalised"
        )
    return _normalised(matrices, name, reasons, of)


def _normalised(matrices: list[Candidate], name: str, faults: str, of: str) -> Chosen:
    """Return normalised values; ``faults`` says why there are no counts, empty if normalised values were requested."""
    plain = sorted(matrices, key=lambda candidate: candidate.place not in ("X", "raw.X"))
    taken: tuple[Candidate, sparse.csr_matrix] | None = None
    broken = []
    for candidate in plain:
        matrix = candidate.matrix()
        if not np.isfinite(matrix.data).all():
            broken.append(f"{candidate.place} has values that are NaN or infinite")
        elif taken is None or (taken[1].data.min(initial=0) < 0 <= matrix.data.min(initial=0)):
            taken = candidate, matrix
    if taken is None:
        raise InputError(f"{name}: {'; '.join(broken)}; correct or remove these genes and spots")
    candidate, matrix = taken
    if faults:
        text = (
            f"no raw counts ({faults}): {candidate.place}{of} is taken as normalised already, and analyses of counts "
            "are left out; put counts in layers['counts'], or set expression to normalised"
        )
        notes = [warning(text)]
    else:
        notes = [info(f"normalised values from {candidate.place}{of}, as the samplesheet says")]
        if not_counts(matrix.data) is None:
            notes.append(warning("the values are whole numbers from 0: if they are counts, set expression to counts"))
    return Chosen(matrix, candidate.var(), _keys.NORMALISED, notes)
