"""Fold changes of domains within sections, with confidence intervals. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl.markers.domain_means import PRIOR_COUNTS
from mmsrl.markers.offset import Sums

Float = NDArray[np.float64]

LEVEL = 0.95
"""Confidence level of intervals."""


class Folds(NamedTuple):
    """log2 fold changes of each domain and gene within sections, (K, G).

    NaN if no section contains the domain and another one.
    """

    log2: Float
    """Over all other domains together."""
    low: Float
    """95 % confidence interval."""
    high: Float
    log2_next: Float
    """Over the other domain with the highest expression, among domains that share a section."""
    sections_up: NDArray[np.int64]
    """Number of sections whose own confidence interval is above 0."""


class _Shrunk(NamedTuple):
    """Counts and library sizes of a section, in each domain and elsewhere, with pseudocounts."""

    inside: Float
    """(K, G)."""
    elsewhere: Float
    """(K, G)."""
    library: Float
    """(K, 1)."""
    library_elsewhere: Float
    """(K, 1)."""
    given: Float
    """(K, G): pseudocounts of each domain."""


def fold_changes(statistics: Sums, n_genes: int) -> Folds:
    """Compute fold changes of expression in each domain over all others in the same section.

    Sections are combined by the Mantel-Haenszel estimator of the rate ratio (Greenland and Robins, Biometrics 41,
    55-68, 1985). A domain receives :data:`PRIOR_COUNTS` pseudocounts per gene, distributed as elsewhere in the section.
    This shrinks small domains towards a fold change of 1, and does not affect large ones. Confidence intervals are
    normal on the log scale, with negative binomial variance μ + φμ².

    Parameters
    ----------
    statistics
        Sufficient statistics (:func:`mmsrl.markers.offset.sums`).
    n_genes
        Number of genes in the library, which may exceed the genes of ``statistics``.
    """
    shape, n_sections = statistics.molecules.shape[1:], len(statistics.molecules)
    up = np.zeros(shape, dtype=np.int64)
    parts = np.zeros((4, *shape))
    for s in range(n_sections):
        library = statistics.library[0, s]
        comparable = (library > 0) & (library < library.sum())
        if comparable.any():
            part = np.where(comparable[:, None], _parts(statistics, s, n_genes), 0.0)
            up += _interval(part)[1] > 0
            parts += part
    log2, low, high = _interval(parts)
    return Folds(log2, low, high, _over_next(statistics, n_genes), up)


def _shrunk(statistics: Sums, s: int, n_genes: int) -> _Shrunk:
    molecules, library = statistics.molecules[s], statistics.library[0, s][:, None]
    total, whole, prior = molecules.sum(axis=0), library.sum(), PRIOR_COUNTS * n_genes
    overall = (total + PRIOR_COUNTS) / (whole + prior)
    elsewhere, library_elsewhere = total - molecules + prior * overall, whole - library + prior
    given = prior * elsewhere / library_elsewhere
    return _Shrunk(molecules + given, elsewhere, library + prior, library_elsewhere, given)


def _parts(statistics: Sums, s: int, n_genes: int) -> Float:
    """Return the terms of the Mantel-Haenszel ratio of a section, and their variances, (4, K, G)."""
    shrunk = _shrunk(statistics, s, n_genes)
    second = statistics.library[1, s][:, None]
    both = shrunk.library + shrunk.library_elsewhere
    weight, weight_elsewhere = shrunk.library_elsewhere / both, shrunk.library / both
    variance = shrunk.inside + statistics.dispersion * (shrunk.inside / shrunk.library) ** 2 * second
    rate = shrunk.elsewhere / shrunk.library_elsewhere
    variance_elsewhere = shrunk.elsewhere + statistics.dispersion * rate**2 * (second.sum() - second)
    return np.stack(
        [
            weight * shrunk.inside,
            weight_elsewhere * shrunk.elsewhere,
            weight**2 * variance,
            weight_elsewhere**2 * variance_elsewhere,
        ]
    )


def _interval(parts: Float) -> tuple[Float, Float, Float]:
    """Return the log2 ratio of two sums with its confidence interval. NaN if both are empty."""
    inside, elsewhere, variance, variance_elsewhere = parts
    with np.errstate(divide="ignore", invalid="ignore"):
        log2 = np.log2(inside / elsewhere)
        deviation = np.sqrt(variance / inside**2 + variance_elsewhere / elsewhere**2) / np.log(2.0)
    reach = norm.ppf(0.5 + LEVEL / 2.0) * deviation
    return log2, log2 - reach, log2 + reach


def _over_next(statistics: Sums, n_genes: int) -> Float:
    """Return the lowest log2 ratio over any other domain with equal pseudocounts, (K, G)."""
    sections = [_shrunk(statistics, s, n_genes) for s in range(len(statistics.molecules))]
    present = statistics.library[0] > 0
    prior = PRIOR_COUNTS * n_genes
    result = np.full(statistics.molecules.shape[1:], np.nan)
    for k in range(len(result)):
        inside, others = np.zeros_like(result), np.zeros_like(result)
        for s, shrunk in enumerate(sections):
            library = statistics.library[0, s][:, None] + prior
            beside = (present[s] & present[s, k])[:, None] / (library + library[k])
            inside += beside * library * shrunk.inside[k]
            others += beside * library[k] * (statistics.molecules[s] + shrunk.given[k])
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.delete(inside / others, k, axis=0)
        comparable = np.isfinite(ratio).any(axis=0)
        if comparable.any():
            result[k, comparable] = np.log2(np.nanmin(ratio[:, comparable], axis=0))
    return result
