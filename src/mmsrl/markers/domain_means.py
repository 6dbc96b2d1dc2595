"""Mean expression of genes by domain. Linear in the stored counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Float = NDArray[np.float64]

PRIOR_COUNTS = 0.5
"""Mean number of pseudocounts per gene of a domain, distributed as elsewhere. They shrink small domains."""


class Expression(NamedTuple):
    """Expression of genes by domain: all (K, G) float64."""

    rate: Float
    """Counts of the gene per 10,000 counts of the domain."""
    share: Float
    """Fraction of the spots of the domain with the gene."""
    share_elsewhere: Float
    """Fraction of all other spots with the gene."""


def by_domain(counts: sp.csr_matrix, domain: NDArray[np.int64], n_domains: int) -> Expression:
    """Compute expression by domain from sums of raw counts, so that every molecule has the same weight.

    Parameters
    ----------
    counts
        Raw counts, (n, G).
    domain
        Domain of each spot, (n,), from 0 to ``n_domains`` - 1.
    n_domains
        Number of domains K.
    """
    member = membership(domain, n_domains)
    sums = np.asarray((member @ counts).todense(), dtype=np.float64)
    return Expression(1e4 * sums / np.maximum(sums.sum(axis=1, keepdims=True), 1.0), *shares(counts, member))


def shares(values: sp.csr_matrix, member: sp.csr_matrix) -> tuple[Float, Float]:
    """Return the fractions of spots with a positive value, in each domain and elsewhere, (K, G) each.

    Parameters
    ----------
    values
        Non-negative values, (n, G).
    member
        Indicator matrix from :func:`membership`, (K, n).
    """
    detected = np.asarray((member @ (values > 0)).todense(), dtype=np.float64)
    spots = np.asarray(member.sum(axis=1)).reshape(-1, 1)
    return detected / np.maximum(spots, 1.0), (detected.sum(axis=0) - detected) / np.maximum(spots.sum() - spots, 1.0)


def membership(domain: NDArray[np.integer[Any]], n_domains: int) -> sp.csr_matrix:
    """Return the indicator matrix of domains, (K, n) float64, from the domain of each spot, (n,)."""
    n = len(domain)
    return sp.csr_matrix((np.ones(n), (domain, np.arange(n))), shape=(n_domains, n))
