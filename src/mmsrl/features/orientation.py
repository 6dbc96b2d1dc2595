"""Detection of rotated or mirrored sections from the tissue in an image. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from mmsrl.features.rasters import Raster
from mmsrl.features.tissue import Appearance

GRID = 100
"""Number of grid points along the longer side of an image."""

WINDOW_PX = 8
"""Side of the window around a grid point in pixels."""

COVERED = 0.75
"""Maximum distance, in spot spacings, of a covered point from its nearest spot. It is at most .71 on a square lattice.
"""

CLEAR, LEAST = 0.05, 0.4
"""Minimum gain in correlation of spots and tissue, and minimum correlation, of a better placement. On whole sections
the correct placement has .56 to .91 and the others have .08 to .86 less. On crops, whose tissue continues beyond the
spots, no placement exceeds .22 (``docs/features.md``)."""

ALIKE = 0.02
"""Difference of correlations below which two placements are equivalent."""

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
"""The eight placements of a section on its image: with or without exchange of x and y, then flips of x, y or both."""


class TissueMap(NamedTuple):
    """Tissue at the points of a grid."""

    places: npt.NDArray[np.float64]
    """(m, 2): x and y in pixels of the full-resolution image."""
    share: npt.NDArray[np.float64]
    """(m,): fraction of tissue in a small window."""
    width: float
    """Width of the full-resolution image in pixels."""
    height: float


def tissue_map(rasters: list[Raster], look: Appearance) -> TissueMap:
    """Map tissue over an image, at the coarsest resolution that separates the grid points.

    Parameters
    ----------
    rasters
        Resolutions, finest first.
    look
        Appearance of tissue and background.
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
    """Return the correlation of coverage by spots and tissue for each of the :data:`PLACEMENTS`, (8,). 0 if undefined.

    Parameters
    ----------
    found
        Tissue of the image.
    centres
        Spots in pixels of the full-resolution image, (n, 2).
    pitch
        Spot spacing.
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
    """Return a message if another placement fits clearly better than the given one, else ``None``."""
    best = float(agreement.max())
    if best < LEAST or best - agreement[0] < CLEAR:
        return None
    better = [PLACEMENTS[k] for k in np.argsort(-agreement, kind="stable") if agreement[k] > best - ALIKE]
    return (
        f"the spots fit the tissue of the image {name} better {' or '.join(better)}: coverage and tissue correlate by "
        f"{best:.2f} instead of {agreement[0]:.2f}. Nothing was changed: look at the "
        "picture, and correct the coordinates (x and y in pixels of the image, y downwards) or give an alignment"
    )
