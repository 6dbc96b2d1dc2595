"""What adjoins on the tissue: the graph of neighbours, and domains that meet. Linear in spots."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmsrl.geometry import FIRST_SHELL

Float = NDArray[np.float64]

NEIGHBOURS = 6
"""Neighbours of a spot where there is no lattice."""

PERMUTATIONS = 1000


class Contacts(NamedTuple):
    """How often spots of two domains adjoin; all (K, K)."""

    observed: NDArray[np.int64]
    """Pairs of adjoining spots, one of the row's domain and one of the column's."""
    expected: Float
    """The same with domains shuffled over the spots."""
    z: Float
    """Observed minus expected, in standard deviations over shuffles; 0 where there is no spread."""


def adjacency(points: Float, *, lattice: bool) -> sp.csr_matrix:
    """Return which spots adjoin: symmetric, (n, n), ones without a diagonal.

    Parameters
    ----------
    points
        (n, 2), in spot pitches.
    lattice
        Whether spots lie on one; then those within 1.2 pitches adjoin, else the six nearest, either way.
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
    """Count neighbours by domain, and compare with domains shuffled over the spots.

    Domains are patches, so that almost every domain adjoins itself more than chance: what tells is which of two others
    is the nearer.

    Parameters
    ----------
    domain
        (n,), from 0 to ``n_domains`` - 1.
    graph
        (n, n), symmetric, no diagonal.
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
    # A pair within one domain was met from both of its ends.
    within = np.eye(n_domains, dtype=bool)
    return Contacts(np.where(within, observed // 2, observed), np.where(within, expected / 2, expected), z)
