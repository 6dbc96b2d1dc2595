"""What the columns of a table of cells say of its coordinates: their unit, and whether they are of one field of view.

Arrays only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

COSMX_UM_PER_PX = 0.12028
"""µm of a pixel of CosMx, by the vendor's description of the files."""

COSMX_FIRST_UM_PER_PX = 0.18
"""The same of the first public sections (He et al., Nature Biotechnology 2022), whose fields of view are larger."""

COSMX_FIELD_PX = 4256
"""Width of a field of view of CosMx in pixels; the first sections have 5472."""

ROUNDING = 2e-6
"""Difference, as a share of the largest coordinate, up to which numbers are the same: of single precision."""

NEIGHBOURS = 6

MOST_MIXED = 0.5
"""Share of neighbours in another field of view, of what there would be if fields were mixed at random, from which
they are taken to lie on one another. Fields beside each other have such neighbours at their rims alone."""

UM_OF_UNIT = {"um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1000.0, "nm": 0.001}
"""µm of one unit, by the end of a column's name."""

_WITH_UNIT = re.compile(rf"[_.\s(]({'|'.join(UM_OF_UNIT)})\)?$", re.IGNORECASE)

_INSTRUMENTS = {
    ("x_centroid", "y_centroid"): ("xenium", "Xenium"),
    ("x_location", "y_location"): ("xenium", "Xenium"),
    ("center_x", "center_y"): ("merscope", "MERSCOPE"),
}
"""Columns of instruments whose coordinates are in µm."""

_COSMX = (("CenterX_global_px", "CenterY_global_px"), ("CenterX_local_px", "CenterY_local_px"))

_COSMX_NUMBERS = ("Area", "Area.um2", "CenterX_local_px", "CenterY_local_px")

_FIELDS = re.compile(r"^(?:fov|fov_id|field_?of_?view)$", re.IGNORECASE)


class Told(NamedTuple):
    """What columns tell of the unit of coordinates."""

    um_per_px: float
    """µm of one unit of the coordinates."""
    why: str
    """What states it, in words."""
    platform: str | None
    """A name of :data:`mmsrl._platforms.PLATFORMS`, where only one instrument has such columns."""


def scale_of_columns(obs: pd.DataFrame, spatial: NDArray[np.float64]) -> Told | None:
    """Tell the unit of coordinates from the names of columns that hold the same numbers.

    Parameters
    ----------
    obs
        (n, …), columns as the file has them.
    spatial
        (n, 2), x and y.

    Returns
    -------
    ``None`` where no column of a known unit holds these coordinates.
    """
    for pair, (platform, instrument) in _INSTRUMENTS.items():
        if _hold(obs, pair, spatial):
            return Told(1.0, f"{' and '.join(pair)} of {instrument} are in µm", platform)
    for pair in _COSMX:
        if _hold(obs, pair, spatial):
            um, why = cosmx_pixel(obs)
            return Told(um, f"{' and '.join(pair)} are in pixels: {why}", "cosmx")
    for pair, unit in _pairs_with_unit(obs):
        if _hold(obs, pair, spatial):
            maker = "cosmx" if pair == ("x_slide_mm", "y_slide_mm") else None
            return Told(UM_OF_UNIT[unit.lower()], f"{' and '.join(pair)} are in {unit} by their names", maker)
    return None


def stacked_fields(obs: pd.DataFrame, spatial: NDArray[np.float64]) -> str | None:
    """Say that fields of view lie on one another, as where each has coordinates of its own; ``None`` where not.

    Parameters
    ----------
    obs
        (n, …), with a column such as `fov` where fields are told.
    spatial
        (n, 2).
    """
    column = next((name for name in obs if _FIELDS.match(str(name))), None)
    if column is None or not np.isfinite(spatial).all():
        return None
    field, names = pd.factorize(obs[column])
    if len(names) < 2 or len(field) <= NEIGHBOURS:
        return None
    _, near = cKDTree(spatial).query(spatial, k=NEIGHBOURS + 1)
    elsewhere = float((field[near[:, 1:]] != field[:, None]).mean())
    by_chance = 1.0 - float(((np.bincount(field[field >= 0]) / len(field)) ** 2).sum())
    if elsewhere < MOST_MIXED * by_chance:
        return None
    return (
        f"obs[{column!r}] has {len(names)} fields of view, which lie on one another: {elsewhere:.0%} of the nearest "
        "cells are of another field, so that neighbours and domains mean nothing. Give coordinates of the whole slide "
        "(CosMx: CenterX_global_px and CenterY_global_px), or each field as a section of its own"
    )


def _hold(obs: pd.DataFrame, pair: tuple[str, str], spatial: NDArray[np.float64]) -> bool:
    """Tell whether two columns hold the coordinates, in either order, moved or counted the other way or not.

    None of these changes their unit.
    """
    if not set(pair) <= set(obs) or not len(obs):
        return False
    values = obs[list(pair)].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    if not np.isfinite(values).all():
        return False
    rounding = ROUNDING * max(float(np.abs(values).max()), float(np.abs(spatial).max()))
    values, places = values - values[0], spatial - spatial[0]
    return any(
        all(
            any(np.allclose(sign * values[:, column], places[:, axis], rtol=0, atol=rounding) for sign in (1, -1))
            for axis, column in enumerate(order)
        )
        for order in ((0, 1), (1, 0))
    )


def cosmx_pixel(cells: pd.DataFrame) -> tuple[float, str]:
    """Return µm of a pixel of CosMx, and what says so: areas in both units, else the size of the fields of view.

    Parameters
    ----------
    cells
        (n, …), columns as CosMx names them: `Area` (pixels), `Area.um2` (µm²), `CenterX_local_px`.
    """
    numbers = {name: pd.to_numeric(cells[name], errors="coerce") for name in _COSMX_NUMBERS if name in cells}
    if {"Area", "Area.um2"} <= set(numbers):
        ratio = float((numbers["Area.um2"] / numbers["Area"].where(numbers["Area"] > 0)).median())
        if np.isfinite(ratio) and ratio > 0:
            return float(np.sqrt(ratio)), "Area.um2 and Area are the same areas in µm² and pixels"
    local = [values.max() for name, values in numbers.items() if "local" in name]
    if local and max(local) > COSMX_FIELD_PX:
        text = f"fields of view are larger than {COSMX_FIELD_PX} pixels, as in the first sections of CosMx"
        return COSMX_FIRST_UM_PER_PX, f"{text}, whose pixels are {COSMX_FIRST_UM_PER_PX} µm"
    return COSMX_UM_PER_PX, f"pixels of CosMx are {COSMX_UM_PER_PX} µm by its documentation"


def _pairs_with_unit(obs: pd.DataFrame) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield pairs of columns, such as `x_um` and `y_um`, that end with a unit."""
    for name in map(str, obs):
        unit = _WITH_UNIT.search(name)
        for at in [match.start() for match in re.finditer("[xX]", name)] if unit else []:
            other = f"{name[:at]}{'y' if name[at] == 'x' else 'Y'}{name[at + 1 :]}"
            if unit and other in obs:
                yield (name, other), unit.group(1)
