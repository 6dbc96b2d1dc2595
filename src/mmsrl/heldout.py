"""What one set of values says of another in tissue that it was not fitted to. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsrl.geometry import VISIUM_PITCH_UM
from mmsrl.graph import Graph, joined

FloatArray = NDArray[np.floating[Any]]

BLOCK_SIDE = 6.0
"""Side of the squares that tissue is measured in: neighbours of a spot look and read alike. See :func:`in_block_unit`.
"""

HALVINGS = 4
"""Times that tissue is cut in two: sixteen regions, of which each is held out whole."""

MIN_REGIONS = 4
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


def regions(coordinates: Sequence[FloatArray]) -> NDArray[np.int64] | None:
    """Cut tissue into compact regions of equally many spots: (N,), from 0; ``None`` where there is too little of it.

    Regions are halved across their longer side until there are sixteen, or no more than squares of :data:`BLOCK_SIDE`;
    between sections first. Small squares that are held out here and there would lie amid those that are seen, and
    whatever varies smoothly over the tissue would predict anything else that does.
    """
    halvings = min(HALVINGS, int(np.log2(spatial_blocks(coordinates).max() + 1)))
    if 2**halvings < MIN_REGIONS:
        return None
    apart = 1.0 + 2.0 * max(float(np.ptp(places, axis=0).max()) for places in coordinates)
    places = np.concatenate([own - own.min(axis=0) + [s * apart, 0.0] for s, own in enumerate(coordinates)])
    region = np.zeros(len(places), dtype=np.int64)
    for _ in range(halvings):
        further = np.zeros_like(region)
        for r in range(int(region.max()) + 1):
            own = np.flatnonzero(region == r)
            along = places[own, np.ptp(places[own], axis=0).argmax()]
            further[own[np.argsort(along, kind="stable")[len(own) // 2 :]]] = 1
        region = 2 * region + further
    return region


def predict_held_out(
    scores: FloatArray,
    image: FloatArray,
    region: NDArray[np.integer[Any]],
    seed: int,
    adjacency: Graph | None = None,
) -> FloatArray | None:
    """Predict ``scores`` (n, k) from ``image`` (n, D) by ridge regressions that never saw the spot's region.

    Parameters
    ----------
    region
        (n,), from :func:`regions`.
    seed
        Of the choice of spots to fit to.
    adjacency
        (n, n), where values were smoothed by it: spots that it joins with the region are not fitted to either.

    Returns
    -------
    (n, k); ``None`` where for a region there are no more spots to fit to than columns of the image.
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
    """Return how much of ``scores`` (n, k) the columns of ``image`` (n, D) predict in regions of tissue held out.

    Parameters
    ----------
    coordinates
        (n, 2), from :func:`in_block_unit`.

    Returns
    -------
    R² of each column, (k,), below 0 where the mean predicts better; and that of all together. ``None`` where there is
    too little tissue to hold some out.
    """
    region = regions([coordinates])
    predicted = None if region is None else predict_held_out(scores, image, region, seed)
    if predicted is None:
        return None
    error = ((scores - predicted) ** 2).sum(axis=0)
    spread = ((scores - scores.mean(axis=0)) ** 2).sum(axis=0)
    return 1.0 - error / np.maximum(spread, 1e-30), float(1.0 - error.sum() / max(spread.sum(), 1e-30))
