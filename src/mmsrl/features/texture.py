"""Colour and texture of a tile without a network: the baseline for networks, and a complement to them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmsrl._pictures import RGB
from mmsrl.features.tiles import reduced

SIDE = 64
"""Tiles of at least twice this side are reduced, so that texture has about the same scale."""

RADII = (1, 2, 4)
"""Radii of local binary patterns in pixels."""

GREY_LEVELS = 16
OFFSETS = (1, 3)
"""Offsets of grey-level co-occurrence in pixels."""

GLCM = ("contrast", "homogeneity", "energy", "correlation")
QUANTILES = (0.1, 0.5, 0.9)

COLUMNS = [
    *(f"{channel}_{what}" for what in ("mean", "sd") for channel in ("red", "green", "blue")),
    *(f"{stain}_{what}" for what in ("mean", "sd") for stain in ("haematoxylin", "eosin", "residual")),
    *(f"{stain}_q{round(100 * q)}" for stain in ("haematoxylin", "eosin") for q in QUANTILES),
    "saturation_mean",
    "saturation_sd",
    *(f"lbp_r{radius}_{pattern}" for radius in RADII for pattern in range(10)),
    *(f"glcm_{what}_{offset}" for what in GLCM for offset in OFFSETS),
]


def describe(tiles: RGB) -> npt.NDArray[np.float32]:
    """Describe tiles, (b, side, side, 3), by colour, stain and texture: (b, len(COLUMNS)) float32.

    Red, green and blue; optical density of haematoxylin and eosin (Ruifrok and Johnston 2001); saturation; uniform
    local binary patterns at three radii (Ojala et al. 2002); contrast, homogeneity, energy and correlation of
    grey-level co-occurrence (Haralick et al. 1973).
    """
    return np.stack([_of_tile(tile) for tile in reduced(tiles, SIDE)]).astype(np.float32)


def _of_tile(tile: RGB) -> npt.NDArray[np.float64]:
    from skimage.color import rgb2hed
    from skimage.feature import graycomatrix, graycoprops, local_binary_pattern

    rgb = tile.reshape(-1, 3) / 255.0
    stains = rgb2hed(tile).reshape(-1, 3)
    highest = rgb.max(axis=1)
    saturation = 1.0 - rgb.min(axis=1) / np.maximum(highest, 1e-6)
    grey = np.rint(tile @ [0.2125, 0.7154, 0.0721]).astype(np.uint8)
    patterns = [
        np.bincount(local_binary_pattern(grey, 8, radius, "uniform").astype(int).ravel(), minlength=10) / grey.size
        for radius in RADII
    ]
    angles = [0.0, np.pi / 4, np.pi / 2, 3 * np.pi / 4]
    pairs = graycomatrix(grey // (256 // GREY_LEVELS), OFFSETS, angles, GREY_LEVELS, symmetric=True, normed=True)
    return np.concatenate(
        [
            *(rgb.mean(axis=0), rgb.std(axis=0), stains.mean(axis=0), stains.std(axis=0)),
            np.quantile(stains[:, :2], QUANTILES, axis=0).T.ravel(),
            [saturation.mean(), saturation.std()],
            *patterns,
            *(graycoprops(pairs, what).mean(axis=1) for what in GLCM),
        ]
    )
