"""How much of each gene there is in each domain. Linear in the stored counts."""

from __future__ import annotations

from typing import Any, NamedTuple

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
    return Expression(1e4 * sums / np.maximum(sums.sum(axis=1, keepdims=True), 1.0), *shares(counts, member))


def shares(values: sp.csr_matrix, member: sp.csr_matrix) -> tuple[Float, Float]:
    """Return the shares of the spots of each domain, and of all others, that have more than 0 of a gene: (K, G) each.

    Parameters
    ----------
    values
        (n, G), of 0 and more.
    member
        (K, n) of :func:`membership`.
    """
    seen = np.asarray((member @ (values > 0)).todense(), dtype=np.float64)
    spots = np.asarray(member.sum(axis=1)).reshape(-1, 1)
    return seen / np.maximum(spots, 1.0), (seen.sum(axis=0) - seen) / np.maximum(spots.sum() - spots, 1.0)


def membership(domain: NDArray[np.integer[Any]], n_domains: int) -> sp.csr_matrix:
    """Return which spot, (n,), is in which domain, (K, n) float64: times values by spot, it sums them by domain."""
    n = len(domain)
    return sp.csr_matrix((np.ones(n), (domain, np.arange(n))), shape=(n_domains, n))
