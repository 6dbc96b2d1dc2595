"""Landmarks: the spots of a large unit that neighbours, layout and diffusion map are made of. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

LANDMARKS = 30_000
"""Spots that these are made of at most; of more, so many are drawn."""

NEAREST = 5
"""Landmarks that another spot is placed between."""


def drawn(candidates: NDArray[np.bool_], most: int, seed: int) -> NDArray[np.int64]:
    """Draw at most so many of n spots, ascending; among them some of the ``candidates``, (n,), where there are any."""
    n = len(candidates)
    if n <= most:
        return np.arange(n)
    random = np.random.default_rng(seed)
    asked = np.flatnonzero(candidates)
    # A root asked among few spots, or a single one, must be there.
    some = asked if len(asked) < most // 10 else random.choice(asked, most // 10, replace=False)
    others = np.setdiff1d(np.arange(n), some)
    return np.sort(np.concatenate([some, random.choice(others, most - len(some), replace=False)]))


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


def interpolated(weights: sp.csr_matrix, inside: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.float64]:
    """Return values of the spots whose nearest landmark has some, from those of these landmarks.

    Parameters
    ----------
    weights
        (n, m), as :func:`between` returns them.
    inside
        (m,), landmarks that have values.
    values
        (inside.sum(), k).
    """
    rows = weights[of_nearest(weights, inside)][:, inside]
    return np.asarray((rows @ values) / np.asarray(rows.sum(axis=1)), dtype=np.float64)
