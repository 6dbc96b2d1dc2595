"""Which of the matrices in a file is taken: counts where there are any, else values that were normalised before."""

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
    """Where counts may be."""

    place: str
    """In words."""
    n_genes: int
    matrix: Callable[[], sparse.csr_matrix]
    """Reads it."""
    var: Callable[[], pd.DataFrame]
    """Reads its genes."""


class Chosen(NamedTuple):
    """The matrix that is taken."""

    matrix: sparse.csr_matrix
    var: pd.DataFrame
    expression: str
    """``counts`` or ``normalised``."""
    notes: list[dict[str, str]]
    """Where it is from, and why."""


def choose_matrix(candidates: Iterable[Candidate], name: str, expression: str | None, of: str = "") -> Chosen:
    """Return of several matrices that hold counts the one with the most genes; without any, normalised values.

    Of those with equally many genes it is the first. A matrix with fewer is a choice of variable genes, which
    programs make before they normalise. Of values that are no counts the first matrix without negative ones is taken,
    else the first: whoever standardises keeps what came before.

    Parameters
    ----------
    candidates
        In the order of preference.
    name
        Of the file, for messages.
    expression
        ``counts`` or ``normalised`` as the samplesheet says; ``None``: as the values tell.
    of
        What the matrices are of, for the message.

    Raises
    ------
    InputError
        There is no matrix; there are no counts, though they were stated; or values are not finite.
    """
    there = list(candidates)
    if not there:
        raise InputError(f"{name}: has no matrix of expression (X, raw.X or layers['counts']); put the raw counts in X")
    faults = {}
    if expression != _keys.NORMALISED:
        ordered = sorted(there, key=lambda candidate: -candidate.n_genes)
        for candidate in ordered:
            matrix = candidate.matrix()
            fault = not_counts(matrix.data)
            if fault is None:
                fewer = [f"{other.place} has {other.n_genes}" for other in ordered if other.n_genes < candidate.n_genes]
                said = f", which has {candidate.n_genes} genes ({', '.join(fewer)})" if fewer else ""
                text = f"raw counts from {candidate.place}{said}{of}"
                return Chosen(matrix, candidate.var(), _keys.COUNTS, [info(text)])
            faults[candidate.place] = fault
    told = "; ".join(f"{place}: {fault}" for place, fault in faults.items())
    if expression == _keys.COUNTS:
        raise InputError(
            f"{name}: no raw counts ({told}); put the counts as they were sequenced, whole numbers from 0, in X or "
            "layers['counts'], or say expression normalised"
        )
    return _values(there, name, told, of)


def _values(there: list[Candidate], name: str, faults: str, of: str) -> Chosen:
    """Return values as normalised ones; ``faults`` says why there are no counts, empty where none were looked for."""
    plain = sorted(there, key=lambda candidate: candidate.place not in ("X", "raw.X"))
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
            f"no raw counts ({faults}): {candidate.place}{of} is taken as normalised already, and what needs counts is "
            "left out; if there are counts, put them in layers['counts'], else say expression normalised"
        )
        notes = [warning(text)]
    else:
        notes = [info(f"normalised values from {candidate.place}{of}, as the samplesheet says")]
        if not_counts(matrix.data) is None:
            notes.append(
                warning("the values are whole numbers from 0, as counts are: expression counts makes more of them")
            )
    return Chosen(matrix, candidate.var(), _keys.NORMALISED, notes)
