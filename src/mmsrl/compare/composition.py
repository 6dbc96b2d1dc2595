"""Whether a domain takes a larger or smaller share of the tissue in one condition. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl._design import Comparison

Float = NDArray[np.float64]

PSEUDOCOUNT = 0.5
"""Spots of the smallest replicate added to a domain and to all others, so that a domain that is missing has a logit.
Larger replicates get more in proportion: the same number for all would give a domain that no replicate has, or that
fills all of them, a share that differs with the size of the sections."""


class ShareTest(NamedTuple):
    """The difference of one domain's share between two conditions."""

    odds_ratio: float
    low: float
    high: float
    """95 % confidence interval."""
    p_value: float
    """Two-sided."""


def share_difference(inside: Float, total: Float, comparison: Comparison) -> ShareTest:
    """Test the share of a domain with a linear model of its logit, fitted by least squares to the replicates.

    Spots within a section depend on each other, so that their number is not the sample size: it is the spread of the
    replicates that the difference is compared with.

    Parameters
    ----------
    inside
        (n,), spots of the domain in every replicate of the comparison.
    total
        (n,), all spots.
    """
    from statsmodels.regression.linear_model import OLS  # takes seconds

    added = PSEUDOCOUNT * total / total.min()
    logit = np.log((inside + added) / (total - inside + added))
    fitted = OLS(logit, comparison.matrix).fit()
    if not fitted.ssr > 1e-12:  # all replicates of a condition are the same: there is no spread to compare with
        return ShareTest(float(np.exp(fitted.params[-1])), np.nan, np.nan, np.nan)
    ratio, low, high = np.exp([fitted.params[-1], *fitted.conf_int()[-1]])
    return ShareTest(float(ratio), float(low), float(high), float(fitted.pvalues[-1]))
