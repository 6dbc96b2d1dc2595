"""Landmarks: the spots of a large unit that neighbours, layout and diffusion map are made of. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.utils.sparsefuncs import inplace_row_scale

LANDMARKS = 30_000
"""Spots that these are made of at most; of more, so many are drawn."""

FEWEST = 100
"""Of few spots that a root was asked among, so many are landmarks."""

NEAREST = 5
"""Landmarks that another spot is placed between."""


def drawn(candidates: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.int64]:
    """Draw at most so many of n spots, ascending: as large a share of the ``candidates``, (n,), as of all others.

    Of few candidates, among which a root was asked, :data:`FEWEST` are drawn, or all there are.
    """
    n = len(candidates)
    if n <= most:
        return np.arange(n)
    random = np.random.default_rng(seed)
    asked, others = np.flatnonzero(candidates), np.flatnonzero(~candidates)
    share = round(most * len(asked) / n)
    some = random.choice(asked, min(len(asked), max(FEWEST, share), most), replace=False)
    return np.sort(np.concatenate([some, random.choice(others, min(most - len(some), len(others)), replace=False)]))


def between(embedding: NDArray[Any], landmarks: NDArray[np.int64]) -> sp.csr_matrix:
    """Place every spot between the landmarks that are nearest to it in the embedding.

    Parameters
    ----------
    embedding
        (n, d).
    landmarks
        (m,), which of the n spots are landmarks.

    Returns
    -------
    (n, m), rows sum to 1; a landmark is at its own place. Others weigh their :data:`NEAREST` by a Gaussian as wide as
    the distance of the furthest of these.
    """
    n, m = len(embedding), len(landmarks)
    others = np.setdiff1d(np.arange(n), landmarks)
    own = sp.csr_matrix((np.ones(m), (landmarks, np.arange(m))), shape=(n, m))
    if not len(others):
        return own
    found = NearestNeighbors(n_neighbors=min(NEAREST, m)).fit(embedding[landmarks])
    distance, mark = found.kneighbors(embedding[others])
    weights = np.exp(-0.5 * (distance / np.maximum(distance[:, -1:], 1e-12)) ** 2)
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.repeat(others, mark.shape[1])
    return own + sp.csr_matrix((weights.ravel(), (rows, mark.ravel())), shape=(n, m))


def of_nearest(weights: sp.csr_matrix, values: NDArray[Any]) -> NDArray[Any]:
    """Return for each spot what its nearest landmark has of ``values``, (m,): (n,)."""
    return np.asarray(values[np.asarray(weights.argmax(axis=1)).ravel()])


def within_components(weights: sp.csr_matrix, component: NDArray[np.int64]) -> sp.csr_matrix:
    """Return the weights, (n, m), of those landmarks alone that are joined with the spot's nearest; rows sum to 1.

    Parameters
    ----------
    weights
        As :func:`between` returns them.
    component
        (m,), the part of the graph that each landmark is in.
    """
    kept = sp.coo_matrix(weights)
    joined = component[kept.col] == of_nearest(weights, component)[kept.row]
    rows = sp.csr_matrix((kept.data[joined], (kept.row[joined], kept.col[joined])), shape=weights.shape)
    inplace_row_scale(rows, 1.0 / np.asarray(rows.sum(axis=1)).ravel())
    return rows
