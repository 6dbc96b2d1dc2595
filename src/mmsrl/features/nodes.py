"""Descriptors at the nodes of grids, and at the spots that lie between them.

Where spots lie closer than the nodes, as bins of some micrometres do, the descriptors of all spots are hundreds of
times as large as those of the nodes that they are interpolated from: they are made for some spots at a time.
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
"""Spots whose descriptors are made at a time."""

HALF_LEAST, HALF_MOST = 6e-5, 6e4
"""Range of the largest value of each column in which half precision keeps values to a thousandth of that."""


class Nodes(NamedTuple):
    """One descriptor of tiles of one size."""

    values: npt.NDArray[np.float32]
    """(m, d), at the nodes; NaN where nothing is known, as off the tissue."""
    weights: sp.csr_matrix | None
    """(n, m), rows sum to 1: spots by nodes; ``None`` where every spot is a node."""

    def at(self, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the descriptor of some spots."""
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
    """All descriptors of n spots, side by side in d columns."""

    nodes: Sequence[Nodes]
    off: npt.NDArray[np.bool_]
    """(n,), spots off the image: they have the mean of all others."""
    mean: npt.NDArray[np.float32]
    """(d,), of the spots on the image."""

    @classmethod
    def of(cls, nodes: Sequence[Nodes], off: npt.NDArray[np.bool_]) -> Descriptors:
        """Return the descriptors of spots, some of which are off the image, (n,)."""
        found = cls(nodes, np.zeros_like(off), np.zeros(0, np.float32))
        total = sum(part[~off[rows]].sum(axis=0, dtype=np.float64) for rows, part in found.parts())
        return cls(nodes, off, np.asarray(total / (~off).sum(), dtype=np.float32))

    @property
    def interpolated(self) -> bool:
        """Whether any spot lies between nodes."""
        return any(nodes.weights is not None for nodes in self.nodes)

    def at(self, rows: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the descriptors of some spots, (rows, d)."""
        found = np.concatenate([nodes.at(rows) for nodes in self.nodes], axis=1)
        if self.off[rows].any():
            found[self.off[rows]] = self.mean
        return found

    def parts(self, spots: npt.NDArray[np.int64] | None = None) -> Iterator[tuple[slice, npt.NDArray[np.float32]]]:
        """Yield the descriptors of the spots, all if not given, so many at a time, and which of them these are."""
        spots = np.arange(len(self.off)) if spots is None else spots
        for start in range(0, len(spots), SPOTS_AT_A_TIME):
            rows = slice(start, min(start + SPOTS_AT_A_TIME, len(spots)))
            yield rows, self.at(spots[rows])

    def smoothed(self, graph: sp.csr_matrix) -> Descriptors:
        """Return the descriptors averaged by a graph, (n, n), over those neighbours that are on the image."""
        graph = sp.csr_matrix(graph @ sp.diags((~self.off).astype(np.float64)))
        total = np.asarray(graph.sum(axis=1)).ravel()
        inplace_row_scale(graph, np.divide(1.0, total, out=np.zeros_like(total), where=total > 0))
        nodes = [
            Nodes(np.asarray(graph @ own.values, np.float32), None)
            if own.weights is None
            else own._replace(weights=sp.csr_matrix(graph @ own.weights))
            for own in self.nodes
        ]
        return Descriptors.of(nodes, self.off)

    def as_uns(self) -> dict[str, Any]:
        """Return what :func:`spot_descriptors` reads."""
        blocks = {
            str(i): {"values": _half(own.values)}
            | ({} if own.weights is None else {"weights": own.weights.astype(np.float32)})
            for i, own in enumerate(self.nodes)
        }
        return {"blocks": blocks, "off": self.off, "mean": self.mean}


def _half(values: npt.NDArray[np.float32]) -> npt.NDArray[np.floating[Any]]:
    """Return the values in half precision where it keeps all columns."""
    largest = np.nanmax(np.abs(values), axis=0, initial=0.0)
    kept = largest[largest > 0]
    return values.astype(np.float16) if ((kept > HALF_LEAST) & (kept < HALF_MOST)).all() else values


def spot_descriptors(features: AnnData, rows: npt.NDArray[np.int64] | None = None) -> npt.NDArray[np.float32]:
    """Return the descriptors of spots, wherever they are kept.

    Parameters
    ----------
    features
        What :func:`mmsrl.pp.image_features` returns, or ``<sample>.features.h5ad``. Where spots lie between the nodes
        of a grid, ``X`` is empty and ``uns['image_nodes']`` holds the nodes.
    rows
        Of the spots wanted; all of them if not given.

    Returns
    -------
    (n, d) float32.
    """
    kept: Mapping[str, Any] | None = features.uns.get(_keys.IMAGE_NODES)
    if kept is None:
        found = np.asarray(features.X[:], dtype=np.float32)
        return found if rows is None else found[rows]
    blocks = [kept["blocks"][str(i)] for i in range(len(kept["blocks"]))]
    nodes = [Nodes(np.asarray(block["values"], np.float32), block.get("weights")) for block in blocks]
    described = Descriptors(nodes, np.asarray(kept["off"]), np.asarray(kept["mean"]))
    found = np.empty((features.n_obs if rows is None else len(rows), len(described.mean)), dtype=np.float32)
    for part, values in described.parts(rows):
        found[part] = values
    return found
