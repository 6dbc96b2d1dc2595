"""Unit of coordinates and overlap of fields of view, from the columns of a table of cells. Works on arrays only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.spatial import cKDTree

COSMX_UM_PER_PX = 0.12028
"""Pixel size of CosMx in µm, from the vendor's file documentation."""

COSMX_FIRST_UM_PER_PX = 0.18
"""Pixel size of the first public CosMx sections in µm (He et al., Nature Biotechnology 2022)."""

COSMX_FIELD_PX = 4256
"""Width of a CosMx field of view in pixels. The first public sections have 5472."""

ROUNDING = 2e-6
"""Tolerance for equal numbers (single precision), relative to the largest coordinate."""

NEIGHBOURS = 6
"""Number of nearest neighbours in the test for overlapping fields of view."""

MAX_MIXING = 0.5
"""Share of neighbours in other fields of view, relative to fields mixed at random, above which fields overlap.
Adjacent fields share neighbours at their borders only."""

UM_OF_UNIT = {"um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "microns": 1.0, "mm": 1000.0, "nm": 0.001}
"""Length of a unit in µm, by the suffix of a column name."""

_WITH_UNIT = re.compile(rf"[_.\s(]({'|'.join(UM_OF_UNIT)})\)?$", re.IGNORECASE)

_INSTRUMENTS = {
    ("x_centroid", "y_centroid"): ("xenium", "Xenium"),
    ("x_location", "y_location"): ("xenium", "Xenium"),
    ("center_x", "center_y"): ("merscope", "MERSCOPE"),
}
"""Platform and instrument by their coordinate columns in µm."""

_COSMX = (("CenterX_global_px", "CenterY_global_px"), ("CenterX_local_px", "CenterY_local_px"))

_COSMX_NUMBERS = ("Area", "Area.um2", "CenterX_local_px", "CenterY_local_px")

_FIELDS = re.compile(r"^(?:fov|fov_id|field_?of_?view)$", re.IGNORECASE)


class Unit(NamedTuple):
    """Unit of coordinates, from column names."""

    um_per_px: float
    """Length of one coordinate unit in µm."""
    why: str
    """Evidence, for messages."""
    platform: str | None
    """A name of :data:`mmsrl._platforms.PLATFORMS`, if the columns belong to one instrument."""


def scale_of_columns(obs: pd.DataFrame, spatial: NDArray[np.float64]) -> Unit | None:
    """Return the unit of coordinates, from the names of columns with the same numbers.

    Parameters
    ----------
    obs
        (n_spots, …) columns of the file.
    spatial
        (n_spots, 2) coordinates x, y.

    Returns
    -------
    Unit or None
        ``None`` if no column of a known unit holds the coordinates.
    """
    for pair, (platform, instrument) in _INSTRUMENTS.items():
        if _hold(obs, pair, spatial):
            return Unit(1.0, f"{' and '.join(pair)} of {instrument} are in µm", platform)
    for pair in _COSMX:
        if _hold(obs, pair, spatial):
            um, why = cosmx_pixel(obs)
            return Unit(um, f"{' and '.join(pair)} are in pixels: {why}", "cosmx")
    for pair, unit in _pairs_with_unit(obs):
        if _hold(obs, pair, spatial):
            platform_name = "cosmx" if pair == ("x_slide_mm", "y_slide_mm") else None
            return Unit(UM_OF_UNIT[unit.lower()], f"{' and '.join(pair)} are in {unit} by their names", platform_name)
    return None


def stacked_fields(obs: pd.DataFrame, spatial: NDArray[np.float64]) -> str | None:
    """Return a warning if fields of view overlap because each has local coordinates, else ``None``.

    Parameters
    ----------
    obs
        (n_cells, …) columns of the file. Without a column such as `fov`, no test is made.
    spatial
        (n_cells, 2) coordinates x, y.
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
    if elsewhere < MAX_MIXING * by_chance:
        return None
    return (
        f"obs[{column!r}] has {len(names)} fields of view that overlap: {elsewhere:.0%} of the nearest cells are of "
        "another field, so neighbours and domains are meaningless. Give coordinates of the whole slide "
        "(CosMx: CenterX_global_px and CenterY_global_px), or each field as a section of its own"
    )


def _hold(obs: pd.DataFrame, pair: tuple[str, str], spatial: NDArray[np.float64]) -> bool:
    """Return whether two columns hold the coordinates up to order, shift and sign, none of which changes the unit."""
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
    """Return the pixel size of CosMx in µm and its evidence.

    The ratio of the areas in µm² and pixels gives the size; without both, the width of the fields of view decides.

    Parameters
    ----------
    cells
        (n_cells, …) CosMx columns: `Area` (pixels), `Area.um2` (µm²), `CenterX_local_px` and `CenterY_local_px`.
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
    """Yield pairs of columns with a unit as suffix, such as `x_um` and `y_um`, and the unit."""
    for name in map(str, obs):
        unit = _WITH_UNIT.search(name)
        for at in [match.start() for match in re.finditer("[xX]", name)] if unit else []:
            other = f"{name[:at]}{'y' if name[at] == 'x' else 'Y'}{name[at + 1 :]}"
            if unit and other in obs:
                yield (name, other), unit.group(1)
