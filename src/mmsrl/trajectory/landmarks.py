"""Landmarks: subsampled spots of large units for the graph, the layout and the diffusion map. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.sparsefuncs import inplace_row_scale

LANDMARKS = 30_000
"""Maximum number of landmarks."""

FEWEST = 100
"""Minimum number of landmarks among the root candidates, if there are as many."""

NEAREST = 5
"""Number of landmarks to interpolate each other spot between."""


def drawn(candidates: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.int64]:
    """Draw at most ``most`` of n spots, ascending: the same fraction of ``candidates``, (n,), as of all other spots.

    At least :data:`FEWEST` candidates are drawn, or all of them.
    """
    n = len(candidates)
    if n <= most:
        return np.arange(n)
    random = np.random.default_rng(seed)
    asked, others = np.flatnonzero(candidates), np.flatnonzero(~candidates)
    share = round(most * len(asked) / n)
    kept = random.choice(asked, min(len(asked), max(FEWEST, share), most), replace=False)
    return np.sort(np.concatenate([kept, random.choice(others, min(most - len(kept), len(others)), replace=False)]))


def between(embedding: NDArray[Any], landmarks: NDArray[np.int64]) -> sp.csr_matrix:
    """Interpolate every spot between its nearest landmarks in the embedding.

    Parameters
    ----------
    embedding
        Embedding, (n, d).
    landmarks
        Indices of the landmarks, (m,).

    Returns
    -------
    (n, m) weights, rows sum to 1. Landmarks have weight 1 on themselves. Other spots have Gaussian weights on their
    :data:`NEAREST` landmarks, with the distance of the furthest one as bandwidth.
    """
    n, m = len(embedding), len(landmarks)
    others = np.setdiff1d(np.arange(n), landmarks)
    landmark_weights = sp.csr_matrix((np.ones(m), (landmarks, np.arange(m))), shape=(n, m))
    if not len(others):
        return landmark_weights
    nearest = NearestNeighbors(n_neighbors=min(NEAREST, m)).fit(embedding[landmarks])
    distance, mark = nearest.kneighbors(embedding[others])
    weights = np.exp(-0.5 * (distance / np.maximum(distance[:, -1:], 1e-12)) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(others, mark.shape[1])
    return landmark_weights + sp.csr_matrix((weights.ravel(), (rows, mark.ravel())), shape=(n, m))


def of_nearest(weights: sp.csr_matrix, values: NDArray[Any]) -> NDArray[Any]:
    """Return the value of the nearest landmark of each spot, (n,), from ``values``, (m,)."""
    return np.asarray(values[np.asarray(weights.argmax(axis=1)).ravel()])


def within_components(weights: sp.csr_matrix, component: NDArray[np.int64]) -> sp.csr_matrix:
    """Restrict interpolation weights, (n, m), to landmarks in the component of the nearest landmark; rows sum to 1.

    Parameters
    ----------
    weights
        Weights from :func:`between`.
    component
        Connected component of each landmark, (m,).
    """
    entries = sp.coo_matrix(weights)
    joined = component[entries.col] == of_nearest(weights, component)[entries.row]
    rows = sp.csr_matrix((entries.data[joined], (entries.row[joined], entries.col[joined])), shape=weights.shape)
    inplace_row_scale(rows, 1.0 / np.asarray(rows.sum(axis=1)).ravel())
    return rows
