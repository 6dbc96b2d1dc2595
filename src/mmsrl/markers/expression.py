"""How much of each gene there is in each domain. Linear in the stored counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Float = NDArray[np.float64]

PRIOR_COUNTS = 0.5
"""Added to the counts of every gene in a domain, so that ratios of small counts are not infinite."""


class Expression(NamedTuple):
    """Genes by domain; all (K, G) float64."""

    rate: Float
    """Molecules of the gene per 10,000 of the domain."""
    share: Float
    """Share of the domain's spots that have the gene."""
    share_elsewhere: Float
    """Share of all other spots that have it."""
    fold: Float
    """log2 of the rate in the domain over that in all others together."""
    fold_next: Float
    """log2 of the rate in the domain over the highest rate in any other domain."""


def by_domain(counts: sp.csr_matrix, domain: NDArray[np.int64], n_domains: int) -> Expression:
    """Describe genes by domain from the sums of raw counts, so that large and small spots count alike by molecule.

    Parameters
    ----------
    counts
        (n, G), raw.
    domain
        (n,), from 0 to ``n_domains`` - 1.
    """
    member = membership(domain, n_domains)
    sums = np.asarray((member @ counts).todense(), dtype=np.float64)
    seen = np.asarray((member @ (counts > 0)).todense(), dtype=np.float64)
    spots = np.bincount(domain, minlength=n_domains).astype(np.float64)[:, None]
    library = np.maximum(sums.sum(axis=1, keepdims=True), 1.0)
    rate = (sums + PRIOR_COUNTS) / library
    elsewhere = (sums.sum(axis=0) - sums + PRIOR_COUNTS) / np.maximum(library.sum() - library, 1.0)
    return Expression(
        1e4 * sums / library,
        seen / np.maximum(spots, 1.0),
        (seen.sum(axis=0) - seen) / np.maximum(spots.sum() - spots, 1.0),
        np.log2(rate / elsewhere),
        np.log2(rate / _highest_other(rate)),
    )


def _highest_other(values: Float) -> Float:
    """Return for each row of (K, G) the highest value of the other rows; the row itself where it is alone."""
    if len(values) == 1:
        return values
    second, first = np.partition(values, -2, axis=0)[-2:]
    others: Float = np.where(values == first, second, first)
    return others


def membership(domain: NDArray[np.int64], n_domains: int) -> sp.csr_matrix:
    """Return which spot, (n,), is in which domain, (K, n) float64: times values by spot, it sums them by domain."""
    n = len(domain)
    return sp.csr_matrix((np.ones(n), (domain, np.arange(n))), shape=(n_domains, n))
