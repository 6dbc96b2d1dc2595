"""Comparison of coordinates with the hexagonal array of Visium. Works on arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl.geometry import FIRST_SHELL, VISIUM_PITCH_UM, Geometry, lattice_of_indices, neighbour_bonds

ROW_UM, COL_UM = VISIUM_PITCH_UM * np.sqrt(0.75), VISIUM_PITCH_UM / 2
"""Row and column spacing of the Visium array in µm. Columns are numbered in steps of half a spot spacing."""

ROWS, COLUMNS = (78, 128), (128, 224)
"""Numbers of rows and columns of the two Visium arrays (6.5 and 11 mm wide)."""

MAX_STRETCH = 1.05
"""Maximum ratio of the scales along both axes of the array. Real sections have at most 1.005."""

MAX_UNEVENNESS = 1.03
"""Maximum ratio of the neighbour distances along the three directions of a hexagonal lattice. A stretch of 5 % gives
1.04; real sections have at most 1.005."""


class ArrayFit(NamedTuple):
    """Affine fit of the Visium array to coordinates."""

    stretch: float
    """Ratio of the larger to the smaller singular value; 1 for a regular hexagonal lattice."""
    mirrored: bool
    """Whether the fit includes a reflection."""


def on_array(row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the positions x, y on the slide in µm, (n_spots, 2), from rows and columns of the array, (n_spots,)."""
    return np.column_stack([COL_UM * col, ROW_UM * row])


def fit_array(row: NDArray[np.int64], col: NDArray[np.int64], spatial: NDArray[np.float64]) -> ArrayFit | None:
    """Fit the Visium array to coordinates by affine least squares.

    Parameters
    ----------
    row, col
        (n_spots,) int64 positions on the array.
    spatial
        (n_spots, 2) coordinates x, y.

    Returns
    -------
    ArrayFit or None
        ``None`` if rows and columns are not on the Visium array, or too few for a fit.
    """
    if lattice_of_indices(row, col) != "hexagonal":
        return None
    places = on_array(row, col)
    design = np.column_stack([places - places.mean(axis=0), np.ones(len(places))])
    matrix = np.linalg.lstsq(design, spatial, rcond=None)[0][:2]
    longer, shorter = np.linalg.svd(matrix, compute_uv=False)
    if np.ptp(row) == 0 or np.ptp(col) == 0 or shorter <= 0:
        return None
    return ArrayFit(float(longer / shorter), bool(np.linalg.det(matrix) < 0))


def of_indices(
    spatial: NDArray[np.float64], row: NDArray[np.int64] | None, col: NDArray[np.int64] | None
) -> NDArray[np.float64] | None:
    """Return positions on the slide in µm if the coordinates are rows and columns of the Visium array.

    Parameters
    ----------
    spatial
        (n_spots, 2) coordinates.
    row, col
        (n_spots,) positions on the array, which tell rows from columns. If ``None``, the shape of the array decides:
        it has more columns than rows.

    Returns
    -------
    ndarray or None
        (n_spots, 2) x, y in µm; ``None`` if the coordinates are not array positions or both orders are possible.
    """
    if not np.array_equal(spatial, np.round(spatial)) or spatial.min() < 0:
        return None
    x, y = spatial.astype(np.int64).T
    if lattice_of_indices(y, x) != "hexagonal" or max(x.max(), y.max()) >= COLUMNS[1]:
        return None
    if row is not None and col is not None:
        for a, b in ((x, y), (y, x)):
            if np.array_equal(a, col) and np.array_equal(b, row):
                return on_array(b, a)
        return None
    wide = [bool(values.max() >= ROWS[0]) for values in (x, y)]
    if wide == [True, True]:
        wide = [bool(values.max() >= ROWS[1]) for values in (x, y)]
    if wide == [True, False]:
        return on_array(y, x)
    return on_array(x, y) if wide == [False, True] else None


def stretch_of_bonds(spatial: NDArray[np.float64], pitch: float) -> float:
    """Return the ratio of the largest to the smallest neighbour distance over the three directions of the lattice.

    Parameters
    ----------
    spatial
        (n_spots, 2) coordinates on a hexagonal lattice, possibly stretched.
    pitch
        Median neighbour distance, in coordinate units.
    """
    bonds = neighbour_bonds(spatial, FIRST_SHELL * pitch)
    angle = np.arctan2(bonds[:, 1], bonds[:, 0])
    turn = np.angle(np.exp(6j * angle).mean()) / 6
    direction = np.round((angle - turn) / (np.pi / 3)).astype(np.int64) % 3
    lengths = [np.median(np.linalg.norm(bonds[direction == k], axis=1)) for k in range(3) if (direction == k).any()]
    return float(max(lengths) / min(lengths)) if len(lengths) == 3 else 1.0


def problem_of(
    row: NDArray[np.int64] | None, col: NDArray[np.int64] | None, measured: Geometry, spatial: NDArray[np.float64]
) -> str | None:
    """Return a warning if coordinates do not fit the Visium barcodes of the spots, else ``None``.

    Parameters
    ----------
    row, col
        (n_spots,) positions on the array, or ``None``.
    measured
        Lattice and spot spacing measured on the coordinates.
    spatial
        (n_spots, 2) coordinates x, y.
    """
    pixels = "the pixels of Space Ranger (pxl_col_in_fullres, pxl_row_in_fullres)"
    fit = None if row is None or col is None else fit_array(row, col, spatial)
    if row is None or col is None or fit is None:
        return _of_lattice_alone(measured, spatial, pixels)
    if fit.stretch > MAX_STRETCH:
        other = fit_array(col, row, spatial)
        if other is not None and other.stretch <= MAX_STRETCH:
            return "array_row and array_col are exchanged, by the coordinates; exchange the two columns"
        return (
            f"by row and column of the array, spots are {fit.stretch:.2f} times as far apart in one direction as in "
            "the other, unlike on Visium's hexagonal lattice. Neighbours are found by distance and so differ from "
            f"those on the slide. Give {pixels} as coordinates, x and y in the same unit"
        )
    if fit.mirrored:
        return (
            "row and column of the array and the coordinates are mirror images of each other: x and y may have been "
            "exchanged (older versions of scanpy swapped the names pxl_row and pxl_col), or y points upwards. Domains "
            "do not depend on it, but spots are misplaced on the image, unless the image was flipped in a manual "
            "alignment; look at the figures of the report, and correct the coordinates"
        )
    return None


def _of_lattice_alone(measured: Geometry, spatial: NDArray[np.float64], pixels: str) -> str | None:
    """Return a warning on the lattice of spots without row and column on the array, or ``None``."""
    if measured.lattice == "square":
        return (
            "barcodes of 16 bases, as in Visium, but spots lie on a square lattice. If this is Visium, whose lattice "
            f"is hexagonal, neighbours differ from those on the slide: give {pixels} as coordinates, or add array_row "
            "and array_col; if it is DBiT-seq, give platform and pitch_um in the samplesheet"
        )
    stretch = stretch_of_bonds(spatial, measured.pitch) if measured.lattice == "hexagonal" else 1.0
    if stretch <= MAX_UNEVENNESS:
        return None
    return (
        f"neighbours are {stretch:.2f} times as far apart in one direction of the lattice as in another, unlike on "
        f"Visium's: give {pixels} as coordinates, x and y in the same unit"
    )
