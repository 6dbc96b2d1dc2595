"""The spatial graph: a row-normalised Gaussian kernel, sparse from the start. Arrays only."""

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

PLAIN_CUT = 1e-3
"""Weights of a plain Gaussian below this are left out: 3.7 widths."""

SPOTS_AT_A_TIME = 20_000
"""Spots whose neighbours are looked for at a time."""

MOST_ENTRIES = 20_000_000
"""Entries of a section's graph above which its neighbours are pooled: 240 MB."""


CELL = 0.5
"""Side of the cells that neighbours are pooled in, in widths: with 1, borders blur."""


class Pooled(NamedTuple):
    """A graph of many spots and a wide kernel: neighbours are square cells of spots, half as wide as the kernel.

    It is (n, n) = ``near`` @ ``cells``, which is never made: entries are some 200 a spot at most, whatever the width.
    """

    near: sp.csr_matrix
    """(n, m) weights of the cells around each spot; rows sum to 1."""
    cells: sp.csr_matrix
    """(m, n) mean over the spots of each cell."""

    def __matmul__(self, values: Any) -> Any:
        return self.near @ (self.cells @ values)


Graph: TypeAlias = "sp.csr_matrix | Pooled"
"""(n, n), rows sum to 1."""


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
    kernel = _normalise((upper + upper.T + self_weight * sp.identity(n)).tocsr())
    kernel.sort_indices()
    return kernel


def _normalise(weights: sp.csr_matrix) -> sp.csr_matrix:
    """Divide every row by its sum, in place, and return the weights."""
    inplace_row_scale(weights, (1.0 / np.asarray(weights.sum(axis=1)).ravel()).astype(weights.dtype))
    return weights


def plain_graph(coordinates: ArrayLike, width: float) -> sp.csr_matrix:
    """Return a Gaussian by distance alone, cut at a thousandth.

    That is at 3.7 widths: no shell of neighbours of a square or hexagonal lattice lies there at the usual widths, so
    rounding of coordinates cannot take a neighbour in or out.
    """
    return gaussian_graph(coordinates, width, self_weight=1.0, cut=PLAIN_CUT)


def pooled_graph(coordinates: Sequence[FloatArray], width: float) -> Graph:
    """Return :func:`plain_graph` of all sections, pooled where it would have too many entries.

    Parameters
    ----------
    coordinates
        Of each section, (n_s, 2), in the unit of ``width``.
    width
        The kernel's standard deviation, > 0.
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
    """Return the mean over each cell, (m, n) float32; ``None`` where neighbours are few enough for spots themselves."""
    n = len(places)
    tree = cKDTree(places)
    looked_at = places[:: max(n // 200, 1)]
    if n * float(np.mean(tree.query_ball_point(looked_at, radius, return_length=True))) <= MOST_ENTRIES:
        return None
    square = np.floor((places - places.min(axis=0)) / (CELL * width)).astype(np.int64)
    _, cell, size = np.unique(square, axis=0, return_inverse=True, return_counts=True)
    cell = cell.ravel()
    return sp.csr_matrix(((1.0 / size[cell]).astype(np.float32), (cell, np.arange(n))), shape=(len(size), n))


def _kernel(places: FloatArray, cells: sp.csr_matrix | None, width: float, cut: float) -> sp.csr_matrix:
    """Return the Gaussian of every spot and spot, or cell, around it: (n, m) float32 CSR, 1 at no distance."""
    sources = places if cells is None else cells @ places
    tree, radius = cKDTree(sources), _radius(width, cut)
    parts = []
    for start in range(0, len(places), SPOTS_AT_A_TIME):
        some = places[start : start + SPOTS_AT_A_TIME]
        found = cKDTree(some).sparse_distance_matrix(tree, radius, output_type="ndarray")
        values = np.exp(found["v"] ** 2 / (-2.0 * width**2)).astype(np.float32)
        pairs = sp.coo_matrix((values, (found["i"], found["j"])), shape=(len(some), len(sources)))
        pairs.has_canonical_format = True  # each pair is there once; nothing needs them sorted within a row
        parts.append(pairs.tocsr())
    return sp.csr_matrix(sp.vstack(parts, format="csr"))


def edge_preserving_graph(
    coordinates: Sequence[FloatArray], values: FloatArray, width: float, plain: Graph | None = None
) -> Graph:
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
    plain
        That Gaussian, :func:`pooled_graph`, where it is made already.

    Returns
    -------
    (n, n) float32 CSR, rows sum to 1; pooled where it would have too many entries.
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
    """Return the weights ``near`` in space, (n, m), times those in range, guided by smoothed values, (n, k)."""
    others = smoothed if cells is None else cells @ smoothed
    own = np.arange(near.shape[0]) if cells is None else sp.csr_matrix(cells.T).indices
    apart = np.empty(near.nnz, dtype=smoothed.dtype)
    typical = []
    for rows, entries in _rows(near):
        columns = near.indices[entries]
        apart[entries] = _squared_differences(rows, columns, smoothed, others)
        usual = (columns != own[rows]) & (near.data[entries] >= np.float32(np.exp(-(SCALE_REACH**2) / 2.0)))
        typical.append(apart[entries][usual])
    known = np.concatenate(typical)
    scale = (float(np.median(known)) if known.size else 0.0) or float(apart.mean()) or 1.0
    size = None if cells is None else np.diff(cells.indptr).astype(np.float32)
    for rows, entries in _rows(near):
        # A spot is like itself, but of pooled neighbours none may be: the nearest in value weighs most all the same.
        starts = near.indptr[rows[0] : rows[-1] + 1] - near.indptr[rows[0]]
        apart[entries] -= np.minimum.reduceat(apart[entries], starts)[rows - rows[0]]
        apart[entries] = np.exp(apart[entries] / (-2.0 * scale)) * near.data[entries]
        if size is not None:
            apart[entries] *= size[near.indices[entries]]
    return sp.csr_matrix((apart, near.indices, near.indptr), near.shape)


def _rows(near: sp.csr_matrix) -> Iterator[tuple[NDArray[np.int64], slice]]:
    """Yield the row of each entry and which entries these are, :data:`SPOTS_AT_A_TIME` rows at a time."""
    for start in range(0, near.shape[0], SPOTS_AT_A_TIME):
        ends = near.indptr[start : start + SPOTS_AT_A_TIME + 1]
        yield np.repeat(np.arange(start, start + len(ends) - 1), np.diff(ends)), slice(ends[0], ends[-1])


def _squared_differences(
    rows: NDArray[Any], columns: NDArray[Any], values: FloatArray, others: FloatArray
) -> FloatArray:
    """Return the squared distance of the values, (n, k), of each pair's spot to those, (m, k), of its other end."""
    result = np.empty(len(rows), dtype=values.dtype)
    for start in range(0, len(rows), BLOCK):
        pairs = slice(start, start + BLOCK)
        apart = values[rows[pairs]] - others[columns[pairs]]
        np.einsum("ij,ij->i", apart, apart, out=result[pairs])
    return result


def block_diagonal(graphs: Sequence[Graph]) -> Graph:
    """Return the graph of several sections: no spot of one is a neighbour of a spot of another."""
    if len(graphs) == 1:
        return graphs[0]
    if not any(isinstance(graph, Pooled) for graph in graphs):
        return sp.csr_matrix(sp.block_diag(graphs, format="csr"))
    pooled = [graph if isinstance(graph, Pooled) else Pooled(graph, sp.identity(graph.shape[0])) for graph in graphs]
    return Pooled(*(sp.csr_matrix(sp.block_diag(parts, format="csr")) for parts in zip(*pooled, strict=True)))


def within(graph: Graph, rows: NDArray[np.bool_]) -> Graph:
    """Return the part of a graph of several sections that is of some of them; ``rows``: (n,) their spots."""
    if not isinstance(graph, Pooled):
        return sp.csr_matrix(graph[rows][:, rows])
    cells = sp.csr_matrix(graph.cells[:, rows])
    kept = np.diff(cells.indptr) > 0
    return Pooled(sp.csr_matrix(graph.near[rows][:, kept]), cells[kept])


def rows_of(graph: Graph, rows: NDArray[np.int64]) -> Graph:
    """Return the rows of some spots, (m, n)."""
    return Pooled(sp.csr_matrix(graph.near[rows]), graph.cells) if isinstance(graph, Pooled) else graph[rows]


def joined(graph: Graph, spots: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Tell which spots, (n,), are some of those given or joined with any of them."""
    if isinstance(graph, Pooled):
        backwards = graph.cells.T @ (graph.near.T @ spots)
    else:
        backwards = graph.T @ spots
    return np.asarray((graph @ spots + backwards > 0) | spots)


def entries(graph: Graph) -> float:
    """Return the weights a spot that are not 0."""
    if isinstance(graph, Pooled):
        return float((graph.near.count_nonzero() + graph.cells.nnz) / graph.near.shape[0])
    return float(graph.count_nonzero() / graph.shape[0])


def noise_left(graph: Graph) -> float:
    """Return what smoothing leaves of the variance of independent noise: the mean over spots of the sum of w²."""
    if isinstance(graph, Pooled):
        of_cell = np.asarray(graph.cells.multiply(graph.cells).sum(axis=1)).ravel()
        return float((graph.near.multiply(graph.near) @ of_cell).mean())
    return float(graph.multiply(graph).sum() / graph.shape[0])


def smooth(graph: Graph, values: FloatArray | sp.csr_matrix, times: int) -> FloatArray:
    """Return ``graph`` applied ``times`` times to ``values`` (n, k), dense, in the precision of ``values``."""
    result = values.toarray() if isinstance(values, sp.csr_matrix) else values
    operator: Any
    if isinstance(graph, Pooled):
        operator = Pooled(*(part.astype(result.dtype) for part in graph))
    else:
        operator = graph.astype(result.dtype)
    for _ in range(times):
        result = operator @ result
    return np.asarray(result)
