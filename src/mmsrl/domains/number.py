"""Choose the number of domains by stability."""

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
"""Smallest and largest number of domains that can be chosen. One fewer is also computed."""

LABELINGS = 6
"""Number of labellings per number of domains."""

STARTS = 6
"""Number of starts of EM per labelling."""

HALF = 0.5
"""Fraction of spots per labelling if there are fewer members than labellings."""

CHOICE_SPOTS = 8_000
"""Maximum number of spots per labelling, drawn at random for each, to limit the time of hundreds of fits."""

Mapper = Callable[[Callable[[Any], Any], Iterable[Any]], Iterable[Any]]


class Number(NamedTuple):
    """Chosen number of domains, with the stability of all candidates."""

    n_domains: int
    stability: float
    """Stability of the chosen number (:func:`choose_number`)."""
    peak: bool
    """Whether the stability curve has a peak."""
    highest: int
    """Number at the highest peak. The chosen number is smaller if fewer domains are equally stable."""
    curve: list[dict[str, float]]
    """``n_domains``, ``stability`` and ``standard_error`` of each candidate, in increasing order."""


def choose_number(members: Sequence[Points], seed: int, mapper: Mapper = map) -> Number:
    """Choose the number of domains by stability, without labels.

    The stability of K is a mean of two adjusted Rand indices: between labellings with K domains, and between labellings
    with K and K + 1 domains. True domains are found again, and persist if one more domain is requested. The rule
    follows CellCharter (Varrone et al., Nat. Genet. 2024), with two differences:

    - CellCharter uses the Fowlkes–Mallows index. It is high by chance if one domain is large, and then favours few
      domains.
    - CellCharter also compares with K − 1. This penalises the right number, at which two merged domains separate. It
      favours the next number, which only splits off a few spots.

    Few domains are stable whether or not finer domains exist. The number must therefore be a peak: more stable than
    K − 1, and at least as stable as K + 1. Without a peak, the most stable number is chosen. Among the peaks within one
    standard error of the highest (jackknife over the labellings), the smallest number is chosen.

    The labellings are Gaussian mixtures on up to :data:`LABELINGS` members of the ensemble. If there are fewer members,
    each labelling uses a random half of the spots. No labelling uses more than :data:`CHOICE_SPOTS` spots.

    Parameters
    ----------
    members
        (n, d) each, from :func:`mmsrl.domains.readouts.reduce`.
    seed
        Random seed.
    mapper
        ``map``, or a parallel version of it.

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
        fit = mixture.likeliest(mixture.optima(points[fitted], k, seed + i, STARTS))
        return np.asarray(fit.posterior(points).argmax(axis=1))

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
    """Return the stability of a number of domains, and its standard error."""
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
    """Return the numbers of domains to compute: all candidates, the number before, and two numbers after.

    The largest candidate for n spots is √(n/2), the rule of Mardia et al. (Multivariate Analysis, 1979): 13 for 346.
    """
    different = len(np.unique(points, axis=0))
    return list(range(FEWEST - 1, max(FEWEST, min(MOST, int(np.sqrt(different / 2.0)))) + 3))
