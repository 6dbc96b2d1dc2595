"""Spatial adjacency matrices: row-normalised Gaussian kernels, sparse from the start. Arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree
from sklearn.utils.sparsefuncs import inplace_column_scale, inplace_row_scale

FloatArray = NDArray[np.floating[Any]]

CUT = 1e-7
"""Gaussian weights below this are set to 0. It is the rounding error of single precision."""

REACH = 2.0
"""Spatial bandwidth of the bilateral filter, in units of the bandwidth of its initial graph."""

REACH_CUT = 0.02
"""Spatial weights of the bilateral filter below this are set to 0: beyond 2.8 bandwidths, where no shell of a usual
lattice lies."""

SCALE_REACH = 1.9
"""Pairs within this many bandwidths determine the range bandwidth of the bilateral filter. No shell of a usual lattice
lies at this distance."""

PASSES = 2
"""Number of iterations of the bilateral filter. The second is guided by the result of the first."""

BLOCK = 1 << 14
"""Number of pairs of spots per block. The values of a block fit into the cache."""

PLAIN_CUT = 1e-3
"""Weights of the plain Gaussian below this are set to 0: beyond 3.7 bandwidths."""

SPOTS_AT_A_TIME = 20_000
"""Number of spots per neighbour search."""

MOST_ENTRIES = 20_000_000
"""Number of entries in the graph of a section above which neighbours are pooled: 240 MB."""


CELL = 0.5
"""Side of the pooling cells in bandwidths. Cells of 1 bandwidth blur borders."""


class Pooled(NamedTuple):
    """Low-rank graph for many spots and a wide kernel: neighbours are square cells of spots, half a bandwidth wide.

    It represents the matrix ``near`` @ ``cells``, (n, n), which is never formed. There are about 200 entries per spot
    at most, for any bandwidth.
    """

    near: sp.csr_matrix
    """(n, m): row-normalised weights of the cells around each spot."""
    cells: sp.csr_matrix
    """(m, n): mean over the spots of each cell."""

    def __matmul__(self, values: Any) -> Any:
        return self.near @ (self.cells @ values)


Graph: TypeAlias = "sp.csr_matrix | Pooled"
"""Row-normalised adjacency matrix, (n, n)."""


def gaussian_graph(
    coordinates: ArrayLike, width: float, *, self_weight: float = 2.0, cut: float = CUT
) -> sp.csr_matrix:
    """Compute Â, the row-normalised Gaussian adjacency matrix with self-loops.

    The weight of two spots at distance d is exp(−d² / 2·width²). The weight of a spot on itself is ``self_weight``: 2
    as published, exp(0) plus the identity. On the hexagonal Visium lattice, weights beyond 5.7 bandwidths are below
    1e-7 of the largest. The published dense matrix is therefore almost sparse. Setting these weights to 0 also removes
    denormal numbers.

    Parameters
    ----------
    coordinates
        Spot coordinates, (n, 2), in the unit of ``width``.
    width
        Bandwidth: standard deviation of the kernel, > 0.
    self_weight
        Weight of the self-loops before normalisation.
    cut
        Smallest weight that is kept.

    Returns
    -------
    (n, n) float64 CSR with sorted indices. Rows sum to 1.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    n = len(points)
    radius = width * np.sqrt(-2.0 * np.log(cut))
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    squared = ((points[pairs[:, 0]] - points[pairs[:, 1]]) ** 2).sum(axis=1)
    upper = sp.coo_matrix((np.exp(-squared / (2.0 * width**2)), (pairs[:, 0], pairs[:, 1])), shape=(n, n))
    kernel = _normalise((upper + upper.T + self_weight * sp.identity(n)).tocsr())
    kernel.sort_indices()
    return kernel


def _normalise(weights: sp.csr_matrix) -> sp.csr_matrix:
    """Divide every row by its sum in place, and return the matrix."""
    inplace_row_scale(weights, (1.0 / np.asarray(weights.sum(axis=1)).ravel()).astype(weights.dtype))
    return weights


def plain_graph(coordinates: ArrayLike, width: float) -> sp.csr_matrix:
    """Compute the Gaussian adjacency matrix with self-loops of weight 1, cut at :data:`PLAIN_CUT`.

    The cut is at 3.7 bandwidths. For usual bandwidths no shell of a square or hexagonal lattice lies there, so rounding
    of coordinates does not add or remove neighbours.
    """
    return gaussian_graph(coordinates, width, self_weight=1.0, cut=PLAIN_CUT)


def pooled_graph(coordinates: Sequence[FloatArray], width: float) -> Graph:
    """Compute :func:`plain_graph` of all sections, pooled if it would have too many entries.

    Parameters
    ----------
    coordinates
        Spot coordinates of each section, (n_s, 2), in the unit of ``width``.
    width
        Bandwidth: standard deviation of the kernel, > 0.
    """
    return block_diagonal([_plain(np.asarray(places, dtype=np.float64), width) for places in coordinates])


def _plain(places: FloatArray, width: float) -> Graph:
    cells = _cells(places, width, _radius(width, PLAIN_CUT))
    return plain_graph(places, width) if cells is None else _plain_pooled(places, cells, width)


def _plain_pooled(places: FloatArray, cells: sp.csr_matrix, width: float) -> Pooled:
    near = _kernel(places, cells, width, PLAIN_CUT)
    inplace_column_scale(near, np.diff(cells.indptr).astype(np.float32))
    return Pooled(_normalise(near), cells)


def _radius(width: float, cut: float) -> float:
    return float(width * np.sqrt(-2.0 * np.log(cut)))


def _cells(places: FloatArray, width: float, radius: float) -> sp.csr_matrix | None:
    """Return the averaging matrix of the pooling cells, (m, n) float32. ``None`` if pooling is not needed."""
    n = len(places)
    tree = cKDTree(places)
    sample = places[:: max(n // 200, 1)]
    if n * float(np.mean(tree.query_ball_point(sample, radius, return_length=True))) <= MOST_ENTRIES:
        return None
    square = np.floor((places - places.min(axis=0)) / (CELL * width)).astype(np.int64)
    _, cell, size = np.unique(square, axis=0, return_inverse=True, return_counts=True)
    cell = cell.ravel()
    return sp.csr_matrix(((1.0 / size[cell]).astype(np.float32), (cell, np.arange(n))), shape=(len(size), n))


def _kernel(places: FloatArray, cells: sp.csr_matrix | None, width: float, cut: float) -> sp.csr_matrix:
    """Return unnormalised Gaussian weights between spots and spots or cells, (n, m) float32 CSR."""
    sources = places if cells is None else cells @ places
    tree, radius = cKDTree(sources), _radius(width, cut)
    parts = []
    for start in range(0, len(places), SPOTS_AT_A_TIME):
        block = places[start : start + SPOTS_AT_A_TIME]
        distances = cKDTree(block).sparse_distance_matrix(tree, radius, output_type="ndarray")
        values = np.exp(distances["v"] ** 2 / (-2.0 * width**2)).astype(np.float32)
        pairs = sp.coo_matrix((values, (distances["i"], distances["j"])), shape=(len(block), len(sources)))
        pairs.has_canonical_format = True  # each pair occurs once, and no order within a row is needed
        parts.append(pairs.tocsr())
    return sp.csr_matrix(sp.vstack(parts, format="csr"))


def edge_preserving_graph(
    coordinates: Sequence[FloatArray], values: FloatArray, width: float, plain: Graph | None = None
) -> Graph:
    """Compute the edge-preserving adjacency matrix of the default preset by a bilateral filter.

    A plain Gaussian mixes expression across borders: spots at a border then look like a domain of their own, and
    structures thinner than the bandwidth vanish. The bilateral filter (Tomasi & Manduchi, ICCV 1998) multiplies the
    spatial weight by exp(−Dᵢⱼ / 2h²). D is the squared distance of smoothed values. The squared range bandwidth h² is
    the median of D over nearby pairs. Smoothed values guide the filter, so that noise does not select the neighbours.
    Because borders stay sharp, the spatial bandwidth is doubled (:data:`REACH`).

    Parameters
    ----------
    coordinates
        Spot coordinates of each section, (n_s, 2), in the unit of ``width``. Sections are not connected.
    values
        Values of all sections, (n, k), not smoothed.
    width
        Bandwidth of the plain Gaussian of the initial guess, > 0.
    plain
        That Gaussian (:func:`pooled_graph`), if it is already computed.

    Returns
    -------
    (n, n) float32 CSR, rows sum to 1. Pooled if it would have too many entries.
    """
    guess = smooth(pooled_graph(coordinates, width) if plain is None else plain, values, 1)
    ends = np.cumsum([len(places) for places in coordinates])[:-1]
    parts = zip(coordinates, np.split(values, ends), np.split(guess, ends), strict=True)
    return block_diagonal([_edge_preserving(*section, width) for section in parts])


def _edge_preserving(coordinates: FloatArray, values: FloatArray, guess: FloatArray, width: float) -> Graph:
    places = np.asarray(coordinates, dtype=np.float64)
    cells = _cells(places, width, _radius(REACH * width, REACH_CUT))
    near = _kernel(places, cells, REACH * width, REACH_CUT)
    graph: Graph | None = None
    for _ in range(PASSES):
        smoothed = guess if graph is None else smooth(graph, values, 1)
        weights = _normalise(_bilateral(near, cells, smoothed))
        graph = weights if cells is None else Pooled(weights, cells)
    assert graph is not None
    return graph


def _bilateral(near: sp.csr_matrix, cells: sp.csr_matrix | None, smoothed: FloatArray) -> sp.csr_matrix:
    """Multiply spatial weights ``near``, (n, m), by range weights guided by smoothed values, (n, k)."""
    others = smoothed if cells is None else cells @ smoothed
    own_column = np.arange(near.shape[0]) if cells is None else sp.csr_matrix(cells.T).indices
    apart = np.empty(near.nnz, dtype=smoothed.dtype)
    typical = []
    for rows, entries in _rows(near):
        columns = near.indices[entries]
        apart[entries] = _squared_differences(rows, columns, smoothed, others)
        nearby = (columns != own_column[rows]) & (near.data[entries] >= np.float32(np.exp(-(SCALE_REACH**2) / 2.0)))
        typical.append(apart[entries][nearby])
    known = np.concatenate(typical)
    scale = (float(np.median(known)) if known.size else 0.0) or float(apart.mean()) or 1.0
    size = None if cells is None else np.diff(cells.indptr).astype(np.float32)
    for rows, entries in _rows(near):
        # Distances are relative to the most similar neighbour, since no pooled neighbour may be similar to the spot.
        starts = near.indptr[rows[0] : rows[-1] + 1] - near.indptr[rows[0]]
        apart[entries] -= np.minimum.reduceat(apart[entries], starts)[rows - rows[0]]
        apart[entries] = np.exp(apart[entries] / (-2.0 * scale)) * near.data[entries]
        if size is not None:
            apart[entries] *= size[near.indices[entries]]
    return sp.csr_matrix((apart, near.indices, near.indptr), near.shape)


def _rows(near: sp.csr_matrix) -> Iterator[tuple[NDArray[np.int64], slice]]:
    """Yield row indices of entries and the slice of the entries, :data:`SPOTS_AT_A_TIME` rows at a time."""
    for start in range(0, near.shape[0], SPOTS_AT_A_TIME):
        ends = near.indptr[start : start + SPOTS_AT_A_TIME + 1]
        yield np.repeat(np.arange(start, start + len(ends) - 1), np.diff(ends)), slice(ends[0], ends[-1])


def _squared_differences(
    rows: NDArray[Any], columns: NDArray[Any], values: FloatArray, others: FloatArray
) -> FloatArray:
    """Return squared distances between ``values[rows]`` and ``others[columns]``, (n_pairs,)."""
    result = np.empty(len(rows), dtype=values.dtype)
    for start in range(0, len(rows), BLOCK):
        pairs = slice(start, start + BLOCK)
        apart = values[rows[pairs]] - others[columns[pairs]]
        np.einsum("ij,ij->i", apart, apart, out=result[pairs])
    return result


def block_diagonal(graphs: Sequence[Graph]) -> Graph:
    """Combine the graphs of several sections into one, without edges between sections."""
    if len(graphs) == 1:
        return graphs[0]
    if not any(isinstance(graph, Pooled) for graph in graphs):
        return sp.csr_matrix(sp.block_diag(graphs, format="csr"))
    pooled = [graph if isinstance(graph, Pooled) else Pooled(graph, sp.identity(graph.shape[0])) for graph in graphs]
    return Pooled(*(sp.csr_matrix(sp.block_diag(parts, format="csr")) for parts in zip(*pooled, strict=True)))


def within(graph: Graph, rows: NDArray[np.bool_]) -> Graph:
    """Return the subgraph of some sections. ``rows``: (n,) mask of their spots."""
    if not isinstance(graph, Pooled):
        return sp.csr_matrix(graph[rows][:, rows])
    cells = sp.csr_matrix(graph.cells[:, rows])
    kept = np.diff(cells.indptr) > 0
    return Pooled(sp.csr_matrix(graph.near[rows][:, kept]), cells[kept])


def rows_of(graph: Graph, rows: NDArray[np.int64]) -> Graph:
    """Return the rows of some spots, (m, n)."""
    return Pooled(sp.csr_matrix(graph.near[rows]), graph.cells) if isinstance(graph, Pooled) else graph[rows]


def joined(graph: Graph, spots: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask, (n,), of the given spots and all spots that share an edge with them."""
    if isinstance(graph, Pooled):
        backwards = graph.cells.T @ (graph.near.T @ spots)
    else:
        backwards = graph.T @ spots
    return np.asarray((graph @ spots + backwards > 0) | spots)


def entries(graph: Graph) -> float:
    """Return the mean number of non-zero weights per spot."""
    if isinstance(graph, Pooled):
        return float((graph.near.count_nonzero() + graph.cells.nnz) / graph.near.shape[0])
    return float(graph.count_nonzero() / graph.shape[0])


def noise_left(graph: Graph) -> float:
    """Return the fraction of the variance of independent noise that smoothing retains: the mean over spots of Σw²."""
    if isinstance(graph, Pooled):
        of_cell = np.asarray(graph.cells.multiply(graph.cells).sum(axis=1)).ravel()
        return float((graph.near.multiply(graph.near) @ of_cell).mean())
    return float(graph.multiply(graph).sum() / graph.shape[0])


def smooth(graph: Graph, values: FloatArray | sp.csr_matrix, times: int) -> FloatArray:
    """Apply ``graph`` to ``values`` (n, k) ``times`` times; return a dense array in the precision of ``values``."""
    result = values.toarray() if isinstance(values, sp.csr_matrix) else values
    operator: Any
    if isinstance(graph, Pooled):
        operator = Pooled(*(part.astype(result.dtype) for part in graph))
    else:
        operator = graph.astype(result.dtype)
    for _ in range(times):
        result = operator @ result
    return np.asarray(result)
