"""Components of spots that were not decomposed, by the projection of those that were. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl.residuals import Projection, depth_artefact

FloatArray = NDArray[np.floating[Any]]

SPOTS_AT_A_TIME = 2_000
"""Spots whose values are dense at a time."""


def restrict(projection: Projection, genes: NDArray[np.integer[Any]]) -> Projection:
    """Return a projection from some genes, (m',) positions, alone.

    Scores are then the least-squares solution: those that explain the values of these genes best.
    """
    if np.array_equal(genes, np.arange(len(projection.share))):
        return projection
    axes = projection.axes[genes]
    return projection._replace(
        share=projection.share[genes],
        ceiling=projection.ceiling[genes],
        inverse=projection.inverse[genes],
        centre=projection.centre[genes],
        axes=np.linalg.pinv(axes).T,
    )


def project(projection: Projection, counts: sp.csr_matrix, library: FloatArray) -> FloatArray:
    """Return the scores of spots, (n, k) float32, on the axes of a decomposition.

    They are standardised by its constants, not by their own. Of the spots that were decomposed they are the scores.

    Parameters
    ----------
    projection
        From :func:`mmsrl.residuals.log_components` or :func:`~mmsrl.residuals.residual_components`.
    counts
        (n, m), raw, of its genes.
    library
        (n,): total counts of the genes that the decomposition's totals were of. Residuals take that of the m genes.
    """
    axes = projection.axes.astype(np.float32)
    blocks = []
    for start in range(0, counts.shape[0], SPOTS_AT_A_TIME):
        rows = slice(start, start + SPOTS_AT_A_TIME)
        values = _values(projection, counts[rows].toarray(), library[rows])
        values *= projection.inverse
        values -= projection.centre
        blocks.append(values.astype(np.float32) @ axes)
    scores = np.concatenate(blocks)
    if projection.kind == "log":
        scores -= depth_artefact(projection, library).astype(np.float32)
    return scores


def _values(projection: Projection, counts: FloatArray, library: FloatArray) -> FloatArray:
    """Return logarithms or Pearson residuals of dense counts, (n, m) float64, cut."""
    if projection.kind == "log":
        values = np.log1p(counts * (projection.target / np.maximum(library, 1.0))[:, None])
    else:
        total = np.maximum(counts.sum(axis=1, dtype=np.float64), 1.0) / projection.share.sum()
        root = np.sqrt(np.outer(total, projection.share))
        values = counts / np.maximum(root, 1e-12) - root
    return np.asarray(np.minimum(values, projection.ceiling))
