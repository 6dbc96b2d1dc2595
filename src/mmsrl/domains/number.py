"""How many domains there are, where nobody says: as many as labelings agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np

from mmsrl.domains import mixture
from mmsrl.domains.readouts import Labels, Points, subset

FEWEST, MOST = 3, 20
"""Numbers that can be chosen; one fewer is looked at as well."""

LABELINGS = 6
STARTS = 6
HALF = 0.5

CHOICE_SPOTS = 8_000
"""Spots that a labeling is fitted to at most, others for each: the hundreds of fits are what takes the time."""

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Number(NamedTuple):
    """A number of domains, and what it was chosen from."""

    n_domains: int
    stability: float
    """Of the chosen number, see :func:`choose_number`."""
    peak: bool
    """Whether it is more stable than the numbers next to it; if not, the curve has no peak."""
    curve: list[dict[str, float]]
    """``n_domains`` and ``stability`` of each number that was tried, in increasing order; for the report."""


def choose_number(members: Sequence[Points], seed: int, mapper: Mapper = map) -> Number:
    """Choose the number of domains without labels: the most stable of those that stand out from the next ones.

    Stability of K is the mean adjusted Rand index between labelings with K domains, and between those with K and with
    K + 1: domains that are there are found again, and stay where one more is asked for. After CellCharter (Varrone et
    al., Nat. Genet. 2024), with two differences. Its index, of Fowlkes and Mallows, is high by chance where one domain
    is large, and then favours few domains. It looks at K - 1 as well, which counts against the right number, where two
    domains had to be merged before, and for the next one, which only splits off a few spots.

    The fewer domains, the coarser the contrasts of the tissue, and coarse ones are stable whether or not there are
    finer ones. So a number must be a peak, more stable than one fewer and no less than one more; where the curve has
    none, the most stable is taken.

    The labelings are mixtures of up to :data:`LABELINGS` members of the ensemble, each of another embedding. Where
    there are fewer members, each labeling is fitted to a random half of the spots; and to no more than
    :data:`CHOICE_SPOTS` in any case.

    Parameters
    ----------
    members
        Each (n, d), from :func:`mmsrl.domains.readouts.reduce`.
    seed
        Seed of everything random.
    mapper
        ``map``, or one that runs several at once.
    """
    numbers = _numbers(members[0])
    share = min(HALF if len(members) < LABELINGS else 1.0, CHOICE_SPOTS / len(members[0]))
    jobs = [(i, k) for k in numbers for i in range(LABELINGS)]

    def label(job: tuple[int, int]) -> Labels:
        i, k = job
        points = members[i % len(members)]
        fitted = subset(len(points), seed + i, share)
        found = mixture.likeliest(mixture.optima(points[fitted], k, seed + i, STARTS))
        return np.asarray(found.posterior(points).argmax(axis=1))

    labels = dict(zip(jobs, mapper(label, jobs), strict=True))
    stability = np.array([_stability(labels, k) for k in numbers[:-1]])
    inner = stability[1:-1]
    peaks = np.flatnonzero((inner > stability[:-2]) & (inner >= stability[2:]))
    chosen = 1 + int(peaks[inner[peaks].argmax()] if peaks.size else inner.argmax())
    curve = [{"n_domains": k, "stability": float(value)} for k, value in zip(numbers, stability, strict=False)]
    return Number(numbers[chosen], float(stability[chosen]), bool(peaks.size), curve)


def _stability(labels: Mapping[tuple[int, int], Labels], k: int) -> float:
    from sklearn.metrics import adjusted_rand_score

    members = range(LABELINGS)
    within = [adjusted_rand_score(labels[i, k], labels[j, k]) for i, j in combinations(members, 2)]
    between = [adjusted_rand_score(labels[i, k], labels[j, k + 1]) for i, j in permutations(members, 2)]
    return float(np.mean(within) + np.mean(between)) / 2.0


def _numbers(points: Points) -> list[int]:
    """Return the numbers to try: those that can be chosen, the one before, and the two after that they need."""
    different = len(np.unique(points, axis=0))
    return list(range(FEWEST - 1, max(FEWEST, min(MOST, different // 4)) + 3))
