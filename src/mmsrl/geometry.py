"""Geometry of measured spots: their spacing and lattice. Arrays only."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

Lattice = Literal["hexagonal", "square", "none"]

VISIUM_PITCH_UM = 100.0
"""Centre-to-centre distance of neighbouring Visium spots in µm (10x Genomics, both slide sizes)."""

FIRST_SHELL = 1.2
"""Cutoff for neighbours in spot spacings: between 1 and √2, the second shell of a square lattice."""

MIN_ORDER = 0.6
"""Minimum bond order of a lattice. A jitter of 10 % of the spacing on either axis still gives 0.7."""

RAYLEIGH = 4.0
"""Minimum of n·Ψ² for n bonds. Random directions exceed it with probability exp(-n·Ψ²), here 2 % (Rayleigh's test)."""


class Geometry(NamedTuple):
    """Spot spacing in the unit of the coordinates, and the lattice."""

    pitch: float
    lattice: Lattice


def measure(coordinates: ArrayLike, array_row: ArrayLike | None = None, array_col: ArrayLike | None = None) -> Geometry:
    r"""Measure the spot spacing and the lattice.

    On a lattice, the spacing is the median distance over all pairs of lattice neighbours. Jitter does not bias it
    downwards, as it does the distance to the nearest of four neighbours. Fragments and missing spots do not bias it
    upwards. Without a lattice, as for cells, the spacing is the :func:`neighbour_distance`.

    The lattice is detected from the directions of the bonds between neighbours, by the global bond-orientational order
    Ψₘ = \|mean exp(i·m·θ)\| (Nelson and Halperin, Phys. Rev. B 19, 2457, 1979). Ψ₆ is 1 and Ψ₄ is 0 on a hexagonal
    lattice of any rotation, and vice versa on a square lattice. Both are near 0 for irregular points. If the bonds are
    too few or all on one line, the array indices decide.

    Parameters
    ----------
    coordinates
        Spot coordinates, (n, 2), finite, in any unit.
    array_row, array_col
        Integer positions on the array, (n,), if the platform has them.

    Returns
    -------
    Geometry
        ``pitch`` is NaN if all spots have the same coordinates.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    nearest = nearest_distances(points)
    nearest = nearest[nearest > 0]
    if nearest.size == 0:
        return Geometry(float("nan"), "none")
    # The lower tail of the distances is the spacing, even if most spots have no neighbours.
    lattice_pitch = float(np.median(nearest[nearest <= FIRST_SHELL * np.quantile(nearest, 0.1)]))
    for _ in range(2):
        bonds = neighbour_bonds(points, FIRST_SHELL * lattice_pitch)
        lattice_pitch = float(np.median(np.linalg.norm(bonds, axis=1)))
    lattice = lattice_of_bonds(neighbour_bonds(points, FIRST_SHELL * lattice_pitch))
    if lattice == "none" and array_row is not None and array_col is not None:
        lattice = lattice_of_indices(array_row, array_col)
    return Geometry(neighbour_distance(points) if lattice == "none" else lattice_pitch, lattice)


def neighbour_distance(points: ArrayLike, k: int = 6) -> float:
    """Return the median distance of points, (n, 2), to their ``k`` nearest neighbours. NaN for fewer than two points.

    On a hexagonal or square lattice this is the spacing. For irregular points of density ρ it is .98/√ρ (random) to
    1.07/√ρ (hard-core, as on the hexagonal lattice). The nearest neighbour alone is half as far and depends on the
    regularity. As a median of local distances it is robust to holes and borders. Duplicated points count once.
    """
    places = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    k = min(k, len(places) - 1)
    if k < 1:
        return float("nan")
    distances, _ = cKDTree(places).query(places, k=list(range(2, k + 2)))
    return float(np.median(distances))


def nearest_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of every point, (n, 2), to its nearest neighbour. Empty for fewer than two points."""
    if len(points) < 2:
        return np.empty(0)
    distances, _ = cKDTree(points).query(points, k=[2])
    return np.ravel(distances)


def neighbour_bonds(points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return the vectors, (n_bonds, 2), between all pairs of distinct points, (n, 2), within ``radius``."""
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    bonds: NDArray[np.float64] = points[pairs[:, 1]] - points[pairs[:, 0]]
    return bonds[np.any(bonds != 0, axis=1)]


def bond_order(bonds: NDArray[np.float64], fold: int) -> float:
    """Return the global bond-orientational order Ψ of symmetry ``fold``, between 0 and 1."""
    angles = np.arctan2(bonds[:, 1], bonds[:, 0])
    return float(np.abs(np.exp(1j * fold * angles).mean()))


def lattice_of_bonds(bonds: NDArray[np.float64]) -> Lattice:
    """Detect the lattice from bond directions. ``none`` if they are irregular, too few, or all on one line."""
    six, four = bond_order(bonds, 6), bond_order(bonds, 4)
    best = max(six, four)
    # Both orders are 1 on a single line of spots, which fits both lattices.
    if best < MIN_ORDER or len(bonds) * best**2 < RAYLEIGH or min(six, four) > 0.8 * best:
        return "none"
    return "hexagonal" if six > four else "square"


def lattice_of_indices(array_row: ArrayLike, array_col: ArrayLike) -> Lattice:
    """Detect the lattice from array indices.

    Visium numbers half-columns: row + column is even for all spots, and rows are both odd and even. On square arrays,
    neighbours differ by one in the row or the column.
    """
    row = np.asarray(array_row, dtype=np.int64)
    col = np.asarray(array_col, dtype=np.int64)
    if len(row) < 3:
        return "none"
    if np.unique((row + col) % 2).size == 1:
        return "hexagonal" if np.unique(row % 2).size == 2 else "none"
    steps = cKDTree(np.column_stack([row, col])).query_pairs(1.0, output_type="ndarray")
    return "square" if len(steps) else "none"
