"""Cross-validated prediction of one set of values from another, over regions of tissue. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsrl.geometry import VISIUM_PITCH_UM
from mmsrl.graph import Graph, joined

FloatArray = NDArray[np.floating[Any]]

BLOCK_SIDE = 6.0
"""Side of square tissue blocks: neighbouring spots are similar in expression and image. Unit: see
:func:`in_block_unit`."""

HALVINGS = 4
"""Number of bisections of the tissue: 16 regions, each of which is held out as a whole."""

MIN_REGIONS = 4
FIT_SPOTS = 20_000
"""Maximum number of spots to fit a regression to. It suffices for the few columns of an image."""

RIDGES = np.logspace(0.0, 5.0, 11)


def in_block_unit(places: NDArray[np.float64], pitch_um: float) -> NDArray[np.float64]:
    """Convert coordinates from spot spacings to the unit of :data:`BLOCK_SIDE`.

    The unit is the spot spacing, but at least the spacing of Visium.

    Image tiles are at least 100 µm wide (:func:`mmsrl.features.tiles.base_um`). Regions of six 8 µm bins would show the
    same part of the image in training and held-out spots.
    """
    return places * (pitch_um / VISIUM_PITCH_UM if pitch_um < VISIUM_PITCH_UM else 1.0)


def spatial_blocks(coordinates: Sequence[FloatArray], side: float = BLOCK_SIDE) -> NDArray[np.int64]:
    """Number the square blocks of side ``side`` of all sections, coordinates (n, 2) each: (N,) int64, from 0."""
    cells = [
        np.column_stack([np.full(len(places), s), *np.floor((places - places.min(axis=0)) / side).T])
        for s, places in enumerate(coordinates)
    ]
    return np.unique(np.concatenate(cells), axis=0, return_inverse=True)[1].ravel()


def regions(coordinates: Sequence[FloatArray]) -> NDArray[np.int64] | None:
    """Divide tissue into compact regions with equal numbers of spots: (N,) int64, from 0. ``None``: too little tissue.

    Regions are bisected across their longer side, first between sections, until there are 16 regions or as many as
    blocks of :data:`BLOCK_SIDE`. Small held-out blocks would be surrounded by training spots. Any two variables that
    vary smoothly over the tissue would then predict each other.
    """
    halvings = min(HALVINGS, int(np.log2(spatial_blocks(coordinates).max() + 1)))
    if 2**halvings < MIN_REGIONS:
        return None
    offset = 1.0 + 2.0 * max(float(np.ptp(places, axis=0).max()) for places in coordinates)
    places = np.concatenate([spots - spots.min(axis=0) + [s * offset, 0.0] for s, spots in enumerate(coordinates)])
    region = np.zeros(len(places), dtype=np.int64)
    for _ in range(halvings):
        further = np.zeros_like(region)
        for r in range(int(region.max()) + 1):
            spots = np.flatnonzero(region == r)
            along = places[spots, np.ptp(places[spots], axis=0).argmax()]
            further[spots[np.argsort(along, kind="stable")[len(spots) // 2 :]]] = 1
        region = 2 * region + further
    return region


def predict_held_out(
    scores: FloatArray,
    image: FloatArray,
    region: NDArray[np.integer[Any]],
    seed: int,
    adjacency: Graph | None = None,
) -> FloatArray | None:
    """Predict ``scores`` from ``image`` in held-out regions by ridge regression.

    Parameters
    ----------
    scores
        Targets, (n, k).
    image
        Predictors, (n, D).
    region
        Region of each spot, (n,), from :func:`regions`.
    seed
        Random seed of the subsample of spots to fit to.
    adjacency
        Adjacency matrix, (n, n), that values were smoothed by. Spots adjacent to the region are excluded from the fit.

    Returns
    -------
    (n, k). ``None`` if a region leaves no more spots to fit to than columns of the image.
    """
    from sklearn.linear_model import RidgeCV

    rng = np.random.default_rng(seed)
    predicted = np.empty_like(scores)
    for r in range(int(region.max()) + 1):
        unseen = region == r
        near = unseen if adjacency is None else joined(adjacency, unseen)
        seen = np.flatnonzero(~near)
        if len(seen) <= image.shape[1]:
            return None
        if len(seen) > FIT_SPOTS:
            seen = rng.choice(seen, FIT_SPOTS, replace=False)
        ridge = RidgeCV(RIDGES, alpha_per_target=True).fit(image[seen], scores[seen])
        predicted[unseen] = ridge.predict(image[unseen]).reshape(int(unseen.sum()), -1)
    return predicted


def explained(
    scores: FloatArray, image: FloatArray, coordinates: FloatArray, seed: int = 0
) -> tuple[FloatArray, float] | None:
    """Compute the cross-validated R² of ``scores`` predicted from ``image`` over regions of tissue.

    Parameters
    ----------
    scores
        Targets, (n, k).
    image
        Predictors, (n, D).
    coordinates
        Spot coordinates, (n, 2), from :func:`in_block_unit`.
    seed
        Random seed of the subsample of spots to fit to.

    Returns
    -------
    R² of each column, (k,), below 0 if the mean predicts better, and of all columns together. ``None`` if there is too
    little tissue.
    """
    region = regions([coordinates])
    predicted = None if region is None else predict_held_out(scores, image, region, seed)
    if predicted is None:
        return None
    error = ((scores - predicted) ** 2).sum(axis=0)
    spread = ((scores - scores.mean(axis=0)) ** 2).sum(axis=0)
    return 1.0 - error / np.maximum(spread, 1e-30), float(1.0 - error.sum() / max(spread.sum(), 1e-30))
