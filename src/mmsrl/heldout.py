"""What one set of values says of another in tissue that it was not fitted to. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsrl.geometry import VISIUM_PITCH_UM

FloatArray = NDArray[np.floating[Any]]

BLOCK_SIDE = 6.0
"""Side of the squares that are held out whole: neighbours of a spot look and read alike. See :func:`in_block_unit`."""

FOLDS = 10
MIN_BLOCKS = 4
FIT_SPOTS = 20_000
"""Spots that one regression is fitted to; more than enough for the few columns of an image."""

RIDGES = np.logspace(0.0, 5.0, 11)


def in_block_unit(places: NDArray[np.float64], pitch_um: float) -> NDArray[np.float64]:
    """Return places given in spot pitches in the unit of :data:`BLOCK_SIDE`: the pitch, but at least that of Visium.

    Tiles of the image are 100 µm wide or more (:func:`mmsrl.features.tiles.base_um`): six bins of 8 µm, seen and held
    out, would show the same piece of it.
    """
    return places * (pitch_um / VISIUM_PITCH_UM if pitch_um < VISIUM_PITCH_UM else 1.0)


def spatial_blocks(coordinates: Sequence[FloatArray], side: float = BLOCK_SIDE) -> NDArray[np.int64]:
    """Number the squares of ``side`` that spots of each section, (n, 2), lie in: (N,), from 0."""
    cells = [
        np.column_stack([np.full(len(places), s), *np.floor((places - places.min(axis=0)) / side).T])
        for s, places in enumerate(coordinates)
    ]
    return np.unique(np.concatenate(cells), axis=0, return_inverse=True)[1].ravel()


def predict_held_out(
    scores: FloatArray, image: FloatArray, blocks: NDArray[np.integer[Any]], seed: int
) -> tuple[FloatArray, NDArray[np.int64]]:
    """Predict ``scores`` (n, k) from ``image`` (n, D) by ridge regressions that never saw the spot's block.

    Returns
    -------
    (n, k), and the fold of each spot, (n,).
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.model_selection import GroupKFold

    rng = np.random.default_rng(seed)
    predicted, fold = np.empty_like(scores), np.empty(len(scores), np.int64)
    folds = GroupKFold(min(FOLDS, int(blocks.max()) + 1))
    for f, (seen, unseen) in enumerate(folds.split(scores, groups=blocks)):
        if len(seen) > FIT_SPOTS:
            seen = rng.choice(seen, FIT_SPOTS, replace=False)
        ridge = RidgeCV(RIDGES, alpha_per_target=True).fit(image[seen], scores[seen])
        predicted[unseen], fold[unseen] = ridge.predict(image[unseen]).reshape(len(unseen), -1), f
    return predicted, fold


def explained(
    scores: FloatArray, image: FloatArray, coordinates: FloatArray, seed: int = 0
) -> tuple[FloatArray, float] | None:
    """Return how much of ``scores`` (n, k) the columns of ``image`` (n, D) predict in blocks of tissue held out.

    Parameters
    ----------
    coordinates
        (n, 2), from :func:`in_block_unit`.

    Returns
    -------
    R² of each column, (k,), below 0 where the mean predicts better; and that of all together. ``None`` where there are
    fewer than four blocks of tissue.
    """
    blocks = spatial_blocks([coordinates])
    if blocks.max() + 1 < MIN_BLOCKS:
        return None
    predicted, _ = predict_held_out(scores, image, blocks, seed)
    error = ((scores - predicted) ** 2).sum(axis=0)
    spread = ((scores - scores.mean(axis=0)) ** 2).sum(axis=0)
    return 1.0 - error / np.maximum(spread, 1e-30), float(1.0 - error.sum() / max(spread.sum(), 1e-30))
