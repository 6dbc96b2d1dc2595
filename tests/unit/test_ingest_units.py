"""Columns of a table of cells tell the unit of its coordinates, and fields of view that lie on one another."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mmsrl.ingest.units import COSMX_UM_PER_PX, Unit, scale_of_columns, stacked_fields

N = 400
PLACES = np.random.default_rng(0).uniform(0, 1000, (N, 2))


def told(x: str, y: str, places: np.ndarray = PLACES, **other: np.ndarray) -> Unit | None:
    return scale_of_columns(pd.DataFrame({"cell": range(N), x: places[:, 0], y: places[:, 1]} | other), PLACES)


@pytest.mark.parametrize(
    ("x", "y", "um", "platform"),
    [
        ("x_centroid", "y_centroid", 1.0, "xenium"),
        ("center_x", "center_y", 1.0, "merscope"),
        ("CenterX_global_px", "CenterY_global_px", COSMX_UM_PER_PX, "cosmx"),
        ("CenterX_local_px", "CenterY_local_px", COSMX_UM_PER_PX, "cosmx"),
        ("x_slide_mm", "y_slide_mm", 1000.0, "cosmx"),
        ("x_um", "y_um", 1.0, None),
        ("centroid_X_microns", "centroid_Y_microns", 1.0, None),
        ("max_x_mm", "max_y_mm", 1000.0, None),
        ("X (µm)", "Y (µm)", 1.0, None),
    ],
)
def test_names_of_columns_that_hold_the_coordinates_tell_their_unit(
    x: str, y: str, um: float, platform: str | None
) -> None:
    found = told(x, y)
    assert found is not None and (found.um_per_px, found.platform) == (um, platform)
    assert x in found.why and y in found.why
    assert told(x, y, PLACES * 2) is None  # other numbers say nothing of these


def test_coordinates_may_be_moved_turned_or_exchanged() -> None:
    for places in (PLACES + 5, PLACES * [1, -1], PLACES[:, ::-1], PLACES.astype(np.float32)):
        found = told("x_centroid", "y_centroid", places)
        assert found is not None and found.um_per_px == 1.0
    assert told("x_centroid", "y_centroid", PLACES[::-1]) is None  # of other cells
    assert told("x_centroid", "y_centroid", np.where(PLACES < 20, np.nan, PLACES)) is None


@pytest.mark.parametrize(("x", "y"), [("x", "y"), ("row", "col"), ("x_pixel", "y_pixel"), ("area_um", "depth_um")])
def test_other_columns_tell_nothing(x: str, y: str) -> None:
    assert told(x, y) is None


def test_areas_tell_the_pixel_of_cosmx() -> None:
    area = np.full(N, 50.0)
    found = told("CenterX_global_px", "CenterY_global_px", **{"Area": area, "Area.um2": area * 0.18**2})
    assert found is not None and found.um_per_px == pytest.approx(0.18)


def test_fields_that_lie_on_one_another_are_told() -> None:
    side = np.floor(PLACES / 250).astype(int)
    beside = pd.DataFrame({"fov": side[:, 0] * 4 + side[:, 1]})
    assert stacked_fields(beside, PLACES) is None
    local = PLACES - 250 * side
    text = stacked_fields(beside, local)
    assert text is not None and "obs['fov'] has 16 fields of view that overlap" in text
    assert stacked_fields(pd.DataFrame({"batch": beside["fov"]}), local) is None
    assert stacked_fields(pd.DataFrame({"fov": np.ones(N)}), local) is None


def test_small_fields_beside_each_other_are_not_told() -> None:
    side = np.floor(PLACES / 200).astype(int)  # 16 cells each
    assert stacked_fields(pd.DataFrame({"FOV": side[:, 0] * 5 + side[:, 1]}), PLACES) is None
