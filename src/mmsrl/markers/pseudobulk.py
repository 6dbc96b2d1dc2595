"""Pseudobulk test of the genes of domains: one estimate for each section. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl.linear_models import moderated_effect, trend_weights
from mmsrl.markers.offset import LEAST_VARIANCE, Sums

Float = NDArray[np.float64]

LEAST_SECTIONS = 3
"""Minimum number of sections with the domain and another one."""

LEAST_GENES = 50
"""Minimum number of testable genes, which together determine the mean-variance trend."""


class Pseudobulk(NamedTuple):
    """Each domain against the others, with sections as replicates."""

    n_sections: NDArray[np.int64]
    """(K,): number of sections with the domain and another one."""
    p_value: Float
    """(K, G): one-sided, for higher expression. NaN with too few sections, counts or genes."""


def over_sections(statistics: Sums, again: NDArray[np.bool_]) -> Pseudobulk:
    """Test whether a domain has more counts of a gene, consistently over sections.

    The score of the test over spots (:func:`mmsrl.markers.offset.enrichment`) divided by its Poisson variance estimates
    the excess in each section. A moderated t test compares the mean excess over sections with 0. Like the score, the
    excess is independent of the library size and unbiased for low counts.

    Parameters
    ----------
    statistics
        Sufficient statistics (:func:`mmsrl.markers.offset.sums`).
    again
        Mask of the domains to test, (K,).
    """
    library = statistics.library[0]
    whole = library.sum(axis=1)
    both = (library > 0) & (library < whole[:, None])
    p = np.full(statistics.molecules.shape[1:], np.nan)
    for k in np.flatnonzero(again & (both.sum(axis=0) >= LEAST_SECTIONS)):
        sections = np.flatnonzero(both[:, k])
        total = statistics.molecules[sections].sum(axis=1)
        constant, slope = statistics.coefficients[:, sections, k, None]
        excess = statistics.molecules[sections, k] - constant * total - slope * statistics.by_depth[sections]
        precision = total / whole[sections, None] * statistics.squares[0, sections, k, None]
        enough = (precision.min(axis=0) > 0) & (precision.sum(axis=0) >= LEAST_VARIANCE)
        if enough.sum() >= LEAST_GENES:
            p[k, enough] = mean_excess_p(excess[:, enough] / precision[:, enough], precision[:, enough])
    return Pseudobulk(both.sum(axis=0), p)


def mean_excess_p(excess: Float, precision: Float) -> Float:
    """Compute one-sided p-values, (G,), of the mean excess over sections.

    Parameters
    ----------
    excess
        Excess, (S, G).
    precision
        Inverse Poisson variance of the excess, (S, G). Variation between sections beyond it is taken from a trend over
        genes.
    """
    n = len(excess)
    mean = (precision * excess).sum(axis=0) / precision.sum(axis=0)
    deviation = np.sqrt((precision * (excess - mean) ** 2).sum(axis=0) / (n - 1))
    weights = precision * trend_weights(deviation, np.log(precision.mean(axis=0)), np.log(precision))
    return moderated_effect(excess, np.ones((n, 1)), np.ones(1), weights).p_greater
