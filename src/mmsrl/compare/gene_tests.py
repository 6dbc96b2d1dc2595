"""Genes that differ between conditions within a domain: pseudobulk counts of the replicates. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl._design import Comparison
from mmsrl.linear_models import library_sizes, moderated_effect, voom

Float = NDArray[np.float64]

LEAST_EXPECTED = 5.0
"""Molecules of a gene expected in a replicate of the shallower condition, below which it is not tested. Logs of fewer
are biased, which would show as a difference where conditions differ in depth (``make bench-study``). The bias goes with
the inverse of the expected number, so that the depth of a condition is the harmonic mean of its replicates."""

LEAST_GENES = 50
"""Genes with so many below which none is tested: variances are estimated from all of them together."""


class GeneTests(NamedTuple):
    """Every tested gene of one domain; all (T,) if not said."""

    gene: NDArray[np.int64]
    """Position."""
    mean: Float
    """Molecules in 10,000 of the domain, mean of the replicates."""
    log2_fold_change: Float
    low: Float
    high: Float
    """95 % confidence interval."""
    p_value: Float
    """Two-sided."""
    score: Float
    """The difference in standard normal deviations."""
    residual: Float
    """(d, T): see :class:`mmsrl.linear_models.Effect`."""


def gene_differences(molecules: Float, comparison: Comparison) -> GeneTests | str:
    """Test each gene with limma's moderated t test on voom-weighted log counts, or say why none can be tested.

    Parameters
    ----------
    molecules
        (n, G): of every gene in the domain, in every replicate of the comparison.
    """
    condition = comparison.matrix[:, -1] > 0
    share = np.maximum(molecules.sum(axis=1), 1.0) / molecules.sum()
    shallower = min(1.0 / np.mean(1.0 / share[arm]) for arm in (condition, ~condition))
    genes = np.flatnonzero(shallower * molecules.sum(axis=0) >= LEAST_EXPECTED)
    if len(genes) < LEAST_GENES:
        return f"{len(genes)} genes have {LEAST_EXPECTED:.0f} molecules or more a replicate, {LEAST_GENES} are needed"
    counts = molecules[:, genes]
    values, weights = voom(counts, library_sizes(counts), comparison.matrix)
    found = moderated_effect(values, comparison.matrix, comparison.contrast, weights)
    if not np.isfinite(found.p_value).any():
        return "replicates of a condition do not differ: there is no variation to compare with"
    mean = 1e4 * (counts / molecules.sum(axis=1, keepdims=True)).mean(axis=0)
    score = np.sign(found.t) * norm.isf(np.maximum(found.p_value, 1e-300) / 2.0)
    return GeneTests(genes, mean, found.estimate, found.low, found.high, found.p_value, score, found.residual)
