"""Average of several labellings of the same spots, after matching their groups. Linear in the number of spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Posterior = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]

ROUNDS = 20
"""Maximum number of alignments to the average."""


def consensus(members: Sequence[Posterior], table: npt.NDArray[np.float64] | None = None) -> Posterior:
    """Average posteriors after matching their groups.

    Members are aligned to the member that agrees best with all others, and averaged. They are then aligned to the
    average, until no label changes. The average replaces a co-association matrix of all pairs of spots.

    Parameters
    ----------
    members
        (n, K) each, rows sum to 1.
    table
        :func:`agreement` of the members, if known.

    Returns
    -------
    numpy.ndarray
        (n, K) float64, rows sum to 1.
    """
    agreements = agreement(members) if table is None else table
    reference = mean = members[int(agreements.sum(axis=1).argmax())].astype(np.float64)
    for _ in range(ROUNDS):
        mean = np.zeros_like(reference)
        for member in members:
            mean += member[:, matching(reference, member)]
        mean /= len(members)
        if np.array_equal(mean.argmax(axis=1), reference.argmax(axis=1)):
            break
        reference = mean
    return mean


def matching(reference: Posterior, member: Posterior) -> Labels:
    """Match the groups of ``member`` to those of ``reference`` by the number of shared spots (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(reference.T @ member, maximize=True)[1], dtype=np.int64)


def agreement(members: Sequence[Posterior]) -> npt.NDArray[np.float64]:
    """Return the adjusted Rand index of every pair of members, (M, M)."""
    labels = [member.argmax(axis=1) for member in members]
    table = np.eye(len(labels))
    for i, j in zip(*np.triu_indices(len(labels), 1), strict=True):
        table[i, j] = table[j, i] = adjusted_rand(labels[i], labels[j])
    return table


def adjusted_rand(one: npt.NDArray[np.integer[Any]], other: npt.NDArray[np.integer[Any]]) -> float:
    """Return the adjusted Rand index of two labellings (Hubert and Arabie, J. Classif. 2, 193-218, 1985).

    It equals the result of scikit-learn exactly. It is faster for labels that are small integers, because scikit-learn
    spends most of the time on checks and sorting. Thousands of pairs are compared.

    Parameters
    ----------
    one, other
        (n,), labels from 0.
    """
    n, columns = len(one), int(other.max()) + 1
    table = np.bincount(one * columns + other, minlength=(int(one.max()) + 1) * columns).reshape(-1, columns)
    # Ordered pairs that share a group in both, only in one, only in the other, as Python integers without overflow.
    both, in_one, in_other = (int((of**2).sum()) for of in (table, table.sum(axis=1), table.sum(axis=0)))
    together, first, second = both - n, in_one - both, in_other - both
    apart = n * n - both - first - second
    if first == second == 0:
        return 1.0
    chance = (together + first) * (first + apart) + (together + second) * (second + apart)
    return 2.0 * (together * apart - first * second) / chance


def mean_agreement(table: npt.NDArray[np.float64]) -> float:
    """Return the mean agreement over pairs of different members. It is 1 for one member."""
    m = len(table)
    return float((table.sum() - m) / (m * (m - 1))) if m > 1 else 1.0
