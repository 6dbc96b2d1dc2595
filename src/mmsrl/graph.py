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

REACH = 2.0
"""Widths of the Gaussian in space of the edge-preserving graph, in those of the graph that its first guess is of."""

REACH_CUT = 0.02
"""Weights of that Gaussian below this are left out: 2.8 widths, where no shell of a usual lattice lies either."""

SCALE_REACH = 1.9
"""Widths of that Gaussian within which two spots differ by what is typical; no shell of a usual lattice lies there."""

PASSES = 2
"""Times that the edge-preserving graph is made, the second time from what the first has smoothed."""

BLOCK = 1 << 14
"""Pairs of spots that are compared at a time: few enough for their values to stay in cache."""


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
    kernel = _normalised((upper + upper.T + self_weight * sp.identity(n)).tocsr())
    kernel.sort_indices()
    return kernel


def _normalised(weights: sp.csr_matrix) -> sp.csr_matrix:
    """Return the weights with every row divided by its sum."""
    return sp.csr_matrix(sp.diags(1.0 / np.asarray(weights.sum(axis=1)).ravel()) @ weights)


def plain_graph(coordinates: ArrayLike, width: float) -> sp.csr_matrix:
    """Return a Gaussian by distance alone, cut at a thousandth.

    That is at 3.7 widths: no shell of neighbours of a square or hexagonal lattice lies there at the usual widths, so
    rounding of coordinates cannot take a neighbour in or out.
    """
    return gaussian_graph(coordinates, width, self_weight=1.0, cut=1e-3)


def edge_preserving_graph(coordinates: Sequence[FloatArray], values: FloatArray, width: float) -> sp.csr_matrix:
    """Return the default preset's graph: a Gaussian in space that does not reach across borders.

    A plain Gaussian mixes what lies on both sides of a border: spots there look like a domain of their own, and what
    is thinner than the Gaussian is gone. Here the weight of two spots is multiplied by exp(−Dᵢⱼ / 2h²), with D the
    squared distance of their smoothed values and h² its median over pairs that are near: a bilateral filter (Tomasi &
    Manduchi, ICCV 1998) with its range from the data, guided by the values that are smoothed already so that noise
    does not choose the neighbours. As borders no longer blur, it may reach twice as far.

    Parameters
    ----------
    coordinates
        Of each section, (n_s, 2), in the unit of ``width``; sections have nothing to do with each other.
    values
        (n, k), of all sections one after the other, not smoothed.
    width
        Of the plain Gaussian that the first guess is smoothed by, > 0.

    Returns
    -------
    (n, n) float32 CSR with sorted indices; rows sum to 1.
    """
    ends = np.cumsum([len(places) for places in coordinates])[:-1]
    parts = np.split(values, ends)
    return block_diagonal([_edge_preserving(*section, width) for section in zip(coordinates, parts, strict=True)])


def _edge_preserving(coordinates: FloatArray, values: FloatArray, width: float) -> sp.csr_matrix:
    near = gaussian_graph(coordinates, REACH * width, self_weight=1.0, cut=REACH_CUT).astype(np.float32)
    rows = np.repeat(np.arange(near.shape[0], dtype=near.indices.dtype), np.diff(near.indptr))
    typical = (near.indices != rows) & (
        near.data >= np.float32(np.exp(-(SCALE_REACH**2) / 2.0)) * near.diagonal()[rows]
    )
    graph = plain_graph(coordinates, width)
    for _ in range(PASSES):
        smoothed = smooth(graph, values, 1)
        apart = _squared_differences(rows, near.indices, smoothed)
        scale = (float(np.median(apart[typical])) if typical.any() else 0.0) or float(apart.mean()) or 1.0
        weights = near.data * np.exp(apart / (-2.0 * scale))
        graph = _normalised(sp.csr_matrix((weights, near.indices, near.indptr), shape=near.shape))
    return graph


def _squared_differences(rows: NDArray[Any], columns: NDArray[Any], values: FloatArray) -> FloatArray:
    """Return the squared distance of the values, (n, k), of the spots of each pair."""
    result = np.empty(len(rows), dtype=values.dtype)
    for start in range(0, len(rows), BLOCK):
        pairs = slice(start, start + BLOCK)
        apart = values[rows[pairs]] - values[columns[pairs]]
        np.einsum("ij,ij->i", apart, apart, out=result[pairs])
    return result


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
