"""Whether spots would lie better on the tissue of an image if they were turned or mirrored. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from mmsrl.features.rasters import Raster
from mmsrl.features.tissue import Appearance

GRID = 100
"""Places along the longer side of an image at which tissue is looked for."""

WINDOW_PX = 8
"""Side of the square that is looked at there."""

COVERED = 0.75
"""Pitches from the nearest spot within which a place is covered: on a square lattice none is further than .71."""

CLEAR, LEAST = 0.05, 0.4
"""A placement is clearly better where its correlation of spots and tissue is higher by this, and is this at least. Of
whole sections the right one has .56 to .91 and each wrong one .08 to .86 less; of crops, whose tissue goes on beyond
the spots, none has more than .22 (``docs/features.md``)."""

ALIKE = 0.02
"""Difference of correlations within which two placements cannot be told apart."""

PLACEMENTS = (
    "as they are",
    "mirrored left to right",
    "mirrored top to bottom, as where y counts upwards",
    "turned by 180°",
    "with x and y exchanged",
    "turned by 90° clockwise",
    "turned by 90° counterclockwise",
    "mirrored on the diagonal from bottom left to top right",
)
"""The eight ways to lay a section on its image: x and y exchanged or not, then x, y or both from the other side."""


class TissueMap(NamedTuple):
    """Tissue of an image at the places of a grid."""

    places: npt.NDArray[np.float64]
    """(m, 2), x and y in pixels of the full-resolution image."""
    share: npt.NDArray[np.float64]
    """(m,), the share of tissue in a small window there."""
    width: float
    """Of the image, in pixels of the full-resolution one."""
    height: float


def tissue_map(rasters: list[Raster], look: Appearance) -> TissueMap:
    """Look for tissue all over an image, at the coarsest resolution that still has the grid's places apart.

    Parameters
    ----------
    rasters
        Resolutions, the finest first.
    look
        How tissue is told from background.
    """
    enough = [raster for raster in rasters if max(raster.height, raster.width) >= GRID * WINDOW_PX]
    raster = enough[-1] if enough else rasters[0]
    step = max(raster.height, raster.width) / GRID
    window = max(min(WINDOW_PX, int(step)), 1)
    tops, lefts = (
        np.floor(np.arange(step / 2, side, step) - window / 2).clip(0, max(side - window, 0)).astype(np.int64)
        for side in (raster.height, raster.width)
    )
    columns = lefts[:, None] + np.arange(window)
    share = np.array(
        [
            look.tissue(raster.read(int(top), int(top) + window, 0, raster.width))[:, columns].mean(axis=(0, 2))
            for top in tops
        ]
    )
    x, y = np.meshgrid(lefts + window / 2, tops + window / 2)
    places = np.column_stack([x.ravel(), y.ravel()]) / raster.scale
    return TissueMap(places, share.ravel(), raster.width / raster.scale, raster.height / raster.scale)


def placed(centres: npt.NDArray[np.float64], placement: int, width: float, height: float) -> npt.NDArray[np.float64]:
    """Return spots, (n, 2), in one of the :data:`PLACEMENTS` on an image."""
    x, y = (centres[:, ::-1] if placement >= 4 else centres).T
    across, down = placement % 4 in (1, 3), placement % 4 in (2, 3)
    return np.column_stack([width - x if across else x, height - y if down else y])


def agreements(found: TissueMap, centres: npt.NDArray[np.float64], pitch: float) -> npt.NDArray[np.float64]:
    """Return the correlation of covered places and tissue in each of the :data:`PLACEMENTS`, (8,); 0 where it has none.

    Parameters
    ----------
    centres
        (n, 2), spots in pixels of the full-resolution image.
    pitch
        Their distance.
    """
    result = np.zeros(len(PLACEMENTS))
    for placement in range(len(PLACEMENTS)):
        tree = cKDTree(placed(centres, placement, found.width, found.height))
        distance, _ = tree.query(found.places, distance_upper_bound=COVERED * pitch)
        covered = np.isfinite(distance).astype(np.float64)
        if covered.std() > 0 and found.share.std() > 0:
            result[placement] = np.corrcoef(covered, found.share)[0, 1]
    return result


def suggestion(agreement: npt.NDArray[np.float64], name: str) -> str | None:
    """Say which placements, (8,), are clearly better than spots as they are; ``None`` where none is."""
    best = float(agreement.max())
    if best < LEAST or best - agreement[0] < CLEAR:
        return None
    better = [PLACEMENTS[k] for k in np.argsort(-agreement, kind="stable") if agreement[k] > best - ALIKE]
    return (
        f"spots would lie better on the tissue of the image {name} {' or '.join(better)}: places that spots cover and "
        f"tissue correlate by {best:.2f} then, by {agreement[0]:.2f} as they are. Nothing was changed: look at the "
        "picture, and correct the coordinates (x and y in pixels of the image, y downwards) or give an alignment"
    )
