"""The spatial graph: a row-normalised Gaussian kernel, sparse from the start. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.floating[Any]]

CUT = 1e-7
"""Gaussian weights below this are left out; it is the level of single-precision rounding."""


def gaussian_graph(
    coordinates: ArrayLike, width: float, *, self_weight: float = 2.0, cut: float = CUT
) -> sp.csr_matrix:
    """Return Â, the row-normalised Gaussian kernel with self loops.

    The weight of two spots at distance d is exp(−d² / 2·width²); a spot weighs ``self_weight`` on itself (as published,
    its exp(0) plus the identity); every row is divided by its sum. On the hexagonal Visium lattice the weight is below
    1e-7 of the largest beyond 5.7 widths: the published dense matrix is sparse in all but name, and with the kernel cut
    there no denormal number is left in it.

    Parameters
    ----------
    coordinates
        (n, 2), in the unit of ``width``.
    width
        The kernel's standard deviation l, > 0.
    cut
        Weights below it are 0.

    Returns
    -------
    (n, n) float64 CSR with sorted indices; rows sum to 1.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    n = len(points)
    radius = width * np.sqrt(-2.0 * np.log(cut))
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    squared = ((points[pairs[:, 0]] - points[pairs[:, 1]]) ** 2).sum(axis=1)
    upper = sp.coo_matrix((np.exp(-squared / (2.0 * width**2)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    kernel = (upper + upper.T + self_weight * sp.identity(n)).tocsr()
    kernel = sp.diags(1.0 / np.asarray(kernel.sum(axis=1)).ravel()) @ kernel
    kernel.sort_indices()
    return sp.csr_matrix(kernel)


def default_graph(coordinates: ArrayLike, width: float) -> sp.csr_matrix:
    """Return the default preset's graph: a plain Gaussian.

    Cut at 1e-3, 3.7 widths: no shell of neighbours of a square or hexagonal lattice lies there at the usual widths, so
    rounding of coordinates cannot take a neighbour in or out.
    """
    return gaussian_graph(coordinates, width, self_weight=1.0, cut=1e-3)


def block_diagonal(graphs: Sequence[sp.csr_matrix]) -> sp.csr_matrix:
    """Return the graph of several sections: no spot of one is a neighbour of a spot of another."""
    return graphs[0] if len(graphs) == 1 else sp.csr_matrix(sp.block_diag(graphs, format="csr"))


def smooth(graph: sp.csr_matrix, values: FloatArray | sp.csr_matrix, times: int) -> FloatArray:
    """Return ``graph`` applied ``times`` times to ``values`` (n, k), dense, in the precision of ``values``."""
    result = values.toarray() if isinstance(values, sp.csr_matrix) else values
    operator = graph.astype(result.dtype)
    for _ in range(times):
        result = operator @ result
    return np.asarray(result)
