"""Study design: replicates, and the linear model that compares two conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

FEWEST = 2
"""Minimum number of replicates of a condition for a comparison."""


class Assignment(NamedTuple):
    """Condition, donor and covariates of one section."""

    sample: str
    condition: str
    donor: str | None = None
    covariates: Mapping[str, str] = {}


class Replicate(NamedTuple):
    """Replicate: one section, or all sections of one donor in one condition."""

    samples: tuple[str, ...]
    condition: str
    donor: str | None
    covariates: Mapping[str, str]
    """Covariates with the same value in all sections."""


class Comparison(NamedTuple):
    """Linear model that compares a condition with the control. Its last coefficient is the difference."""

    rows: NDArray[np.int64]
    """(n,) positions of the replicates in the fit."""
    matrix: Float
    """(n, P) design matrix of full rank, n > P."""
    terms: tuple[str, ...]
    """Names of the factors, ``condition`` last."""
    n_condition: int
    n_control: int

    @property
    def contrast(self) -> Float:
        """Contrast of the difference, (P,)."""
        return np.asarray(np.eye(self.matrix.shape[1])[-1])

    @property
    def formula(self) -> str:
        """Model formula in the notation of R and patsy."""
        return f"~ {' + '.join(self.terms)}"


def replicates_of(assignments: Sequence[Assignment]) -> list[Replicate]:
    """Return the replicates: sections, or if donors are given, the sections of a donor in a condition."""
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
    """Return the linear model that compares a condition with the control, or why there is none.

    Donors are blocks if at least two donors, and half of all, have both conditions. Donors with one condition only are
    then left out, because they carry no information on the difference. Otherwise replicates of one donor are treated
    as independent, which tends to large p-values. Covariates that are nested in donors, or that some replicates lack,
    are left out.

    Parameters
    ----------
    usable
        Mask of the replicates with data.
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
    """Return the dummy coding of a factor, (n, levels - 1), with the first level as reference."""
    levels = list(dict.fromkeys(values))[1:]
    return np.array([[value == level for level in levels] for value in values], dtype=float).reshape(len(values), -1)


def independent(matrix: Float, columns: Float) -> Float:
    """Append those ``columns`` to ``matrix`` that are linearly independent of it."""
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
