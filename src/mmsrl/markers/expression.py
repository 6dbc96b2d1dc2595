"""How much of each gene there is in each domain. Linear in the stored counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Float = NDArray[np.float64]

PRIOR_COUNTS = 0.5
"""Molecules a gene, on average, that a domain is given of what is elsewhere: so many that are few count for little."""


class Expression(NamedTuple):
    """Genes by domain; all (K, G) float64."""

    rate: Float
    """Molecules of the gene per 10,000 of the domain."""
    share: Float
    """Share of the domain's spots that have the gene."""
    share_elsewhere: Float
    """Share of all other spots that have it."""
    fold: Float
    """log2 of the rate in the domain over that in all others together, shrunk towards 0."""
    fold_next: Float
    """log2 of the rate in the domain over the highest rate in any other domain, which is shrunk alike."""


def by_domain(counts: sp.csr_matrix, domain: NDArray[np.int64], n_domains: int) -> Expression:
    """Describe genes by domain from the sums of raw counts, so that large and small spots count alike by molecule.

    For ratios a domain is given :data:`PRIOR_COUNTS` molecules a gene in the proportions of all others. That is nothing
    beside the molecules of a domain of many spots, and says "as elsewhere" of one of few: as many molecules of every
    gene alike would make each gene that is rare look high in the smallest domain.

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
    library = sums.sum(axis=1, keepdims=True)
    prior = PRIOR_COUNTS * counts.shape[1]
    overall = (sums.sum(axis=0) + PRIOR_COUNTS) / (library.sum() + prior)
    elsewhere = (sums.sum(axis=0) - sums + prior * overall) / (library.sum() - library + prior)
    rate = (sums + prior * elsewhere) / (library + prior)
    return Expression(
        1e4 * sums / np.maximum(library, 1.0),
        seen / np.maximum(spots, 1.0),
        (seen.sum(axis=0) - seen) / np.maximum(spots.sum() - spots, 1.0),
        np.log2(rate / elsewhere),
        np.log2(rate / _highest_other(sums, library, prior * elsewhere, prior)),
    )


def _highest_other(sums: Float, library: Float, given: Float, prior: float) -> Float:
    """Return for each row of (K, G) the highest rate of the other rows, with what that row is given."""
    result = np.empty_like(sums)
    for k in range(len(sums)):
        others = (sums + given[k]) / (library + prior)
        result[k] = np.delete(others, k, axis=0).max(axis=0) if len(sums) > 1 else others[k]
    return result


def membership(domain: NDArray[np.int64], n_domains: int) -> sp.csr_matrix:
    """Return which spot, (n,), is in which domain, (K, n) float64: times values by spot, it sums them by domain."""
    n = len(domain)
    return sp.csr_matrix((np.ones(n), (domain, np.arange(n))), shape=(n_domains, n))
