"""Coordinates are found by the names that programs give them, in obsm or obs, and by nothing else."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from mmsrl._errors import InputError
from mmsrl.ingest.coordinates import places_of
from mmsrl.ingest.positions import check_one_section

N = 6
XY = np.column_stack([np.arange(N) * 10.0, np.arange(N) ** 2 + 0.5])
OBS = pd.DataFrame(index=[f"cell{k}" for k in range(N)])


def found(spatial: object = None, obs: pd.DataFrame = OBS, **obsm: object):
    elements = obsm if spatial is None else {"spatial": spatial, **obsm}
    return places_of(elements, obs, lambda element: element)


def frame(values: np.ndarray, *names: str) -> pd.DataFrame:
    return pd.DataFrame(values, OBS.index, list(names))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        *(("x", "y"), ("X", "Y"), ("pxl_col_in_fullres", "pxl_row_in_fullres"), ("imagecol", "imagerow")),
        *(("x_centroid", "y_centroid"), ("center_x", "center_y"), ("CenterX_global_px", "CenterY_global_px")),
        *(("col", "row"), ("array_col", "array_row"), ("spatial_1", "spatial_2"), ("xcoord", "ycoord")),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_columns_of_a_data_frame_are_taken_by_name(x, y, turned):
    places = found(frame(XY[:, ::-1], y, x) if turned else frame(XY, x, y))
    np.testing.assert_array_equal(places.spatial, XY)
    assert places.notes == ([f"obsm['spatial']: {x} is taken as x and {y} as y, by their names"] if turned else [])


def test_unknown_names_are_taken_in_order_and_said():
    places = found(frame(XY, "V1", "V2"))
    np.testing.assert_array_equal(places.spatial, XY)
    assert places.notes == ["obsm['spatial']: its columns V1, V2 are taken as x, y in this order"]


def test_a_table_of_more_columns_has_x_and_y_by_name():
    table = frame(XY, "y", "x").assign(label="a")
    np.testing.assert_array_equal(found(table).spatial, XY[:, ::-1])
    with pytest.raises(InputError, match="has the columns a, b, c, d; .spots, 2. is needed"):
        found(frame(np.zeros((N, 4)), "a", "b", "c", "d"))


@pytest.mark.parametrize("form", [lambda xy: xy.astype(str).astype(object), lambda xy: frame(xy.astype(str), "x", "y")])
def test_numbers_as_text_are_numbers(form):
    np.testing.assert_array_equal(found(form(XY)).spatial, XY)
    wrong = XY.astype(str).astype(object)
    wrong[2, 1] = "left"
    with pytest.raises(InputError, match=r"obsm\['spatial'\] of 'cell2' is 'left', not a number"):
        found(wrong)


def test_records_are_a_table():
    records = np.zeros(N, dtype=[("y", float), ("x", float)])
    records["x"], records["y"] = XY.T
    np.testing.assert_array_equal(found(records).spatial, XY)


def test_a_third_coordinate_is_left_out_where_it_says_nothing():
    flat = np.column_stack([XY, np.full(N, 5.0)])
    for places in (found(flat), found(frame(flat, "x", "y", "z")), found(frame(flat[:, [2, 1, 0]], "z", "y", "x"))):
        np.testing.assert_array_equal(places.spatial, XY)
        assert "the third coordinate is constant" in places.notes[-1]
    deep = np.column_stack([XY, np.arange(N)])
    for element in (deep, frame(deep, "x", "y", "z")):
        with pytest.raises(InputError, match="of several sections, give each a row and a file of its own"):
            found(element)


@pytest.mark.parametrize("key", ["X_spatial", "Spatial", "spatial_fullres", "spatialCoords", "X_Spatial"])
def test_obsm_of_another_name(key):
    places = found(**{key: XY, "X_pca": np.zeros((N, 2))})
    np.testing.assert_array_equal(places.spatial, XY)
    assert places.notes == [f"coordinates from obsm[{key!r}]"]
    with pytest.raises(InputError, match=f"has no obsm..spatial.., but {key}, coords in obsm; name the right one"):
        found(**{key: XY, "coords": XY})


def test_what_is_named_spatial_wins():
    places = found(XY, X_spatial=XY * 2)
    np.testing.assert_array_equal(places.spatial, XY)
    assert places.notes == []


def test_coordinates_in_obs():
    places = found(obs=OBS.assign(n_counts=1, imagerow=XY[:, 1], imagecol=XY[:, 0]))
    np.testing.assert_array_equal(places.spatial, XY)
    assert places.notes == ["coordinates from obs['imagecol'] and obs['imagerow'], as obsm['spatial'] is missing"]
    places = found(obs=OBS.assign(x_slide_mm=XY[:, 0], y_slide_mm=XY[:, 1]))
    assert places.um_per_unit == 1000


def test_obs_with_coordinates_of_two_kinds_must_say_which():
    obs = OBS.assign(x=XY[:, 0], y=XY[:, 1], x_centroid=XY[:, 0] * 2, y_centroid=XY[:, 1] * 2)
    with pytest.raises(InputError, match="of several kinds .x_centroid, y_centroid and x, y.; put one there"):
        found(obs=obs)
    spelt = OBS.assign(x=XY[:, 0], y=XY[:, 1], X=XY[:, 0] * 2, Y=XY[:, 1] * 2)
    with pytest.raises(InputError, match="of several kinds .x, y and X, Y.; put one there"):
        found(obs=spelt)
    same = obs.assign(x_centroid=obs["x"], y_centroid=obs["y"])
    np.testing.assert_array_equal(found(obs=same).spatial, XY)


def test_places_on_an_array_are_no_coordinates():
    with pytest.raises(InputError, match=r"has no obsm\['spatial'\] \(obsm has X_umap\), nor columns of obs"):
        found(obs=OBS.assign(array_row=1, array_col=2, row=1, col=2), X_umap=XY)


def test_sparse_coordinates_and_too_few_rows_are_said():
    with pytest.raises(InputError, match=r"obsm\['spatial'\] is a sparse matrix; write it as an array"):
        found(sparse.csr_matrix(XY))
    with pytest.raises(InputError, match=r"obsm\['spatial'\] has 5 rows for 6 spots"):
        found(XY[:5])


def test_a_barcode_with_two_endings_is_of_two_sections():
    letters = ["ACGTACGTACGTACGT", "TTTTACGTACGTACGA"]
    check_one_section(np.array([f"S1_{name}-1" for name in letters], dtype=object), "s.h5ad")
    check_one_section(np.array(["cell1", "cell1"], dtype=object), "s.h5ad")
    both = [f"{name}-1-{sample}" for sample in "AB" for name in letters]
    with pytest.raises(InputError, match="s.h5ad: 2 of 4 spots have the barcode of another.*several sections"):
        check_one_section(np.array(both, dtype=object), "s.h5ad")
    rng = np.random.default_rng(0)
    lanes = ["".join(rng.choice(list("ACGT"), 16)) + f"-{1 + k % 2}" for k in range(300)]
    check_one_section(np.array([*lanes, lanes[0][:-1] + "2"], dtype=object), "s.h5ad")  # two nuclei by chance
    bins = [f"s_008um_00001_00002-{k}" for k in (1, 2)]
    with pytest.raises(InputError, match="1 of 2 spots"):
        check_one_section(np.array(bins, dtype=object), "s.h5ad")


def test_anndata_keeps_the_frame_that_is_written(tmp_path):
    from mmsrl.ingest.api import read_h5ad

    adata = ad.AnnData(np.ones((N, 2), np.float32), OBS, obsm={"spatial": frame(XY[:, ::-1], "y", "x")})
    adata.write_h5ad(tmp_path / "s.h5ad")
    np.testing.assert_array_equal(read_h5ad(tmp_path / "s.h5ad", "s").adata.obsm["spatial"], XY)
