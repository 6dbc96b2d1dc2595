"""Correct components for the section without fusing what only one section has. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.floating[Any]]

NEIGHBOURS = 5
"""Nearest spots of the other section within which a pair must lie both ways."""

SPOTS = 5_000
"""Spots of a section that pairs are looked for among at most."""

ROUNDS = 20


def align_sections(
    scores: FloatArray, smoothed: FloatArray, section: NDArray[np.integer[Any]], seed: int
) -> FloatArray:
    """Return ``scores`` with each section moved as a whole, by what mutual nearest neighbours differ by.

    A batch effect is taken for a shift that all spots of a section share. It is estimated from pairs of spots of two
    sections that are among each other's nearest (Haghverdi et al., Nature Biotechnology 2018), as the shift that most
    pairs agree on: pairs of unlike tissue differ each in its own way. Centring, and methods that assume equal
    composition, would move tissue that only one section has onto another. Sections join the largest one by one, those
    first that have most pairs with what has joined.

    Parameters
    ----------
    scores
        (N, k).
    smoothed
        (N, k), the same smoothed in space: pairs are found on it, where spots vary less.
    section
        (N,), ascending from 0.
    """
    moved, result = smoothed.astype(np.float64), scores.copy()
    sizes = np.bincount(section)
    joined = section == int(sizes.argmax())
    waiting = [s for s in range(len(sizes)) if s != int(sizes.argmax())]
    while waiting:
        shifts = {s: _shift(moved[section == s], moved[joined], seed) for s in waiting}
        nearest = max(waiting, key=lambda s: shifts[s][1])
        own = section == nearest
        moved[own] += shifts[nearest][0]
        result[own] += shifts[nearest][0].astype(result.dtype)
        joined |= own
        waiting.remove(nearest)
    return result


def shift_between(points: FloatArray, reference: FloatArray, seed: int) -> FloatArray:
    """Return what moves ``points``, (n, k), as a whole onto ``reference``, (m, k), both smoothed in space: (k,)."""
    return _shift(points, reference, seed)[0]


def _shift(points: FloatArray, reference: FloatArray, seed: int) -> tuple[FloatArray, float]:
    """Return the shift of ``points`` onto ``reference``, (k,), and the share of points that have a pair."""
    random = np.random.default_rng(seed)
    one, other = (
        values if len(values) <= SPOTS else values[random.choice(len(values), SPOTS, replace=False)]
        for values in (points, reference)
    )
    shift = np.zeros(points.shape[1])
    share = 0.0
    for _ in range(ROUNDS):
        differences = _pairs(one + shift, other)
        share = len(differences) / len(one)
        if not len(differences):
            break
        step = _mode(differences)
        shift = shift + step
        if np.linalg.norm(step) < 1e-3 * np.linalg.norm(other.std(axis=0)):
            break
    return shift, share


def _pairs(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the differences, (p, k), of mutual nearest neighbours: other − one."""
    ks = [min(NEIGHBOURS, len(values)) for values in (one, other)]
    forward = cKDTree(other).query(one, k=np.arange(1, ks[1] + 1))[1]
    backward = cKDTree(one).query(other, k=np.arange(1, ks[0] + 1))[1]
    i = np.repeat(np.arange(len(one)), forward.shape[1])
    j = forward.ravel()
    mutual = (backward[j] == i[:, None]).any(axis=1)
    return np.asarray(other[j[mutual]] - one[i[mutual]])


def _mode(differences: FloatArray) -> FloatArray:
    """Return the commonest difference, (k,): the mean of the half of them closest together, found by reweighting."""
    centre = np.median(differences, axis=0)
    for _ in range(ROUNDS):
        apart = np.linalg.norm(differences - centre, axis=1)
        half = apart <= np.median(apart)
        moved = differences[half].mean(axis=0)
        if np.allclose(moved, centre, atol=1e-9):
            break
        centre = moved
    return np.asarray(centre)
