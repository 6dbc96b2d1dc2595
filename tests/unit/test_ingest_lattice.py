"""Coordinates that cannot be those of Visium's hexagonal array are told, and rows and columns put where they lie."""

from __future__ import annotations

import numpy as np
import pytest
from spaceranger import hexagonal

from mmsrl import geometry
from mmsrl.ingest.lattice import fit_array, of_indices, on_array, problem_of

TABLE = hexagonal(90, 60)
ROW, COL = TABLE["array_row"].to_numpy(), TABLE["array_col"].to_numpy()
SPATIAL = TABLE[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()


def small(rows: int, columns: int) -> np.ndarray:
    return (ROW < rows) & (COL < columns)


def said(spatial: np.ndarray, rows: np.ndarray | None = ROW, columns: np.ndarray | None = COL) -> str | None:
    return problem_of(rows, columns, geometry.measure(spatial, rows, columns), spatial)


def turned(degrees: float) -> np.ndarray:
    c, s = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return np.array([[c, -s], [s, c]])


@pytest.mark.parametrize("degrees", [0, 3, 90, 180, 271])
def test_spots_on_the_array_are_not_complained_of_however_they_are_turned(degrees: float) -> None:
    noise = np.random.default_rng(0).normal(0, 1, SPATIAL.shape)
    assert said(SPATIAL @ turned(degrees) + noise) is None
    assert said(SPATIAL, None, None) is None


def test_exchanged_coordinates_are_mirror_images() -> None:
    for wrong in (SPATIAL[:, ::-1], SPATIAL * [1, -1]):
        text = said(wrong)
        assert text is not None and "mirror images of each other" in text


def test_stretched_coordinates_are_told() -> None:
    text = said(SPATIAL * [1.2, 1.0])
    assert text is not None and "1.20 times as far apart in one direction" in text
    square = SPATIAL * [1.0, 1 / np.sqrt(3)]
    text = said(square)
    assert text is not None and "1.73 times" in text
    text = said(square, None, None)
    assert text is not None and "lie on a square lattice" in text
    for direction in ([1.1, 1.0], [1.0, 1.1], [1.2, 1.0]):
        text = said(SPATIAL * direction, None, None)
        assert text is not None and "in one direction of the lattice as in another" in text


def test_exchanged_rows_and_columns_are_told_as_such() -> None:
    text = said(SPATIAL, COL, ROW)
    assert text is not None and text.startswith("array_row and array_col are exchanged")


def test_an_array_that_is_not_hexagonal_is_none_of_visium() -> None:
    row, col = (index.ravel() for index in np.mgrid[:10, :10])
    assert fit_array(row, col, np.column_stack([col, row]) * 50.0) is None


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("exchanged", [True, False])
def test_rows_and_columns_for_coordinates_are_put_on_the_slide(known: bool, exchanged: bool) -> None:
    own = small(78, 120)
    row, col = ROW[own], COL[own]
    spatial = np.column_stack([row, col] if exchanged else [col, row]).astype(float)
    found = of_indices(spatial, row if known else None, col if known else None)
    assert found is not None
    np.testing.assert_allclose(found, on_array(row, col))
    measured = geometry.measure(found)
    assert measured.lattice == "hexagonal" and measured.pitch == pytest.approx(100.0, rel=1e-6)


def test_rows_are_not_told_from_columns_where_neither_exceeds_the_rows() -> None:
    own = small(60, 60)
    row, col = ROW[own], COL[own]
    spatial = np.column_stack([col, row]).astype(float)
    assert of_indices(spatial, None, None) is None
    found = of_indices(spatial, row, col)
    assert found is not None and geometry.measure(found).lattice == "hexagonal"


def test_pixels_are_not_taken_for_rows_and_columns() -> None:
    assert of_indices(SPATIAL, ROW, COL) is None
    assert of_indices(np.round(SPATIAL), None, None) is None
    assert of_indices(np.column_stack([COL, ROW]) + 0.5, None, None) is None
    assert of_indices(np.column_stack([COL, ROW]) * 2.0, None, None) is None
