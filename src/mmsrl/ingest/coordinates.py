"""Search for the coordinates of spots in AnnData, by the names of columns rather than their order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.ingest.columns import plain
from mmsrl.ingest.units import UM_OF_UNIT

PAIRS = (
    *(("xcentroid", "ycentroid"), ("pxlcolinfullres", "pxlrowinfullres"), ("imagecol", "imagerow"), ("x", "y")),
    *(("xcoord", "ycoord"), ("coordx", "coordy"), ("xcoordinate", "ycoordinate"), ("spatialx", "spatialy")),
    *(("centerx", "centery"), ("centerxglobalpx", "centeryglobalpx"), ("centroidx", "centroidy")),
    *(("xlocation", "ylocation"), ("locationx", "locationy"), ("xpos", "ypos"), ("posx", "posy")),
    *(("xpixel", "ypixel"), ("pixelx", "pixely"), ("xglobalpx", "yglobalpx"), ("spatial1", "spatial2")),
    *(("sdimx", "sdimy"), ("spotx", "spoty")),
    *(("xum", "yum"), ("xmicron", "ymicron"), ("xmm", "ymm"), ("xslidemm", "yslidemm"), ("xslideum", "yslideum")),
)
"""Column names of x and y, spelt as :func:`mmsrl.ingest.columns.plain` returns them."""

MORE_PAIRS = (("col", "row"), ("column", "row"), ("arraycol", "arrayrow"))
"""Further names of x and y in a table of coordinates. In `obs` they are positions on the array."""

ALIASES = (
    *("xspatial", "spatial", "spatialfullres", "spatialcoords", "spatialcoordinates", "coords", "coordinates", "xy"),
)
"""Names of coordinates in `obsm`, spelt as :func:`mmsrl.ingest.columns.plain` returns them."""


class Places(NamedTuple):
    """Coordinates and their source."""

    spatial: NDArray[np.float64]
    """(n_spots, 2) coordinates x, y."""
    notes: list[str]
    """Source of the coordinates, unless it is `obsm['spatial']` with two columns."""
    um_per_unit: float | None = None
    """Length of one coordinate unit in µm, if the column names state it."""


def places_of(obsm: Mapping[str, Any], obs: pd.DataFrame, read: Callable[[Any], Any]) -> Places:
    """Return the coordinates x and y of every spot.

    Parameters
    ----------
    obsm
        Elements of `obsm`, not yet read.
    obs
        Annotations of the spots, searched if ``obsm`` has no coordinates.
    read
        Function that reads an element as array, DataFrame or sparse matrix.

    Returns
    -------
    Places
        Coordinates (n_spots, 2) and their source.

    Raises
    ------
    InputError
        There are no coordinates, several different ones, or their shape or values are invalid.
    """
    if _keys.SPATIAL in obsm:
        return _of_element(read(obsm[_keys.SPATIAL]), _keys.SPATIAL, obs)
    named = [key for key in obsm if plain(key) in ALIASES]
    if len(named) == 1:
        found = _of_element(read(obsm[named[0]]), named[0], obs)
        return found._replace(notes=[f"coordinates from obsm[{named[0]!r}]", *found.notes])
    columns = _pairs_in(obs, PAIRS)
    there = ", ".join(obsm) or "nothing"
    if len(named) > 1:
        raise InputError(f"has no obsm['spatial'], but {', '.join(named)} in obsm; name the right one 'spatial'")
    if not columns:
        raise InputError(
            f"has no obsm['spatial'] (obsm has {there}), nor columns of obs named as coordinates; put x and y of the "
            "spots there, in pixels of the full-resolution image"
        )
    first, *others = [_of_frame(obs[[x, y]], f"obs[{x!r}], obs[{y!r}]", obs) for x, y in columns]
    if any(not np.array_equal(first.spatial, other.spatial, equal_nan=True) for other in others):
        pairs = " and ".join(f"{x}, {y}" for x, y in columns)
        raise InputError(f"has no obsm['spatial'], and obs has coordinates of several kinds ({pairs}); put one there")
    x, y = columns[0]
    return first._replace(notes=[f"coordinates from obs[{x!r}] and obs[{y!r}], as obsm['spatial'] is missing"])


def _of_element(element: Any, key: str, obs: pd.DataFrame) -> Places:
    """Return the coordinates in an element of obsm."""
    place = f"obsm[{key!r}]"
    if sparse.issparse(element):
        raise InputError(f"{place} is a sparse matrix; write it as an array: adata.obsm[{key!r}].toarray()")
    if getattr(getattr(element, "dtype", None), "names", None):
        element = pd.DataFrame.from_records(element)
    if isinstance(element, pd.DataFrame):
        return _of_frame(element, place, obs)
    values = np.asarray(element)
    if values.ndim != 2 or values.shape[1] not in (2, 3):
        raise InputError(f"{place} is of shape {values.shape}; (spots, 2) is needed: x, y")
    return _checked(values, place, obs, [])


def _of_frame(table: pd.DataFrame, place: str, obs: pd.DataFrame) -> Places:
    """Return the columns of a table named as x and y, else its only two columns."""
    pairs = _pairs_in(table, (*PAIRS, *MORE_PAIRS))
    if pairs:
        x, y = pairs[0]
        swapped = list(table.columns).index(x) > list(table.columns).index(y)
        others = [str(column) for column in table if column not in (x, y) and plain(str(column)) == "z"]
        if others:
            return _checked(table[[x, y, others[0]]].to_numpy(), place, obs, [])
        notes = [f"{place}: {x} is taken as x and {y} as y, by their names"] if swapped else []
        unit = next((um for end, um in UM_OF_UNIT.items() if plain(str(x)).endswith(end)), None)
        return _checked(table[[x, y]].to_numpy(), place, obs, notes)._replace(um_per_unit=unit)
    if table.shape[1] not in (2, 3):
        raise InputError(f"{place} has the columns {', '.join(map(str, table))}; (spots, 2) is needed: x, y")
    names = ", ".join(map(str, table))
    return _checked(table.to_numpy(), place, obs, [f"{place}: its columns {names} are taken as x, y in this order"])


def _pairs_in(table: pd.DataFrame, pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
    """Return all pairs of columns named as x and y."""
    names: dict[str, list[str]] = {}
    for column in table.columns:
        names.setdefault(plain(str(column)), []).append(column)
    return [pair for x, y in pairs for pair in zip(names.get(x, ()), names.get(y, ()), strict=False)]


def _checked(values: NDArray[Any], place: str, obs: pd.DataFrame, notes: list[str]) -> Places:
    """Return values, (n_spots, 2) or (n_spots, 3), as coordinates, after checks of shape and numbers."""
    if len(values) != len(obs):
        raise InputError(f"{place} has {len(values)} rows for {len(obs)} spots")
    numbers = np.column_stack([pd.to_numeric(pd.Series(column), errors="coerce") for column in values.T])
    numbers = numbers.astype(np.float64)
    for spot, axis in np.argwhere(np.isnan(numbers)):
        if not pd.isna(values[spot, axis]) and str(values[spot, axis]).strip().lower() not in ("", "nan", "na"):
            raise InputError(f"{place} of {obs.index[spot]!r} is {str(values[spot, axis])!r}, not a number; correct it")
    if numbers.shape[1] == 3:
        if np.ptp(numbers[:, 2]) > 0 or not np.isfinite(numbers[:, 2]).all():
            raise InputError(
                f"{place} is of shape {numbers.shape}; (spots, 2) is needed: x, y. If the third is the depth of "
                "several sections, give each a row and a file of its own"
            )
        notes = [*notes, f"{place}: the third coordinate is constant and left out"]
    return Places(np.ascontiguousarray(numbers[:, :2]), notes)
