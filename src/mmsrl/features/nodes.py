"""Descriptors at the nodes of grids, interpolated at the spots in between.

If spots are denser than the nodes, such as bins of a few µm, the descriptors of all spots need hundreds of times the
memory of those at the nodes. They are therefore computed for some spots at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.utils.sparsefuncs import inplace_row_scale

from mmsrl import _keys

if TYPE_CHECKING:
    from anndata import AnnData

SPOTS_AT_A_TIME = 20_000
"""Number of spots per block of descriptors."""

HALF_LEAST, HALF_MOST = 6e-5, 6e4
"""Range of the maximum of each column in which half precision has a relative error of at most a thousandth."""


class Nodes(NamedTuple):
    """One descriptor for tiles of one size."""

    values: npt.NDArray[np.float32]
    """(m, d): values at the nodes. NaN if unknown, such as off the tissue."""
    weights: sp.csr_matrix | None
    """(n, m): interpolation weights of spots, rows sum to 1. ``None`` if the spots are the nodes."""

    def at(self, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the descriptor at some spots, (rows, d) float32."""
        if self.weights is None:
            return self.values[rows]
        weights = self.weights[rows]
        known = np.isfinite(self.values)
        if known.all():
            return np.asarray(weights @ self.values, dtype=np.float32)
        share = weights @ known.astype(np.float64)
        result: npt.NDArray[np.float64] = np.full(share.shape, np.nan)
        np.divide(weights @ np.where(known, self.values, 0.0), share, out=result, where=share > 0)
        return result.astype(np.float32)


class Descriptors(NamedTuple):
    """Concatenated descriptors of n spots, with d columns."""

    nodes: Sequence[Nodes]
    off: npt.NDArray[np.bool_]
    """(n,): mask of spots off the image, which have the mean of all others."""
    mean: npt.NDArray[np.float32]
    """(d,): mean over the spots on the image."""

    @classmethod
    def of(cls, nodes: Sequence[Nodes], off: npt.NDArray[np.bool_]) -> Descriptors:
        """Build descriptors with the mask ``off``, (n,), of spots off the image."""
        descriptors = cls(nodes, np.zeros_like(off), np.zeros(0, np.float32))
        total = sum(part[~off[rows]].sum(axis=0, dtype=np.float64) for rows, part in descriptors.parts())
        return cls(nodes, off, np.asarray(total / (~off).sum(), dtype=np.float32))

    @property
    def interpolated(self) -> bool:
        """Whether any descriptor is interpolated between nodes."""
        return any(nodes.weights is not None for nodes in self.nodes)

    def at(self, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the descriptors of some spots, (rows, d) float32."""
        descriptors = np.concatenate([nodes.at(rows) for nodes in self.nodes], axis=1)
        if self.off[rows].any():
            descriptors[self.off[rows]] = self.mean
        return descriptors

    def parts(self, spots: npt.NDArray[np.int64] | None = None) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Yield descriptors of spots in blocks, with the slice of each block. ``None``: all spots."""
        spots = np.arange(len(self.off)) if spots is None else spots
        for start in range(0, len(spots), SPOTS_AT_A_TIME):
            rows = slice(start, min(start + SPOTS_AT_A_TIME, len(spots)))
            yield rows, self.at(spots[rows])

    def smoothed(self, graph: sp.csr_matrix) -> Descriptors:
        """Average descriptors over an adjacency matrix, (n, n), restricted to spots on the image."""
        graph = sp.csr_matrix(graph @ sp.diags((~self.off).astype(np.float64)))
        total = np.asarray(graph.sum(axis=1)).ravel()
        inplace_row_scale(graph, np.divide(1.0, total, out=np.zeros_like(total), where=total > 0))
        nodes = [
            Nodes(np.asarray(graph @ node.values, np.float32), None)
            if node.weights is None
            else node._replace(weights=sp.csr_matrix(graph @ node.weights))
            for node in self.nodes
        ]
        return Descriptors.of(nodes, self.off)

    def as_uns(self) -> dict[str, Any]:
        """Return the content of ``uns`` that :func:`spot_descriptors` reads."""
        blocks = {
            str(i): {"values": _half(node.values)}
            | ({} if node.weights is None else {"weights": node.weights.astype(np.float32)})
            for i, node in enumerate(self.nodes)
        }
        return {"blocks": blocks, "off": self.off, "mean": self.mean}


def _half(values: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
    """Convert values to half precision if all columns allow it."""
    largest = np.nanmax(np.abs(values), axis=0, initial=0.0)
    nonzero = largest[largest > 0]
    return values.astype(np.float16) if ((nonzero > HALF_LEAST) & (nonzero < HALF_MOST)).all() else values


def spot_descriptors(features: AnnData, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float32]:
    """Return image descriptors of spots, stored per spot or at nodes.

    Parameters
    ----------
    features
        Features of :func:`mmsrl.features.api.image_features`, or ``<sample>.features.h5ad``. If spots lie between the
        nodes of a grid, ``X`` is empty and ``uns['image_nodes']`` holds the nodes.
    rows
        Indices of the spots. ``None`` returns all spots.

    Returns
    -------
    (n, d) float32.
    """
    stored: Mapping[str, Any] | None = features.uns.get(_keys.IMAGE_NODES)
    if stored is None:
        descriptors = np.asarray(features.X[:], dtype=np.float32)
        return descriptors if rows is None else descriptors[rows]
    blocks = [stored["blocks"][str(i)] for i in range(len(stored["blocks"]))]
    nodes = [Nodes(np.asarray(block["values"], np.float32), block.get("weights")) for block in blocks]
    described = Descriptors(nodes, np.asarray(stored["off"]), np.asarray(stored["mean"]))
    descriptors = np.empty((features.n_obs if rows is None else len(rows), len(described.mean)), dtype=np.float32)
    for part, values in described.parts(rows):
        descriptors[part] = values
    return descriptors
