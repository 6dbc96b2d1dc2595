"""Differences in composition: the share of a domain between conditions. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl._design import Comparison

Float = NDArray[np.float64]

PSEUDOCOUNT = 0.5
"""Pseudocount of the smallest replicate, added to a domain and to all others, so that absent domains have a logit. It
is proportional to the number of spots of a replicate: with a constant, the share of an absent domain would depend on
the size of the sections."""


class ShareTest(NamedTuple):
    """Difference of the share of one domain between two conditions."""

    odds_ratio: float
    low: float
    high: float
    """95 % confidence interval."""
    p_value: float
    """Two-sided."""


def share_difference(inside: Float, total: Float, comparison: Comparison) -> ShareTest:
    """Test the share of a domain by a linear model of its logit over replicates.

    Spots within a section are correlated, so the sample size is the number of replicates.

    Parameters
    ----------
    inside
        Number of spots of the domain in every replicate of the comparison, (n,).
    total
        Number of all spots, (n,).
    comparison
        Design matrix and contrast.
    """
    from statsmodels.regression.linear_model import OLS  # takes seconds

    pseudocount = PSEUDOCOUNT * total / total.min()
    logit = np.log((inside + pseudocount) / (total - inside + pseudocount))
    fitted = OLS(logit, comparison.matrix).fit()
    if not fitted.ssr > 1e-12:  # replicates of each condition are identical: no variance to test against
        return ShareTest(float(np.exp(fitted.params[-1])), np.nan, np.nan, np.nan)
    ratio, low, high = np.exp([fitted.params[-1], *fitted.conf_int()[-1]])
    return ShareTest(float(ratio), float(low), float(high), float(fitted.pvalues[-1]))
