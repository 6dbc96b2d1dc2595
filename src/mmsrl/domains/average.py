"""The average of several labelings of the same spots, whose groups are numbered differently. Linear in spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Posterior = npt.NDArray[np.floating[Any]]
Labels = npt.NDArray[np.int64]

ROUNDS = 20
"""Times that members are aligned anew, at most; a few are enough."""


def consensus(members: Sequence[Posterior], table: npt.NDArray[np.float64] | None = None) -> Posterior:
    """Average posteriors after giving matching groups one number.

    Members are aligned to the one that agrees best with all others, averaged, aligned to the average, and so on until
    no label changes. Averaging memberships is what counting how often pairs of spots are together (co-association)
    comes to, without a matrix of pairs.

    Parameters
    ----------
    members
        Each (n, K), rows sum to one.
    table
        Their :func:`agreement`, where it is known.

    Returns
    -------
    numpy.ndarray
        (n, K) float64, rows sum to one.
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
    """Return for each group of ``reference`` that of ``member``, so that most spots are shared (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(reference.T @ member, maximize=True)[1], dtype=np.int64)


def agreement(members: Sequence[Posterior]) -> npt.NDArray[np.float64]:
    """Return the adjusted Rand index between the labels of every two members, (M, M)."""
    labels = [member.argmax(axis=1) for member in members]
    table = np.eye(len(labels))
    for i, j in zip(*np.triu_indices(len(labels), 1), strict=True):
        table[i, j] = table[j, i] = adjusted_rand(labels[i], labels[j])
    return table


def adjusted_rand(one: npt.NDArray[np.integer[Any]], other: npt.NDArray[np.integer[Any]]) -> float:
    """Return the adjusted Rand index of two labelings (Hubert and Arabie, J. Classif. 2, 193-218, 1985).

    That of scikit-learn, to the last digit, for labels that are small whole numbers: its checks and sorting of labels
    of any kind take most of the time, and thousands of pairs of labelings are compared.

    Parameters
    ----------
    one, other
        (n,), from 0 on.
    """
    n, columns = len(one), int(other.max()) + 1
    table = np.bincount(one * columns + other, minlength=(int(one.max()) + 1) * columns).reshape(-1, columns)
    # Ordered pairs, as Python's own numbers, which do not overflow: together in both, in one alone, in the other alone.
    both, in_one, in_other = (int((of**2).sum()) for of in (table, table.sum(axis=1), table.sum(axis=0)))
    together, first, second = both - n, in_one - both, in_other - both
    apart = n * n - both - first - second
    if first == second == 0:
        return 1.0
    chance = (together + first) * (first + apart) + (together + second) * (second + apart)
    return 2.0 * (together * apart - first * second) / chance


def mean_agreement(table: npt.NDArray[np.float64]) -> float:
    """Return the mean agreement of two different members; 1 for one member."""
    m = len(table)
    return float((table.sum() - m) / (m * (m - 1))) if m > 1 else 1.0
