"""Batch correction that keeps tissue of a single section separate. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

FloatArray = NDArray[np.floating[Any]]

NEIGHBOURS = 5
"""Number of nearest neighbours in which both spots of a mutual pair must be."""

SPOTS = 5_000
"""Maximum number of spots per section in the search for pairs."""

ROUNDS = 20
"""Maximum number of iterations."""


def align_sections(
    scores: FloatArray, smoothed: FloatArray, section: NDArray[np.integer[Any]], seed: int
) -> FloatArray:
    """Shift each section as a whole, by the difference of mutual nearest neighbours.

    A batch effect is modelled as a shift that all spots of a section share. It is estimated from mutual nearest
    neighbours between sections (Haghverdi et al., Nature Biotechnology 2018), as the most common difference. Pairs of
    unlike tissue have different differences, so they do not affect it. Centring, and methods that assume equal
    composition, would merge tissue of a single section with other tissue.

    Alignment starts with the largest section. The section with the most pairs joins next.

    Parameters
    ----------
    scores
        (N, k), components to shift.
    smoothed
        (N, k), the same components smoothed in space, in which pairs are found.
    section
        (N,), index of the section, ascending from 0.
    seed
        Random seed of the subset of spots.

    Returns
    -------
    (N, k), the shifted components.
    """
    moved, result = smoothed.astype(np.float64), scores.copy()
    sizes = np.bincount(section)
    joined = section == int(sizes.argmax())
    waiting = [s for s in range(len(sizes)) if s != int(sizes.argmax())]
    while waiting:
        shifts = {s: _shift(moved[section == s], moved[joined], seed) for s in waiting}
        nearest = max(waiting, key=lambda s: shifts[s][1])
        joining = section == nearest
        moved[joining] += shifts[nearest][0]
        result[joining] += shifts[nearest][0].astype(result.dtype)
        joined |= joining
        waiting.remove(nearest)
    return result


def shift_between(points: FloatArray, reference: FloatArray, seed: int) -> FloatArray:
    """Return the shift, (k,), that aligns ``points``, (n, k), with ``reference``, (m, k), both smoothed in space."""
    return _shift(points, reference, seed)[0]


def _shift(points: FloatArray, reference: FloatArray, seed: int) -> tuple[FloatArray, float]:
    """Return the shift of ``points`` to ``reference``, (k,), and the number of pairs per point."""
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
    """Return the differences ``other`` − ``one`` of mutual nearest neighbours, (p, k)."""
    ks = [min(NEIGHBOURS, len(values)) for values in (one, other)]
    forward = cKDTree(other).query(one, k=np.arange(1, ks[1] + 1))[1]
    backward = cKDTree(one).query(other, k=np.arange(1, ks[0] + 1))[1]
    i = np.repeat(np.arange(len(one)), forward.shape[1])
    j = forward.ravel()
    mutual = (backward[j] == i[:, None]).any(axis=1)
    return np.asarray(other[j[mutual]] - one[i[mutual]])


def _mode(differences: FloatArray) -> FloatArray:
    """Return the most common difference, (k,): the mean of the half that is closest to it, by iteration."""
    centre = np.median(differences, axis=0)
    for _ in range(ROUNDS):
        apart = np.linalg.norm(differences - centre, axis=1)
        half = apart <= np.median(apart)
        moved = differences[half].mean(axis=0)
        if np.allclose(moved, centre, atol=1e-9):
            break
        centre = moved
    return np.asarray(centre)
