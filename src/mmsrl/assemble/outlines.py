"""Reader of the cell outlines of a section in GeoParquet format."""

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
    """Outlines of the cells of a section, in the order of its spots."""

    shapes: GeoSeries
    """(n_cells,) (multi)polygons in pixels of the full-resolution image, missing or empty without outline."""
    lacking: NDArray[np.bool_]
    """Mask of the cells without outline, (n_cells,)."""


def outlines_by_sample(paths: Sequence[Path], barcodes: Mapping[str, Sequence[str]]) -> dict[str, Found]:
    """Read ``<sample>.outlines.parquet`` of all samples with outlines.

    Parameters
    ----------
    paths
        The files.
    barcodes
        Cells by sample, in order.

    Raises
    ------
    InputError
        A file has another name or belongs to none of the samples; see also :func:`read_outlines`.
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
        GeoParquet file: ``geometry``, polygons in the units of ``obsm['spatial']``; ``barcode``, a column or the index.
    barcodes
        (n_cells,) cells to read, in order.

    Raises
    ------
    InputError
        The package geopandas is not installed, or the file is damaged, has duplicate cells, other geometries than
        polygons, or none of the cells.
    """
    try:
        import geopandas
    except ImportError as error:
        raise InputError(
            f"{path.name}: reading outlines needs the package geopandas, which is not installed; "
            "run pip install 'mmsrl[spatialdata]', or leave --outlines out"
        ) from error
    try:
        table = geopandas.read_parquet(path)
    # Arrow and geopandas raise various errors for damaged files and missing geometry.
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{path.name}: not GeoParquet, or damaged ({reason}); copy it anew") from error
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
    ordered = shapes.reindex(list(barcodes))
    lacking = (ordered.isna() | ordered.is_empty).to_numpy(bool)
    if lacking.all():
        raise InputError(
            f"{path.name}: none of the {len(barcodes)} cells, such as {barcodes[0]}, is in it (it has "
            f"{len(shapes)}, such as {', '.join(shapes.index[:1])}); give the files of one and the same run"
        )
    return Found(ordered, lacking)


def lacking_outlines(found: Found) -> str:
    """Return a message on the number of cells without outline; empty if all have one."""
    n = int(found.lacking.sum())
    return f"{n} of {len(found.lacking)} cells have no outline and are drawn as discs." if n else ""
