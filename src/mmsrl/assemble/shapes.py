"""Outlines of spots, bins and regions of bins. Works on arrays only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

DISC_CORNERS = 16
"""Number of vertices of a round spot. Four of them lie on the axes, so that its width is exact."""


def discs(places: NDArray[np.float64], diameter: float) -> Iterator[NDArray[np.float64]]:
    """Yield the closed outline, (17, 2), of a round spot at each centre, (n_spots, 2)."""
    angles = 2 * np.pi * np.arange(DISC_CORNERS + 1) / DISC_CORNERS
    outline = diameter / 2 * np.column_stack([np.cos(angles), np.sin(angles)])
    return (place + outline for place in places)


def squares(
    places: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    """Yield the closed outline, (5, 2), of each bin of a square lattice, with the rotation of the lattice.

    Parameters
    ----------
    places
        (n_bins, 2) centres of the bins.
    rows, columns
        (n_bins,) positions in the lattice.
    """
    axes = _lattice(places, rows, columns)[:2]
    outline = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]]) @ axes
    return (place + outline for place in places)


def regions(
    places: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], labels: Sequence[str]
) -> Iterator[tuple[str, list[list[NDArray[np.float64]]]]]:
    """Yield the region of each domain on a square lattice, with bevelled corners.

    Parameters
    ----------
    places
        (n_bins, 2) centres of the bins.
    rows, columns
        (n_bins,) positions in the lattice.
    labels
        (n_bins,) domains of the bins.

    Yields
    ------
    label
        Name of the domain.
    parts
        Parts of its region, each a list of closed outlines, (n_vertices, 2): the outer one, then holes.
    """
    steps = _lattice(places, rows, columns)
    # A margin of one bin closes all outlines.
    row, column = rows - rows.min() + 1, columns - columns.min() + 1
    codes, names = pd.factorize(np.asarray(labels, dtype=object), sort=True)
    grid = np.full((row.max() + 2, column.max() + 2), -1)
    grid[row, column] = codes
    first = np.array([rows.min() - 1, columns.min() - 1])
    for code, name in enumerate(names):
        lines = contour_generator(z=(grid == code).astype(np.float64), fill_type=FillType.OuterOffset)
        parts = []
        for points, offsets in zip(*lines.filled(0.5, np.inf), strict=True):
            corners = np.column_stack([points[:, ::-1] + first, np.ones(len(points))]) @ steps
            parts.append(np.split(corners, offsets[1:-1]))
        yield str(name), parts


def _lattice(places: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the lattice vectors of rows and columns and the origin, (3, 2), by least squares."""
    terms = np.column_stack([rows, columns, np.ones(len(places))])
    return np.asarray(np.linalg.lstsq(terms, places, rcond=None)[0], dtype=np.float64)
