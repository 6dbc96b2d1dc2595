"""Adjacency of spots, and of domains. Linear in the number of spots.

squidpy's graph has the same edges and its enrichment z-scores correlate with these by .9998, in the same time
(``benchmarks/bench_libraries.py``). squidpy requires 72 further packages (314 MB) and 1.7 s more of import.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmsrl.geometry import FIRST_SHELL

Float = NDArray[np.float64]

NEIGHBOURS = 6
"""Number of nearest neighbours without a lattice."""

PERMUTATIONS = 1000


class Contacts(NamedTuple):
    """Neighbourhood enrichment of pairs of domains: all (K, K)."""

    observed: NDArray[np.int64]
    """Number of adjacent pairs of spots, one of each domain."""
    expected: Float
    """Expected number under permutation of the domains over spots."""
    z: Float
    """Observed minus expected, in standard deviations over permutations. 0 if there is no variation."""


def adjacency(points: Float, *, lattice: bool) -> sp.csr_matrix:
    """Compute the binary adjacency matrix of spots: symmetric, (n, n), without diagonal.

    Parameters
    ----------
    points
        Spot coordinates, (n, 2), in spot spacings.
    lattice
        Whether spots lie on a lattice. If so, spots within 1.2 spacings are adjacent. Otherwise spots are adjacent if
        either is among the six nearest neighbours of the other.
    """
    n = len(points)
    if lattice:
        pairs = cKDTree(points).query_pairs(FIRST_SHELL, output_type="ndarray")
    else:
        k = min(NEIGHBOURS, n - 1)
        near = cKDTree(points).query(points, k=np.arange(2, k + 2))[1]
        pairs = np.column_stack([np.repeat(np.arange(n), k), near.ravel()])
    one_way = sp.csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    both = sp.csr_matrix(one_way + one_way.T)
    both.setdiag(0)
    both.eliminate_zeros()
    both.data[:] = 1.0
    return both


def contacts(domain: NDArray[np.int64], graph: sp.csr_matrix, n_domains: int, seed: int) -> Contacts:
    """Count adjacent pairs of spots by domain, and compare with permuted domains.

    Domains are contiguous, so almost every domain is enriched next to itself. The informative entries are pairs of
    different domains.

    Parameters
    ----------
    domain
        Domain of each spot, (n,), from 0 to ``n_domains`` - 1.
    graph
        Binary adjacency matrix, (n, n), symmetric, without diagonal.
    n_domains
        Number of domains K.
    seed
        Random seed of the permutations.
    """
    n, (one, other) = len(domain), graph.nonzero()

    def count(labels: NDArray[np.int64]) -> NDArray[np.int64]:
        pairs = np.bincount(labels[one] * n_domains + labels[other], minlength=n_domains**2)
        return pairs.reshape(n_domains, n_domains)

    observed = count(domain)
    size = np.bincount(domain, minlength=n_domains).astype(np.float64)
    expected = len(one) * (np.outer(size, size) - np.diag(size)) / max(n * (n - 1), 1)
    generator = np.random.default_rng(seed)
    squares = np.zeros((n_domains, n_domains))
    for _ in range(PERMUTATIONS):
        squares += (count(generator.permutation(domain)) - expected) ** 2
    spread = np.sqrt(squares / PERMUTATIONS)
    z = np.divide(observed - expected, spread, out=np.zeros_like(spread), where=spread > 0)
    # Pairs within one domain are counted from both ends.
    within = np.eye(n_domains, dtype=bool)
    return Contacts(np.where(within, observed // 2, observed), np.where(within, expected / 2, expected), z)
