"""Readers of cell outlines: tables of vertices (Xenium, CosMx) and GeoParquet (MERSCOPE)."""

from __future__ import annotations

import zlib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from mmsrl._errors import InputError
from mmsrl.ingest.content import info, warning
from mmsrl.ingest.instruments import columns_of, find_columns
from mmsrl.ingest.layouts import Cells


def read_outlines(
    path: Path, columns: Cells, names: NDArray[np.object_]
) -> tuple[NDArray[np.object_] | None, dict[str, str]]:
    """Read the outlines of cells.

    Parameters
    ----------
    path
        File with the outlines.
    columns
        Names of its columns.
    names
        (n_cells,) names of the cells.

    Returns
    -------
    outlines
        (n_cells,) shapely polygons in the units of the file, ``None`` for a cell without polygon. ``None`` without any
        outlines, because geopandas is not installed or the file has other columns or cells.
    message
        Number of outlines, or why there are none.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if find_spec("geopandas") is None:
        return None, info(f"{path.name} is left out: outlines need pip install 'mmsrl[spatialdata]'")
    try:
        header = columns_of(path)
        named = find_columns(columns.outline_id, header, path.name)
        find_columns([(column,) for column in columns.vertices or ()], header, path.name)
    except InputError as error:
        return None, warning(f"outlines are left out: {error}")
    try:
        of_cells = _shapes(path, named) if columns.vertices is None else _polygons(path, named, columns.vertices)
    except InputError:
        raise
    except (pd.errors.ParserError, OSError, EOFError, zlib.error, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"{path.name}: damaged ({' '.join(str(error).split())}); copy it anew") from error
    outlines = of_cells.reindex(names).to_numpy(dtype=object)
    present = np.array([outline is not None and outline == outline for outline in outlines])
    outlines[~present] = None
    if not present.any():
        text = f"outlines are left out: {path.name} has none of the cells, e.g. {names[0]!r}"
        return None, warning(f"{text} (there: {of_cells.index[0]!r}); give the file of the same section")
    message = info if present.all() else warning
    return outlines, message(f"outlines of {present.sum()} of {len(names)} cells from {path.name}")


def areas_of(outlines: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the areas of polygons, (n_cells,), in squared coordinate units; NaN for a missing polygon."""
    import shapely

    areas: NDArray[np.float64] = shapely.area(outlines)
    return np.where(shapely.is_missing(outlines), np.nan, areas)


def polygons(xy: NDArray[Any], index: NDArray[np.intp]) -> NDArray[np.object_]:
    """Return the polygons, (n_polygons,), of vertices ``xy``, (n_vertices, 2).

    ``index``, (n_vertices,), is the polygon of each vertex, ascending from 0.
    """
    import shapely

    rings = shapely.linearrings(np.asarray(xy, dtype=np.float64), indices=index)
    return np.asarray(shapely.polygons(rings), dtype=object)


def _polygons(path: Path, named: list[str], vertices: tuple[str, str]) -> pd.Series[Any]:
    wanted = [*named, *vertices]
    if path.suffix == ".parquet":
        table = parquet.read_table(path, columns=wanted).to_pandas(ignore_metadata=True)
    else:
        table = pd.read_csv(path, usecols=wanted, dtype=dict.fromkeys(named, str))
    table = table[np.isfinite(table[list(vertices)]).all(axis=1)]
    names = joined_names(table, named)
    codes, cells = pd.factorize(names)
    order = np.argsort(codes, kind="stable")
    enough = np.bincount(codes, minlength=len(cells)) >= 3
    order = order[enough[codes[order]]]
    _, index = np.unique(codes[order], return_inverse=True)
    return pd.Series(polygons(table[list(vertices)].to_numpy()[order], index), index=cells[enough], dtype=object)


def _shapes(path: Path, named: list[str]) -> pd.Series[Any]:
    """Return the outlines in GeoParquet, in the lowest plane if there are several."""
    import geopandas

    table = geopandas.read_parquet(path)
    if "ZIndex" in table:
        table = table.sort_values("ZIndex", kind="stable")
    names = pd.Index(joined_names(table, named))
    first = ~names.duplicated()
    return pd.Series(table.geometry.to_numpy()[first], index=names[first], dtype=object)


def joined_names(table: pd.DataFrame, named: list[str]) -> NDArray[np.object_]:
    """Return the names of cells, (n_cells,): the columns ``named`` joined by ``_``."""
    names = _text(table[named[0]])
    for name in named[1:]:
        names = names + "_" + _text(table[name])
    return names.to_numpy(dtype=object)


def _text(values: pd.Series[Any]) -> pd.Series[str]:
    text = values.str.decode("utf-8") if len(values) and isinstance(values.iloc[0], bytes) else values.astype(str)
    # Whole numbers were written as `7.0` if some were missing once.
    return text.str.removesuffix(".0") if text.str.fullmatch(r"\d+\.0").all() else text
