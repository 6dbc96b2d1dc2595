"""How many times more of a gene a domain has than elsewhere in its section, with an interval. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl.markers.domain_means import PRIOR_COUNTS
from mmsrl.markers.offset import Sums

Float = NDArray[np.float64]

LEVEL = 0.95
"""Of the intervals."""


class Folds(NamedTuple):
    """log2 fold changes of each domain and gene within sections; (K, G), NaN where no section can tell."""

    log2: Float
    """Over all other domains together."""
    low: Float
    """Lower end of its interval."""
    high: Float
    log2_next: Float
    """Over the domain that has most of the gene besides, among those that share a section with it."""
    sections_up: NDArray[np.int64]
    """Sections whose own interval lies above 0."""


class _Shrunk(NamedTuple):
    """Molecules and libraries of a section, each domain and what is elsewhere, with what they are given."""

    inside: Float
    """(K, G)."""
    elsewhere: Float
    """(K, G)."""
    library: Float
    """(K, 1)."""
    library_elsewhere: Float
    """(K, 1)."""
    given: Float
    """(K, G): molecules that each domain was given."""


def fold_changes(found: Sums, n_genes: int) -> Folds:
    """Compare molecules per molecule of the library in each domain with those elsewhere in the same section.

    Sections are pooled as Mantel and Haenszel pool rate ratios (Greenland and Robins, Biometrics 41, 55-68, 1985). For
    ratios a domain is given :data:`PRIOR_COUNTS` molecules a gene, in the proportions of elsewhere: nothing beside the
    molecules of a domain of many spots, "as elsewhere" for one of few. Intervals are normal on the logarithm, with the
    variance of negative binomial counts: μ + φμ².

    Parameters
    ----------
    n_genes
        Of the library, more than ``found`` may hold.
    """
    shape, n_sections = found.molecules.shape[1:], len(found.molecules)
    up = np.zeros(shape, dtype=np.int64)
    parts = np.zeros((4, *shape))
    for s in range(n_sections):
        own = found.library[0, s]
        told = (own > 0) & (own < own.sum())
        if told.any():
            part = np.where(told[:, None], _parts(found, s, n_genes), 0.0)
            up += _interval(part)[1] > 0
            parts += part
    log2, low, high = _interval(parts)
    return Folds(log2, low, high, _over_next(found, n_genes), up)


def _shrunk(found: Sums, s: int, n_genes: int) -> _Shrunk:
    molecules, own = found.molecules[s], found.library[0, s][:, None]
    total, whole, prior = molecules.sum(axis=0), own.sum(), PRIOR_COUNTS * n_genes
    overall = (total + PRIOR_COUNTS) / (whole + prior)
    elsewhere, library_elsewhere = total - molecules + prior * overall, whole - own + prior
    given = prior * elsewhere / library_elsewhere
    return _Shrunk(molecules + given, elsewhere, own + prior, library_elsewhere, given)


def _parts(found: Sums, s: int, n_genes: int) -> Float:
    """Return what a section adds to both sums of Mantel and Haenszel's ratio, and to their variances, (4, K, G)."""
    shrunk = _shrunk(found, s, n_genes)
    second = found.library[1, s][:, None]
    both = shrunk.library + shrunk.library_elsewhere
    weight, weight_elsewhere = shrunk.library_elsewhere / both, shrunk.library / both
    variance = shrunk.inside + found.dispersion * (shrunk.inside / shrunk.library) ** 2 * second
    rate = shrunk.elsewhere / shrunk.library_elsewhere
    variance_elsewhere = shrunk.elsewhere + found.dispersion * rate**2 * (second.sum() - second)
    return np.stack(
        [
            weight * shrunk.inside,
            weight_elsewhere * shrunk.elsewhere,
            weight**2 * variance,
            weight_elsewhere**2 * variance_elsewhere,
        ]
    )


def _interval(parts: Float) -> tuple[Float, Float, Float]:
    """Return the logarithm of the ratio of two sums, and its interval; NaN where there is nothing."""
    inside, elsewhere, variance, variance_elsewhere = parts
    with np.errstate(divide="ignore", invalid="ignore"):
        log2 = np.log2(inside / elsewhere)
        deviation = np.sqrt(variance / inside**2 + variance_elsewhere / elsewhere**2) / np.log(2.0)
    reach = norm.ppf(0.5 + LEVEL / 2.0) * deviation
    return log2, log2 - reach, log2 + reach


def _over_next(found: Sums, n_genes: int) -> Float:
    """Return the lowest log2 ratio over any one other domain, each given what the domain is given."""
    sections = [_shrunk(found, s, n_genes) for s in range(len(found.molecules))]
    present = found.library[0] > 0
    prior = PRIOR_COUNTS * n_genes
    result = np.full(found.molecules.shape[1:], np.nan)
    for k in range(len(result)):
        inside, others = np.zeros_like(result), np.zeros_like(result)
        for s, shrunk in enumerate(sections):
            library = found.library[0, s][:, None] + prior
            beside = (present[s] & present[s, k])[:, None] / (library + library[k])
            inside += beside * library * shrunk.inside[k]
            others += beside * library[k] * (found.molecules[s] + shrunk.given[k])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.delete(inside / others, k, axis=0)
        told = np.isfinite(ratio).any(axis=0)
        if told.any():
            result[k, told] = np.log2(np.nanmin(ratio[:, told], axis=0))
    return result
