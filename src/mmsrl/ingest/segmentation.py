"""Reader of the cell polygons of Space Ranger 4, which also give the coordinates of the cells."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl._errors import InputError
from mmsrl.ingest.look import refuse_without_geopandas

_CENTROID = "cell_centroid"
_CELL_ID = r"^cellid_(\d+)(?:-\d+)?$"


class Cells(NamedTuple):
    """Centroids and polygons of the cells of a matrix."""

    kept: NDArray[np.bool_]
    """Mask of the cells with a polygon, (n_cells,)."""
    spatial: NDArray[np.float64]
    """(n_kept, 2) centroids x, y in pixels of the full-resolution image."""
    outlines: NDArray[Any]
    """(n_kept,) shapely polygons in the same pixels."""
    areas: NDArray[np.float64]
    """(n_kept,) areas of the polygons in squared pixels."""
    notes: list[str]
    """Warnings."""


def read_cells(path: Path, barcodes: NDArray[Any]) -> Cells:
    """Read the polygons of cells from the GeoJSON of Space Ranger.

    Polygons are matched by cell number, because a matrix has fewer cells than were segmented. The reader of
    spatialdata-io needs `feature_slice.h5`, which downloads of `segmented_outputs` lack, and ignores holes and parts of
    polygons.

    Parameters
    ----------
    path
        `cell_segmentations.geojson`.
    barcodes
        (n_cells,) barcodes such as `cellid_000000001-1`.

    Raises
    ------
    InputError
        The file is damaged or has other cells, or the package geopandas is not installed.
    """
    table = _read_geojson(path)
    import shapely

    numbers = pd.Index(barcodes.astype(str)).str.extract(_CELL_ID, expand=False)
    if numbers.isna().any():
        odd = barcodes[numbers.isna()][0]
        raise InputError(f"{path.name}: cells are found by barcodes such as 'cellid_000000001-1', but there is {odd!r}")
    repeated = table["cell_id"].duplicated()
    if repeated.any():
        raise InputError(f"{path.name}: has cell {table['cell_id'][repeated].iloc[0]} more than once; copy it anew")
    found = pd.Index(table["cell_id"]).get_indexer(pd.Index(numbers.astype(np.int64)))
    kept = found >= 0
    if not kept.any():
        raise InputError(
            f"{path.name}: has none of the {len(barcodes)} cells of the matrix, e.g. {barcodes[0]!r} (there: cell "
            f"{table['cell_id'].iloc[0]}); are both of the same section?"
        )
    notes = []
    if not kept.all():
        lost = f"{(~kept).sum()} of the {len(kept)} cells of the matrix have no polygon in {path.name}"
        notes.append(f"{lost}, e.g. {barcodes[~kept][0]!r}, and are left out")
    table = table.iloc[found[kept]]
    shapes = np.asarray(table.geometry.array)
    return Cells(kept, _centres(table, shapes), shapes, shapely.area(shapes), notes)


def _centres(table: Any, shapes: NDArray[Any]) -> NDArray[np.float64]:
    """Return the centroids of Space Ranger 4.1 if they lie within the cells, else those of the polygons."""
    import shapely

    centres: NDArray[np.float64] = shapely.get_coordinates(shapely.centroid(shapes))
    given = table[_CENTROID].tolist() if _CENTROID in table else []
    if given and all(np.shape(place) == (2,) for place in given):
        places = np.array(given, dtype=np.float64)
        low, high = shapely.bounds(shapes)[:, :2], shapely.bounds(shapes)[:, 2:]
        # The format is undocumented: swapped axes or other units would lie outside.
        if np.all((places >= low) & (places <= high)):
            return places
    return centres


def _read_geojson(path: Path) -> Any:
    """Return a GeoDataFrame with `cell_id` and polygons. 100,000 cells take 2 s and 0.3 GB."""
    refuse_without_geopandas(path.name)
    import geopandas
    import shapely

    try:
        table = geopandas.read_file(path, columns=["cell_id", _CENTROID])
    except (RuntimeError, ValueError, OSError, shapely.errors.ShapelyError) as error:
        raise InputError(f"{path.name}: not GeoJSON, or damaged ({error}); copy it anew") from error
    if "cell_id" not in table or not len(table):
        raise InputError(f"{path.name}: has no polygons with `cell_id`; give Space Ranger's cell_segmentations.geojson")
    if table["cell_id"].dtype == object:  # text as in the matrix
        table["cell_id"] = table["cell_id"].astype(str).str.extract(_CELL_ID, expand=False).astype(np.float64)
    # GeoJSON implies degrees, but these coordinates are pixels.
    table = table.set_crs(None, allow_override=True)
    area = shapely.area(table.geometry.array)
    return table[np.isfinite(area) & (area > 0)].reset_index(drop=True)
