"""The design of a study: which sections are replicates, and the linear model that compares two conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

FEWEST = 2
"""Replicates of a condition below which it is not compared."""


class Assignment(NamedTuple):
    """What the samplesheet says of one section."""

    sample: str
    condition: str
    donor: str | None = None
    covariates: Mapping[str, str] = {}


class Replicate(NamedTuple):
    """A section, or all sections of one donor in one condition."""

    samples: tuple[str, ...]
    condition: str
    donor: str | None
    covariates: Mapping[str, str]
    """Those on which its sections agree."""


class Comparison(NamedTuple):
    """The linear model that compares a condition with the control; its last coefficient is the difference."""

    rows: NDArray[np.int64]
    """(n,): positions of the replicates it is fitted to."""
    matrix: Float
    """(n, P), of full rank, n > P."""
    terms: tuple[str, ...]
    """Names of the factors, ``condition`` last."""
    n_condition: int
    n_control: int

    @property
    def contrast(self) -> Float:
        """(P,): what picks the difference out of the coefficients."""
        return np.asarray(np.eye(self.matrix.shape[1])[-1])

    @property
    def formula(self) -> str:
        """The model as R and patsy write it."""
        return f"~ {' + '.join(self.terms)}"


def replicates_of(assignments: Sequence[Assignment]) -> list[Replicate]:
    """Return the replicates: sections, or where donors are given the sections of a donor within a condition."""
    members: dict[tuple[str, str | None, str | None], list[Assignment]] = {}
    for own in assignments:
        members.setdefault((own.condition, own.donor, None if own.donor else own.sample), []).append(own)
    result = []
    for (condition, donor, _), together in members.items():
        first = together[0].covariates
        agreed = {
            name: value for name, value in first.items() if all(own.covariates.get(name) == value for own in together)
        }
        result.append(Replicate(tuple(own.sample for own in together), condition, donor, agreed))
    return result


def compare(replicates: Sequence[Replicate], usable: Sequence[bool], condition: str, control: str) -> Comparison | str:
    """Return the model that compares a condition with the control, or why there is none.

    Where at least two donors, and half of all, have both conditions, donors are blocks. Those with one condition only
    are left out then, as they say nothing of the difference. Where fewer have both, leaving the others out would cost
    more than blocks gain: replicates of one donor are taken to be independent, which errs on the side of large
    p-values. Covariates are left out that the donors hold already, or that not all replicates have.

    Parameters
    ----------
    usable
        Which replicates have something to compare.
    """
    rows = [i for i, own in enumerate(replicates) if usable[i] and own.condition in (condition, control)]
    donors = {replicates[i].donor for i in rows}
    both = _donors_of_both([replicates[i] for i in rows])
    paired = len(both) >= FEWEST and 2 * len(both) >= len(donors)
    if paired:
        rows = [i for i in rows if replicates[i].donor in both]
    used = [replicates[i] for i in rows]
    n = {name: sum(own.condition == name for own in used) for name in (condition, control)}
    for name, found in n.items():
        if found < FEWEST:
            return f"{name} has {found} replicate{'' if found == 1 else 's'}, {FEWEST} are needed"
    matrix = np.ones((len(used), 1))
    terms: list[str] = []
    factors = {"donor": [str(own.donor) for own in used]} if paired else {}
    factors |= {
        name: [own.covariates[name] for own in used]
        for name in used[0].covariates
        if all(name in own.covariates for own in used)
    }
    for name, values in factors.items():
        wider = independent(matrix, dummies(values))
        if wider.shape[1] > matrix.shape[1]:
            matrix, terms = wider, [*terms, name]
    difference = np.array([[own.condition == condition] for own in used], dtype=np.float64)
    full = independent(matrix, difference)
    if full.shape[1] == matrix.shape[1]:
        return f"{condition} cannot be told from {', '.join(terms)}"
    if len(used) <= full.shape[1]:
        return f"{len(used)} replicates are too few for ~ {' + '.join([*terms, 'condition'])}"
    return Comparison(np.array(rows), full, (*terms, "condition"), n[condition], n[control])


def dummies(values: Sequence[str]) -> Float:
    """Return a column of 0 and 1 for every level but the first: (n, levels - 1)."""
    levels = list(dict.fromkeys(values))[1:]
    return np.array([[value == level for level in levels] for value in values], dtype=float).reshape(len(values), -1)


def independent(matrix: Float, columns: Float) -> Float:
    """Append those of ``columns`` to ``matrix`` that are no combination of what is there already."""
    for column in columns.T:
        wider = np.column_stack([matrix, column])
        if np.linalg.matrix_rank(wider) == wider.shape[1]:
            matrix = wider
    return matrix


def _donors_of_both(replicates: Sequence[Replicate]) -> set[str]:
    conditions: dict[str, set[str]] = {}
    for own in replicates:
        if own.donor is not None:
            conditions.setdefault(own.donor, set()).add(own.condition)
    return {donor for donor, found in conditions.items() if len(found) > 1}
