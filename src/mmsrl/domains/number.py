"""How many domains there are, where nobody says: the number at which labelings agree best."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np

from mmsrl.domains import mixture
from mmsrl.domains.readouts import Labels, Points, subset

FEWEST, MOST = 3, 20
"""Numbers that can be chosen. Two domains are the coarsest contrast of the tissue and always the most stable."""

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
    """Mean adjusted Rand index at the chosen number."""
    curve: list[dict[str, float]]
    """``n_domains`` and ``stability`` of each number that was tried, in increasing order; for the report."""


def choose_number(members: Sequence[Points], seed: int, mapper: Mapper = map) -> Number:
    """Choose the number of domains without labels: the most stable one.

    Stability of K is the mean adjusted Rand index between labelings with K domains, and between those with K and with
    K + 1: domains that are there are found again, and stay where one more is asked for. After CellCharter (Varrone et
    al., Nat. Genet. 2024), with two differences. Its index, of Fowlkes and Mallows, is high by chance where one domain
    is large, and then favours few domains. It looks at K - 1 as well, which counts against the right number, where two
    domains had to be merged before, and for the next one, which only splits off a few spots.

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
    groups = {k: [labels[i, k] for i in range(LABELINGS)] for k in numbers}
    within = {k: _agreement(combinations(groups[k], 2)) for k in numbers[:-1]}
    between = {k: _agreement(_others(groups[k], groups[k + 1])) for k in numbers[:-1]}
    curve = [{"n_domains": k, "stability": (within[k] + between[k]) / 2.0} for k in numbers[:-1]]
    best = max(curve, key=lambda point: point["stability"])
    return Number(int(best["n_domains"]), best["stability"], curve)


def _numbers(points: Points) -> list[int]:
    """Return the numbers to try: those that can be chosen, and the next."""
    different = len(np.unique(points, axis=0))
    return list(range(FEWEST, max(FEWEST, min(MOST, different // 4)) + 2))


def _others(these: Sequence[Labels], those: Sequence[Labels]) -> list[tuple[Labels, Labels]]:
    """Return pairs of labelings of different members."""
    return [(these[i], those[j]) for i, j in permutations(range(len(these)), 2)]


def _agreement(pairs: Iterable[tuple[Labels, Labels]]) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(np.mean([adjusted_rand_score(a, b) for a, b in pairs]))
