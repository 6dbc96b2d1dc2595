"""Outlines of the cells of a section, as they were segmented: GeoParquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError

if TYPE_CHECKING:
    from geopandas import GeoSeries

ENDING = ".outlines.parquet"


class Found(NamedTuple):
    """Outlines of the spots of a section, in their order."""

    shapes: GeoSeries
    """Polygons and multipolygons, (n,), in pixels of the full-resolution image; empty where there is none."""
    lacking: NDArray[np.bool_]
    """(n,), true where there is none."""


def outlines_by_sample(paths: Sequence[Path], barcodes: Mapping[str, Sequence[str]]) -> dict[str, Found]:
    """Read ``<sample>.outlines.parquet`` of the samples that have it.

    Parameters
    ----------
    paths
        The files.
    barcodes
        The cells that are wanted, in their order, by sample.

    Raises
    ------
    InputError
        If a file has another name, is of none of the samples, or as :func:`read_outlines` says.
    """
    found = {}
    for path in paths:
        sample = path.name.removesuffix(ENDING)
        if sample == path.name:
            raise InputError(f"{path.name}: a file of outlines is named <sample>{ENDING}")
        if sample not in barcodes:
            raise InputError(f"{path.name}: sample {sample} is none of {', '.join(sorted(barcodes))}")
        found[sample] = read_outlines(path, barcodes[sample])
    return found


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
