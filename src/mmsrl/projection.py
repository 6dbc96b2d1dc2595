"""Principal component scores of new spots by projection. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl.residuals import Projection, depth_artefact

FloatArray = NDArray[np.floating[Any]]

SPOTS_AT_A_TIME = 2_000
"""Number of spots whose values are dense at a time."""


def restrict(projection: Projection, genes: NDArray[np.integer[Any]]) -> Projection:
    """Restrict a projection to some genes, (m',) indices.

    The scores are then the least-squares solution on these genes.
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
    """Project counts of spots onto the principal axes of a decomposition: (n, k) float32.

    Genes are standardised by the constants of the decomposition. For the decomposed spots, the result equals their
    scores.

    Parameters
    ----------
    projection
        From :func:`mmsrl.residuals.log_components` or :func:`~mmsrl.residuals.residual_components`.
    counts
        Raw counts of its genes, (n, m).
    library
        Library size of each spot, (n,), over the same genes as in the decomposition. Residuals use the total of the m
        genes instead.
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
    """Return clipped log-normalised values or Pearson residuals of dense counts, (n, m) float64."""
    if projection.kind == "log":
        values = np.log1p(counts * (projection.target / np.maximum(library, 1.0))[:, None])
    else:
        total = np.maximum(counts.sum(axis=1, dtype=np.float64), 1.0) / projection.share.sum()
        root = np.sqrt(np.outer(total, projection.share))
        values = counts / np.maximum(root, 1e-12) - root
    return np.asarray(np.minimum(values, projection.ceiling))
