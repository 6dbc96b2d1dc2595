"""Geometry of the measured spots: how far apart they are and on what lattice they lie. Arrays only."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial import cKDTree

Lattice = Literal["hexagonal", "square", "none"]

VISIUM_PITCH_UM = 100.0
"""Distance of neighbouring Visium spots on the slide (10x Genomics, both slide sizes)."""

FIRST_SHELL = 1.2
"""Pairs closer than this many pitches are neighbours: between 1 and √2, the next distance on a square lattice."""

MIN_ORDER = 0.6
"""Bond order from which a lattice is accepted; a jitter of 10 % of the pitch on either axis still gives 0.7."""

RAYLEIGH = 4.0
"""Least n·Ψ² for n bonds: under random directions exp(-n·Ψ²) is its probability (Rayleigh's test), here 2 %."""


class Geometry(NamedTuple):
    """Spot pitch in the unit of the coordinates, and the lattice."""

    pitch: float
    lattice: Lattice


def measure(coordinates: ArrayLike, array_row: ArrayLike | None = None, array_col: ArrayLike | None = None) -> Geometry:
    r"""Measure spot pitch and lattice.

    On a lattice the pitch is the median distance between all lattice neighbours, which is neither shortened by jitter
    (the nearest of four noisy neighbours is nearer than the pitch) nor widened by fragments and missing spots. Where
    there is no lattice, as of cells, it is their :func:`neighbour_distance`.

    The lattice is told from the directions of the bonds between neighbours, by the global bond-orientational order
    Ψₘ = \|mean exp(i·m·θ)\| (Nelson and Halperin, Phys. Rev. B 19, 2457, 1979): Ψ₆ is 1 and Ψ₄ 0 on a hexagonal
    lattice whatever its rotation, the reverse on a square one, and both are near 0 for irregular points. Where the
    bonds are too few or all on one line, the array indices decide if there are any.

    Parameters
    ----------
    coordinates
        (n, 2), finite, any unit.
    array_row, array_col
        (n,) whole numbers: position on the array, where the platform has them.

    Returns
    -------
    Geometry
        ``pitch`` is NaN where no two spots lie apart.
    """
    points = np.asarray(coordinates, dtype=np.float64)
    nearest = nearest_distances(points)
    nearest = nearest[nearest > 0]
    if nearest.size == 0:
        return Geometry(float("nan"), "none")
    # The lower tail is on the lattice even where most spots have lost their neighbours.
    lattice_pitch = float(np.median(nearest[nearest <= FIRST_SHELL * np.quantile(nearest, 0.1)]))
    for _ in range(2):
        bonds = neighbour_bonds(points, FIRST_SHELL * lattice_pitch)
        lattice_pitch = float(np.median(np.linalg.norm(bonds, axis=1)))
    lattice = lattice_of_bonds(neighbour_bonds(points, FIRST_SHELL * lattice_pitch))
    if lattice == "none" and array_row is not None and array_col is not None:
        lattice = lattice_of_indices(array_row, array_col)
    return Geometry(neighbour_distance(points) if lattice == "none" else lattice_pitch, lattice)


def neighbour_distance(points: ArrayLike, k: int = 6) -> float:
    """Return the median distance of points, (n, 2), to each of their ``k`` nearest others; NaN for fewer than two.

    On lattices, hexagonal or square, it is the pitch. Of irregular points it is a length of their density ρ: .98/√ρ
    where they are random and up to 1.07/√ρ, the pitch of the hexagonal lattice, where they keep apart; the distance to
    the nearest alone is half of that and depends on how evenly they lie. Holes and borders change it little, as a
    median of distances nearby. Points at one place count once.
    """
    places = np.unique(np.asarray(points, dtype=np.float64), axis=0)
    k = min(k, len(places) - 1)
    if k < 1:
        return float("nan")
    distances, _ = cKDTree(places).query(places, k=list(range(2, k + 2)))
    return float(np.median(distances))


def nearest_distances(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of every point, (n, 2), to its nearest other point; empty for fewer than two points."""
    if len(points) < 2:
        return np.empty(0)
    distances, _ = cKDTree(points).query(points, k=[2])
    return np.ravel(distances)


def neighbour_bonds(points: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return the vectors, (n_bonds, 2), between all pairs of points, (n, 2), that are apart and within ``radius``."""
    pairs = cKDTree(points).query_pairs(radius, output_type="ndarray")
    bonds: NDArray[np.float64] = points[pairs[:, 1]] - points[pairs[:, 0]]
    return bonds[np.any(bonds != 0, axis=1)]


def bond_order(bonds: NDArray[np.float64], fold: int) -> float:
    """Return the global bond-orientational order Ψ of ``fold``, between 0 and 1."""
    angles = np.arctan2(bonds[:, 1], bonds[:, 0])
    return float(np.abs(np.exp(1j * fold * angles).mean()))


def lattice_of_bonds(bonds: NDArray[np.float64]) -> Lattice:
    """Tell the lattice from bond directions alone; ``none`` where they are irregular, too few, or all on one line."""
    six, four = bond_order(bonds, 6), bond_order(bonds, 4)
    best = max(six, four)
    # On a single line of spots both orders are 1: the line is part of either lattice.
    if best < MIN_ORDER or len(bonds) * best**2 < RAYLEIGH or min(six, four) > 0.8 * best:
        return "none"
    return "hexagonal" if six > four else "square"


def lattice_of_indices(array_row: ArrayLike, array_col: ArrayLike) -> Lattice:
    """Tell the lattice from array indices.

    Visium numbers half-columns, so row + column is even everywhere and rows are both odd and even; on square arrays
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
