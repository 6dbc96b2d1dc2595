"""Genes of domains tested over sections, each of which gives one estimate. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl.linear_models import moderated_effect, trend_weights
from mmsrl.markers.offset import LEAST_VARIANCE, Sums

Float = NDArray[np.float64]

LEAST_SECTIONS = 3
"""Sections with the domain and something beside it below which its genes are not tested over them."""

LEAST_GENES = 50
"""Genes that can be tested below which none is: they tell together how variance goes with the number of molecules."""


class Pseudobulk(NamedTuple):
    """Each domain against the others, over sections."""

    n_sections: NDArray[np.int64]
    """(K,): sections with the domain and something beside it."""
    p_value: Float
    """(K, G): one-sided, as much more or more; NaN where sections, molecules or genes are too few."""


def over_sections(found: Sums, again: NDArray[np.bool_]) -> Pseudobulk:
    """Test whether domains have more molecules of a gene in one section after the other.

    Of each section the test over spots (:func:`mmsrl.markers.offset.enrichment`) has a score and its variance under
    Poisson counts, their ratio being an estimate of the excess, whose mean over sections is tested by a moderated t
    test. Like the score it is free of what depth tells of the domain, and of bias where molecules are few.

    Parameters
    ----------
    again
        (K,): the domains to test.
    """
    own = found.library[0]
    whole = own.sum(axis=1)
    both = (own > 0) & (own < whole[:, None])
    p = np.full(found.molecules.shape[1:], np.nan)
    for k in np.flatnonzero(again & (both.sum(axis=0) >= LEAST_SECTIONS)):
        sections = np.flatnonzero(both[:, k])
        total = found.molecules[sections].sum(axis=1)
        constant, slope = found.coefficients[:, sections, k, None]
        excess = found.molecules[sections, k] - constant * total - slope * found.by_depth[sections]
        precision = total / whole[sections, None] * found.squares[0, sections, k, None]
        enough = (precision.min(axis=0) > 0) & (precision.sum(axis=0) >= LEAST_VARIANCE)
        if enough.sum() >= LEAST_GENES:
            p[k, enough] = mean_excess_p(excess[:, enough] / precision[:, enough], precision[:, enough])
    return Pseudobulk(both.sum(axis=0), p)


def mean_excess_p(excess: Float, precision: Float) -> Float:
    """Return one-sided p-values, (G,), of a mean excess over sections that is not above 0.

    Parameters
    ----------
    excess
        (S, G).
    precision
        (S, G): the inverse of its variance under Poisson counts. By how much sections vary more than that is taken
        from a trend over the genes.
    """
    n = len(excess)
    mean = (precision * excess).sum(axis=0) / precision.sum(axis=0)
    deviation = np.sqrt((precision * (excess - mean) ** 2).sum(axis=0) / (n - 1))
    weights = precision * trend_weights(deviation, np.log(precision.mean(axis=0)), np.log(precision))
    return moderated_effect(excess, np.ones((n, 1)), np.ones(1), weights).p_greater
