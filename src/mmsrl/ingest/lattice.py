"""Whether coordinates can be those of spots on Visium's hexagonal array. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl.geometry import FIRST_SHELL, VISIUM_PITCH_UM, Geometry, lattice_of_indices, neighbour_bonds

ROW_UM, COL_UM = VISIUM_PITCH_UM * np.sqrt(0.75), VISIUM_PITCH_UM / 2
"""µm of a row and of a column of Visium's array, whose columns are counted in halves of a pitch."""

ROWS, COLUMNS = (78, 128), (128, 224)
"""Rows and columns of the arrays: 6.5 and 11 mm wide."""

MOST_STRETCHED = 1.05
"""Ratio of the distances along both directions, each over that of the array, from which spots are called stretched;
of real sections it is 1.005 at most, as the nominal array is."""


MOST_UNEVEN = 1.03
"""Ratio of the distances of neighbours along the three directions of the lattice from which it is called stretched; a
stretch of 5 % makes 1.04 of it, and real sections have 1.005 at most."""


class ArrayFit(NamedTuple):
    """How Visium's array lies in the coordinates."""

    stretch: float
    """Ratio of the longer to the shorter direction, 1 where the lattice is hexagonal."""
    mirrored: bool
    """Whether the array can be laid on the coordinates only by turning it over."""


def on_array(row: NDArray[np.int64], col: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the places on the slide in µm, (n, 2): x, y, of spots by row and column of Visium's array, (n,)."""
    return np.column_stack([COL_UM * col, ROW_UM * row])


def fit_array(row: NDArray[np.int64], col: NDArray[np.int64], spatial: NDArray[np.float64]) -> ArrayFit | None:
    """Lay Visium's array on coordinates, (n, 2); ``None`` where row and column, (n,), are not Visium's or too few."""
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
    """Return places in µm, (n, 2), where the coordinates, (n, 2), are rows and columns of Visium's array themselves.

    Which of both is the row is told by ``row`` and ``col``, (n,), else by the array's shape, which is wider than high.
    ``None`` where coordinates are no such numbers, or both directions are possible.
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
    """Return the ratio of the longest to the shortest of the three distances of neighbours on a hexagonal lattice.

    Parameters
    ----------
    spatial
        (n, 2), spots that lie on a hexagonal lattice, stretched or not.
    pitch
        The median distance of neighbours.
    """
    bonds = neighbour_bonds(spatial, FIRST_SHELL * pitch)
    angle = np.arctan2(bonds[:, 1], bonds[:, 0])
    turn = np.angle(np.exp(6j * angle).mean()) / 6
    direction = np.round((angle - turn) / (np.pi / 3)).astype(np.int64) % 3
    lengths = [np.median(np.linalg.norm(bonds[direction == k], axis=1)) for k in range(3) if (direction == k).any()]
    return float(max(lengths) / min(lengths)) if len(lengths) == 3 else 1.0


def complaint(
    row: NDArray[np.int64] | None, col: NDArray[np.int64] | None, measured: Geometry, spatial: NDArray[np.float64]
) -> str | None:
    """Say what is wrong with the coordinates, (n, 2), of spots that have Visium's barcodes; ``None`` where nothing is.

    Parameters
    ----------
    row, col
        (n,), position on the array, where it is known.
    measured
        The lattice that the spots lie on by their coordinates, and their pitch.
    """
    pixels = "the pixels of Space Ranger (pxl_col_in_fullres, pxl_row_in_fullres)"
    fit = None if row is None or col is None else fit_array(row, col, spatial)
    if row is None or col is None or fit is None:
        return _of_lattice_alone(measured, spatial, pixels)
    if fit.stretch > MOST_STRETCHED:
        other = fit_array(col, row, spatial)
        if other is not None and other.stretch <= MOST_STRETCHED:
            return "array_row and array_col are exchanged, by the coordinates; exchange the two columns"
        return (
            f"by row and column of the array, spots are {fit.stretch:.2f} times as far apart in one direction as in "
            "the other, where Visium's lie on a hexagonal lattice: neighbours, which are found by distance, are not "
            f"those of the slide. Give {pixels} as coordinates, x and y in the same unit"
        )
    if fit.mirrored:
        return (
            "row and column of the array and the coordinates are mirror images of each other, as where x and y were "
            "exchanged (scanpy named pxl_row and pxl_col the wrong way round for years) or y counts upwards. Domains "
            "do not depend on it, but spots lie on the wrong places of an image, unless that was flipped when it was "
            "aligned by hand; look at the report's pictures, and correct the coordinates"
        )
    return None


def _of_lattice_alone(measured: Geometry, spatial: NDArray[np.float64], pixels: str) -> str | None:
    """Say what is wrong with the lattice of spots whose row and column on the array are not known."""
    if measured.lattice == "square":
        return (
            "barcodes of 16 bases, as Visium has, but spots lie on a square lattice: if this is Visium, whose lattice "
            f"is hexagonal, neighbours are not those of the slide: give {pixels} as coordinates, or array_row and "
            "array_col besides; if it is DBiT-seq, give platform and pitch_um in the samplesheet"
        )
    stretch = stretch_of_bonds(spatial, measured.pitch) if measured.lattice == "hexagonal" else 1.0
    if stretch <= MOST_UNEVEN:
        return None
    return (
        f"neighbours are {stretch:.2f} times as far apart in one direction of the lattice as in another, where those "
        f"of Visium are not: give {pixels} as coordinates, x and y in the same unit"
    )
