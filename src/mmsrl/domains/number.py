"""How many domains there are, where nobody says: as many as labelings agree on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations, permutations
from typing import Any, NamedTuple

import numpy as np

from mmsrl._errors import InputError
from mmsrl.domains import mixture
from mmsrl.domains.average import adjusted_rand
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
    highest: int
    """The most stable number; another one than was chosen where fewer domains are as stable."""
    curve: list[dict[str, float]]
    """``n_domains``, ``stability`` and ``standard_error`` of each number that was tried, in increasing order."""


def choose_number(members: Sequence[Points], seed: int, mapper: Mapper = map) -> Number:
    """Choose the number of domains without labels: the most stable of those that stand out from the next ones.

    Stability of K is the mean adjusted Rand index between labelings with K domains, and between those with K and with
    K + 1: domains that are there are found again, and stay where one more is asked for. After CellCharter (Varrone et
    al., Nat. Genet. 2024), with two differences. Its index, of Fowlkes and Mallows, is high by chance where one domain
    is large, and then favours few domains. It looks at K - 1 as well, which counts against the right number, where two
    domains had to be merged before, and for the next one, which only splits off a few spots.

    The fewer domains, the coarser the contrasts of the tissue, and coarse ones are stable whether or not there are
    finer ones. So a number must be a peak, more stable than one fewer and no less than one more; where the curve has
    none, the most stable is taken. Of peaks that are within one standard error of the highest (jackknife over the
    labelings) it is the one of fewest domains: what more domains do not make stabler is not said of the tissue.

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

    Raises
    ------
    InputError
        If there are too few spots.
    """
    numbers = _numbers(members[0])
    share = min(HALF if len(members) < LABELINGS else 1.0, CHOICE_SPOTS / len(members[0]))
    if share * len(members[0]) < 2 * numbers[-1]:
        raise InputError(f"{len(members[0])} spots are too few to find a number of domains; give n_domains")
    jobs = [(i, k) for k in numbers for i in range(LABELINGS)]

    def label(job: tuple[int, int]) -> Labels:
        i, k = job
        points = members[i % len(members)]
        fitted = subset(len(points), seed + i, share)
        found = mixture.likeliest(mixture.optima(points[fitted], k, seed + i, STARTS))
        return np.asarray(found.posterior(points).argmax(axis=1))

    labels = dict(zip(jobs, mapper(label, jobs), strict=True))
    stability, error = np.array([_stability(labels, k) for k in numbers[:-1]]).T
    inner = stability[1:-1]
    peaks = 1 + np.flatnonzero((inner > stability[:-2]) & (inner >= stability[2:]))
    highest = int(peaks[stability[peaks].argmax()] if peaks.size else 1 + inner.argmax())
    as_stable = peaks[stability[peaks] >= stability[highest] - error[highest]]
    chosen = int(as_stable[0]) if as_stable.size else highest
    curve = [
        {"n_domains": k, "stability": float(value), "standard_error": float(spread)}
        for k, value, spread in zip(numbers, stability, error, strict=False)
    ]
    return Number(numbers[chosen], float(stability[chosen]), bool(peaks.size), numbers[highest], curve)


def _stability(labels: Mapping[tuple[int, int], Labels], k: int) -> tuple[float, float]:
    """Return the stability of a number and its standard error."""
    agreement = np.zeros((LABELINGS, LABELINGS))
    for i, j in combinations(range(LABELINGS), 2):
        agreement[i, j] = agreement[j, i] = adjusted_rand(labels[i, k], labels[j, k]) / 2.0
    for i, j in permutations(range(LABELINGS), 2):
        agreement[i, j] += adjusted_rand(labels[i, k], labels[j, k + 1]) / 2.0

    def without(*left_out: int) -> float:
        kept = np.delete(np.arange(LABELINGS), left_out)
        return float(agreement[np.ix_(kept, kept)].sum() / (len(kept) * (len(kept) - 1)))

    jackknife = np.array([without(i) for i in range(LABELINGS)])
    return without(), float(np.sqrt((LABELINGS - 1) * jackknife.var()))


def _numbers(points: Points) -> list[int]:
    """Return the numbers to try: those that can be chosen, the one before, and the two after that they need.

    Of n spots no more than √(n/2), the rule of Mardia et al. (Multivariate Analysis, 1979): 13 for 346.
    """
    different = len(np.unique(points, axis=0))
    return list(range(FEWEST - 1, max(FEWEST, min(MOST, int(np.sqrt(different / 2.0)))) + 3))
