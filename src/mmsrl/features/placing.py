"""Positions of spots on an image, and checks of their plausibility. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl import _alignment
from mmsrl._errors import InputError
from mmsrl.features.rasters import Raster
from mmsrl.features.tiles import outside

Message = dict[str, str]

MOST_MISPLACED = 0.25
"""Maximum mean distance, in spot spacings, between aligned spots and the positions in the alignment."""

MOST_OUTSIDE = 0.5
WRONG_SCALE = 1.25
"""Ratio of the pixel sizes from the spots and from the file beyond which a warning is given."""

BARE = 0.1
"""Fraction of tissue in a tile below which there is no tissue at the spot."""

MOST_BARE = 0.3
"""Fraction of spots without tissue above which coordinates and image may not belong together."""


class Placed(NamedTuple):
    """Spots on an image."""

    centres: npt.NDArray[np.float64]
    """(n, 2): x and y in pixels of the full-resolution image."""
    pitch: float
    """Spot spacing in these pixels."""


def place(
    coordinates: npt.NDArray[np.float64],
    pitch: float,
    alignment: _alignment.Alignment,
    array: npt.NDArray[np.int64] | None,
) -> Placed:
    """Transform coordinates of spots, (n, 2), to pixels of the image.

    Parameters
    ----------
    coordinates
        Spot coordinates, (n, 2).
    pitch
        Spot spacing in the unit of the coordinates.
    alignment
        Alignment of the section.
    array
        Row and column of the spots on the array, (n, 2), if there are any.

    Raises
    ------
    InputError
        The alignment belongs to other spots.
    """
    matrix = alignment.matrix
    if matrix is None:
        keys = [] if array is None else [(int(row), int(column)) for row, column in array]
        known = np.array([key in alignment.spots for key in keys], dtype=bool)
        if known.sum() < _alignment.FEWEST_SPOTS:
            raise InputError("the alignment belongs to other spots: its rows and columns are not those of the section")
        there = np.array([alignment.spots[key] for key in keys if key in alignment.spots])
        matrix, error = _alignment.fit_matrix(coordinates[known], there)
        if error > MOST_MISPLACED * pitch * _alignment.magnification(matrix, coordinates):
            raise InputError(
                f"the alignment belongs to other spots: its positions are {error:.0f} pixels from the aligned spots"
            )
    return Placed(_alignment.apply(matrix, coordinates), pitch * _alignment.magnification(matrix, coordinates))


def check_inside(centres: npt.NDArray[np.float64], raster: Raster) -> tuple[npt.NDArray[np.bool_], list[Message]]:
    """Return the mask of spots off the image, (n,), with a message. ``centres``: (n, 2) full-resolution pixels.

    Raises
    ------
    InputError
        Most spots lie off the image.
    """
    places = centres * raster.scale
    off = outside(places, raster)
    if not off.any():
        return off, []
    where = (
        f"of {off.size} spots {int(off.sum())} lie outside the image {raster.name} "
        f"({raster.width} x {raster.height} px): spots span x {places[:, 0].min():.0f} to {places[:, 0].max():.0f}, "
        f"y {places[:, 1].min():.0f} to {places[:, 1].max():.0f}"
    )
    if off.mean() > MOST_OUTSIDE:
        hint = "; does y count upwards?" if (places[:, 1] < 0).mean() > MOST_OUTSIDE else ""
        if not outside(places[:, ::-1], raster).any():
            hint = "; with x and y exchanged all would lie on it"
        raise InputError(
            f"{where}{hint}; coordinates and image do not belong together: give the full-resolution image that the "
            "coordinates were measured on and its own scale factors, or an alignment"
        )
    return off, [_warning(f"{where}; these have the mean of the others as image features")]


def check_scale(raster: Raster, um_per_px: float) -> list[Message]:
    """Compare the pixel size in the image file with the one from the spot spacing."""
    um_per_px_of_file = raster.um_per_px
    if (
        um_per_px_of_file is None
        or not np.isfinite(um_per_px)
        or 1 / WRONG_SCALE < um_per_px_of_file / um_per_px < WRONG_SCALE
    ):
        return []
    return [
        _warning(
            f"the image {raster.name} states {um_per_px_of_file:.3g} µm per pixel, but the spot spacing implies "
            f"{um_per_px:.3g} µm: check that the coordinates were measured on this image"
        )
    ]


def check_tissue(tissue: npt.NDArray[np.floating], name: str) -> list[Message]:
    """Report spots without tissue, given the fraction of tissue in the tile of each spot, (n,)."""
    bare = float((tissue < BARE).mean())
    if bare == 0.0:
        return []
    text = f"at {bare:.0%} of the spots the image {name} shows no tissue"
    if bare > MOST_BARE:
        return [_warning(f"{text}: check that coordinates and image belong together")]
    return [{"level": "info", "text": text}]


def _warning(text: str) -> Message:
    return {"level": "warning", "text": text}
