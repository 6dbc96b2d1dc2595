"""How many domains there are, where nobody says: as many as labelings agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl.domains import mixture
from mmsrl.domains.readouts import Labels, Points, subset

FEWEST, MOST = 3, 20
"""Numbers that can be chosen. Two domains are the coarsest contrast of the tissue and always the most stable."""

LABELINGS = 6
STARTS = 6
HALF = 0.5

CHOICE_SPOTS = 8_000
"""Spots that a labeling is fitted to at most, others for each: the hundreds of fits are what takes the time."""

Table = npt.NDArray[np.float64]
Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Number(NamedTuple):
    """A number of domains, and what it was chosen from."""

    n_domains: int
    stability: float
    """Of the chosen number, see :func:`choose_number`."""
    curve: list[dict[str, float]]
    """``n_domains`` and ``stability`` of each number that was tried, in increasing order; for the report."""


def choose_number(members: Sequence[Points], seed: int, mapper: Mapper = map) -> Number:
    """Choose the number of domains without labels: the highest of those that are as stable as any.

    Stability of K is the mean adjusted Rand index between labelings with K domains, and between those with K and with
    K + 1: domains that are there are found again, and stay where one more is asked for. After CellCharter (Varrone et
    al., Nat. Genet. 2024), with two differences. Its index, of Fowlkes and Mallows, is high by chance where one domain
    is large, and then favours few domains. It looks at K - 1 as well, which counts against the right number, where two
    domains had to be merged before, and for the next one, which only splits off a few spots.

    Coarse contrasts of a tissue are often as stable as the domains within them. So of all numbers whose stability is
    within one standard error of the best, the highest is taken, the rule of one standard error (Breiman et al.,
    Classification and Regression Trees, 1984) in favour of detail. The error is of the difference to the best, by
    jackknife over the labelings.

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
    table = _agreements(labels, numbers)
    stability = _stability(table)
    without = np.array([_stability(np.delete(np.delete(table, i, axis=2), i, axis=3)) for i in range(LABELINGS)])
    best = int(stability.argmax())
    error = np.sqrt((LABELINGS - 1) * (without[:, [best]] - without).var(axis=0))
    chosen = int(np.flatnonzero(stability[best] - stability <= error)[-1])
    curve = [{"n_domains": k, "stability": float(value)} for k, value in zip(numbers, stability, strict=False)]
    return Number(numbers[chosen], float(stability[chosen]), curve)


def _agreements(labels: Mapping[tuple[int, int], Labels], numbers: Sequence[int]) -> Table:
    """Return the adjusted Rand indices of labelings (i, K) with (j, K), and with (j, K + 1): (numbers - 1, 2, i, j)."""
    from sklearn.metrics import adjusted_rand_score

    table = np.full((len(numbers) - 1, 2, LABELINGS, LABELINGS), np.nan)
    for at, k in enumerate(numbers[:-1]):
        for i, j in permutations(range(LABELINGS), 2):
            if i < j:
                table[at, 0, i, j] = table[at, 0, j, i] = adjusted_rand_score(labels[i, k], labels[j, k])
            table[at, 1, i, j] = adjusted_rand_score(labels[i, k], labels[j, k + 1])
    return table


def _stability(table: Table) -> npt.NDArray[np.float64]:
    """Return the stability of every number from the agreements of different labelings."""
    return np.asarray(np.nanmean(table, axis=(2, 3)).mean(axis=1))


def _numbers(points: Points) -> list[int]:
    """Return the numbers to try: those that can be chosen, and the next."""
    different = len(np.unique(points, axis=0))
    return list(range(FEWEST, max(FEWEST, min(MOST, different // 4)) + 2))
