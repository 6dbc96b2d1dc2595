"""Outlines of the spots and cells of a section: as they were segmented, else drawn around their places."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from contourpy import FillType, contour_generator
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError

if TYPE_CHECKING:
    from geopandas import GeoSeries

DISC_CORNERS = 16
"""Corners of the polygon that a round spot is written as; four of them lie on the axes, so that its width is true."""

ENDING = ".outlines.parquet"


class Found(NamedTuple):
    """Outlines of the spots of a section, in their order."""

    shapes: GeoSeries
    """Polygons and multipolygons, (n,), in pixels of the full-resolution image; empty where there is none."""
    lacking: NDArray[np.bool_]
    """(n,), true where there is none."""


def sample_of_outlines(path: Path) -> str:
    """Return the sample that ``<sample>.outlines.parquet`` is of.

    Raises
    ------
    InputError
        If the file has another name.
    """
    if not path.name.endswith(ENDING):
        raise InputError(f"{path.name}: a file of outlines is named <sample>{ENDING}")
    return path.name.removesuffix(ENDING)


def read_outlines(path: Path, barcodes: Sequence[str]) -> Found:
    """Read the outlines of the cells of a section.

    Parameters
    ----------
    path
        GeoParquet: ``geometry``, polygons in the units of ``obsm['spatial']``; ``barcode``, a column or the index.
    barcodes
        (n,), the cells that are wanted, in this order.

    Raises
    ------
    InputError
        If the package geopandas is not installed, or the file is damaged, names a cell twice, holds something other
        than polygons, or none of these cells.
    """
    try:
        import geopandas
    except ImportError as error:
        raise InputError(
            f"{path.name}: to read outlines the package geopandas is needed, which is not installed here; "
            "say pip install 'mmsrl[spatialdata]', or leave --outlines out"
        ) from error
    try:
        table = geopandas.read_parquet(path)
    # Arrow and geopandas raise for a damaged file, or one without geometry, what depends on where the damage is.
    except Exception as error:
        what = str(error).strip().partition("\n")[0]
        raise InputError(f"{path.name}: not GeoParquet, or damaged ({what}); copy it anew") from error
    if _keys.BARCODE in table.columns:
        table = table.set_index(_keys.BARCODE)
    shapes = table.geometry.set_axis(table.index.astype(str))
    if shapes.index.has_duplicates:
        twice = shapes.index[shapes.index.duplicated()][0]
        raise InputError(f"{path.name}: cell {twice} has two outlines; give one row a cell")
    odd = ~shapes.geom_type.isin(["Polygon", "MultiPolygon"]) & shapes.notna()
    if odd.any():
        kind, cell = shapes.geom_type[odd].iloc[0], shapes.index[odd][0]
        raise InputError(f"{path.name}: cell {cell} is a {kind}; outlines are polygons or multipolygons")
    own = shapes.reindex(list(barcodes))
    lacking = (own.isna() | own.is_empty).to_numpy(bool)
    if lacking.all():
        raise InputError(
            f"{path.name}: none of the {len(barcodes)} cells, such as {barcodes[0]}, is in it (it has "
            f"{len(shapes)}, such as {', '.join(shapes.index[:1])}); give the files of one and the same run"
        )
    return Found(own, lacking)


def lacking_outlines(found: Found) -> str:
    """Say of how many cells of a section there is no outline; nothing where all have one."""
    n = int(found.lacking.sum())
    return f"{n} of {len(found.lacking)} cells have no outline and are drawn as discs." if n else ""


def discs(places: NDArray[np.float64], diameter: float) -> Iterator[NDArray[np.float64]]:
    """Yield the closed outline, (17, 2), of a round spot at each place, (n, 2)."""
    angles = 2 * np.pi * np.arange(DISC_CORNERS + 1) / DISC_CORNERS
    outline = diameter / 2 * np.column_stack([np.cos(angles), np.sin(angles)])
    return (place + outline for place in places)


def squares(
    places: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> Iterator[NDArray[np.float64]]:
    """Yield the closed outline, (5, 2), of each bin of a square lattice, turned as the lattice is: bins tile it.

    Parameters
    ----------
    places
        (n, 2), the middles of the bins.
    rows, columns
        (n,), their position in the lattice.
    """
    axes = _lattice(places, rows, columns)[:2]
    outline = np.array([[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5], [-0.5, -0.5]]) @ axes
    return (place + outline for place in places)


def regions(
    places: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64], labels: Sequence[str]
) -> Iterator[tuple[str, list[list[NDArray[np.float64]]]]]:
    """Yield each domain of a square lattice with the region that its bins cover, whose corners are cut.

    Parameters
    ----------
    places
        (n, 2), the middles of the bins.
    rows, columns
        (n,), their position in the lattice.
    labels
        (n,), their domains.

    Returns
    -------
    Label, and the parts of the region, each a list of closed outlines, (k, 2): the outer one, then holes.
    """
    steps = _lattice(places, rows, columns)
    # A margin of one bin, so that every outline closes.
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
    """Return how far the next row and the next column lie, and where both are 0, (3, 2), by least squares."""
    terms = np.column_stack([rows, columns, np.ones(len(places))])
    return np.asarray(np.linalg.lstsq(terms, places, rcond=None)[0], dtype=np.float64)
