"""Differential expression within a domain: pseudobulk counts of replicates. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl._design import Comparison
from mmsrl.linear_models import library_sizes, moderated_effect, voom

Float = NDArray[np.float64]

LEAST_EXPECTED = 5.0
"""Minimum expected count of a gene in a replicate of the shallower condition. Logs of lower counts are biased, which
would appear as a difference if conditions differ in depth (``make bench-study``). The bias is proportional to the
inverse of the expected count, so the depth of a condition is the harmonic mean over its replicates."""

LEAST_GENES = 50
"""Minimum number of such genes, which share the estimate of their variances."""


class GeneTests(NamedTuple):
    """Tested genes of one domain: all (T,) unless stated otherwise."""

    gene: NDArray[np.int64]
    """Index."""
    mean: Float
    """Counts per 10,000 of the domain, mean of the replicates."""
    log2_fold_change: Float
    low: Float
    high: Float
    """95 % confidence interval."""
    p_value: Float
    """Two-sided."""
    score: Float
    """Difference in standard normal deviations."""
    residual: Float
    """(d, T): see :class:`mmsrl.linear_models.Effect`."""


def gene_differences(molecules: Float, comparison: Comparison) -> GeneTests | str:
    """Test each gene by a moderated t test on voom-weighted log counts (limma), or return why none can be tested.

    Parameters
    ----------
    molecules
        Counts of every gene in the domain, in every replicate of the comparison, (n, G).
    comparison
        Design matrix and contrast.
    """
    condition = comparison.matrix[:, -1] > 0
    share = np.maximum(molecules.sum(axis=1), 1.0) / molecules.sum()
    shallower = min(1.0 / np.mean(1.0 / share[arm]) for arm in (condition, ~condition))
    genes = np.flatnonzero(shallower * molecules.sum(axis=0) >= LEAST_EXPECTED)
    if len(genes) < LEAST_GENES:
        return f"{len(genes)} genes have at least {LEAST_EXPECTED:.0f} counts per replicate; {LEAST_GENES} are needed"
    counts = molecules[:, genes]
    values, weights = voom(counts, library_sizes(counts), comparison.matrix)
    effect = moderated_effect(values, comparison.matrix, comparison.contrast, weights)
    if not np.isfinite(effect.p_value).any():
        return "the replicates of each condition are identical, so there is no variance to test against"
    mean = 1e4 * (counts / molecules.sum(axis=1, keepdims=True)).mean(axis=0)
    score = np.sign(effect.t) * norm.isf(np.maximum(effect.p_value, 1e-300) / 2.0)
    return GeneTests(genes, mean, effect.estimate, effect.low, effect.high, effect.p_value, score, effect.residual)
