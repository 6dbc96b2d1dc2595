"""Tables of spot positions in any form, and their agreement with the matrix."""

import numpy as np
import pandas as pd
import pytest
from section_folders import MATRIX, SPATIAL, assert_same, positions_as, read, refused, warnings_of
from spaceranger import (
    counts_of,
    hexagonal,
    put_counts,
    write_spatial,
)


def test_names_of_ones_own_that_end_with_numbers_are_one_section(outs):
    names = [f"spot-{k}" for k in range(30)]
    put_counts(outs, counts_of(30), names)
    write_spatial(outs / "spatial", hexagonal().assign(barcode=names))
    assert read(outs).adata.n_obs == 30


def words(true: str, false: str) -> pd.DataFrame:
    return hexagonal().assign(in_tissue=[true] * 29 + [false])


SEURAT = {
    "in_tissue": "tissue",
    "array_row": "row",
    "array_col": "col",
    "pxl_row_in_fullres": "imagerow",
    "pxl_col_in_fullres": "imagecol",
}


FORMS = {
    "tabs": ({"sep": "\t"}, hexagonal()),
    "semicolons": ({"sep": ";"}, hexagonal()),
    "quotes": ({"quoting": 1}, hexagonal()),
    "another order": ({}, hexagonal()[[*hexagonal().columns[[0, 1, 3, 2, 5, 4]]]]),
    "Seurat's names": ({}, hexagonal().rename(columns=SEURAT)),
    "more columns": ({}, hexagonal().assign(row=1, col=2, tissue="cortex", x=0)),
    "names in capitals": ({}, hexagonal().rename(columns=str.upper)),
    "numbers of rows": ({"index": True}, hexagonal()),
    "barcodes as an index without a name": ({"index": True}, hexagonal().set_index("barcode").rename_axis(None)),
    "whole numbers with a point": ({}, hexagonal().assign(in_tissue=1.0)),
    "TRUE without a header": ({"header": False}, hexagonal().assign(in_tissue="TRUE")),
    "True": ({}, hexagonal().assign(in_tissue="True")),
}


@pytest.mark.parametrize("form", FORMS)
def test_positions_in_any_form_that_says_which_column_is_which(outs, form):
    options, table = FORMS[form]
    ingested = read(positions_as(outs, table, **options))
    assert_same(ingested)
    assert warnings_of(ingested) == []


@pytest.mark.parametrize("index", ["barcode", None])
def test_parquet_with_barcodes_as_index(outs, index):
    table = hexagonal().set_index("barcode").rename_axis(index).assign(in_tissue=True)
    assert_same(read(positions_as(outs, table, "tissue_positions.parquet")))


def test_a_column_too_many(outs):
    message = refused(positions_as(outs, hexagonal(), header=False, index=True))
    assert "7 column(s) in the first line" in message and "'0', looks like the number of a row" in message


@pytest.mark.parametrize("angle", [0, 30, 90, 180, 250])
@pytest.mark.parametrize("wrong", [True, False])
def test_names_of_x_and_y_that_are_exchanged(outs, wrong, angle):
    """An image may be rotated by any angle. Only exchanged names mirror it, and these are corrected."""
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    x, y = (SPATIAL @ np.array([[cos, sin], [-sin, cos]])).T
    x, y = x - x.min() + 50, y - y.min() + 50
    names = ["pxl_col_in_fullres", "pxl_row_in_fullres"]
    first, second = (y, x) if wrong else (x, y)  # scanpy's `pxl_col` is the fifth column, which holds y
    table = hexagonal().drop(columns=names).assign(**{names[0]: first, names[1]: second})
    ingested = read(positions_as(outs, table))
    np.testing.assert_allclose(ingested.adata.obsm["spatial"], np.column_stack([x, y]))
    assert ["swapped their names; exchanged them back" in text for text in warnings_of(ingested)] == [True] * wrong


def test_a_mirrored_image_is_said_where_x_and_y_look_exchanged(outs):
    names = {"pxl_col_in_fullres": "pxl_row_in_fullres", "pxl_row_in_fullres": "pxl_col_in_fullres"}
    table = hexagonal().rename(columns=names)[hexagonal().columns]
    ingested = read(positions_as(outs, table, header=False))
    np.testing.assert_allclose(ingested.adata.obsm["spatial"], SPATIAL[:, ::-1])
    assert "are the mirror image of a section; if spots do not lie on the tissue" in warnings_of(ingested)[0]


def test_barcodes_that_lost_their_number_are_found_with_a_warning(outs):
    ingested = read(positions_as(outs, hexagonal().assign(barcode=hexagonal()["barcode"].str[:-2])))
    assert_same(ingested)
    assert "barcodes have other prefixes or suffixes than those of the matrix" in warnings_of(ingested)[0]


@pytest.mark.parametrize(("before", "behind"), [("S1_", "-1"), ("", ".1"), ("S1_", "-1_2")])
def test_barcodes_with_the_sample_or_in_the_spelling_of_r_in_the_positions_alone(outs, before, behind):
    barcodes = before + hexagonal()["barcode"].str[:-2] + behind
    ingested = read(positions_as(outs, hexagonal().assign(barcode=barcodes)))
    assert_same(ingested)
    assert f"matched 'AAAAAAAAAAAAAAAA-1' with '{barcodes[0]}'" in warnings_of(ingested)[0]


def test_barcodes_with_the_names_of_two_samples_are_not_put_together(outs):
    put_counts(outs, counts_of(30), "S1_" + hexagonal()["barcode"])
    positions_as(outs, hexagonal().assign(barcode="S2_" + hexagonal()["barcode"]))
    assert "30 of the 30 barcodes of filtered_feature_bc_matrix.h5 are not in tissue_positions.csv" in refused(outs)


def test_blanks_around_barcodes_are_none_of_them(outs):
    ingested = read(positions_as(outs, hexagonal().assign(barcode=hexagonal()["barcode"] + " ")))
    assert_same(ingested)
    assert not any("barcodes" in text for text in warnings_of(ingested))


def test_places_that_cannot_be_are_told_before_the_run(outs):
    positions_as(outs, hexagonal().assign(pxl_row_in_fullres=0, pxl_col_in_fullres=0))
    assert "29 of 30 spots have the coordinates of another" in refused(outs)


def test_barcodes_that_come_twice_are_told_before_the_run(outs):
    put_counts(outs, counts_of(30), [*hexagonal()["barcode"][:29], hexagonal()["barcode"][0]])
    assert "filtered_feature_bc_matrix.h5: 1 barcodes come more than once, e.g. 'AAAA" in refused(outs)


def test_a_single_spot_is_told_before_the_run(outs):
    put_counts(outs, counts_of(30)[:1], hexagonal()["barcode"][:1])
    assert "only one spot; a section needs several" in refused(outs)


def test_positions_of_another_section_are_refused(outs):
    """All sections share the barcodes of the array. They differ in the spots that lie in the tissue."""
    put_counts(outs, counts_of(30)[:20], hexagonal()["barcode"][:20])
    write_spatial(outs / "spatial", hexagonal().assign(in_tissue=[0] * 2 + [1] * 28))
    message = refused(outs)
    assert "2 of the 20 spots of filtered_feature_bc_matrix.h5 are outside the tissue (in_tissue 0)" in message
    assert "10 in the tissue are not in the matrix: the two are of different sections" in message


def test_a_tissue_that_was_drawn_anew_is_said(outs):
    put_counts(outs, counts_of(30)[:20], hexagonal()["barcode"][:20])
    write_spatial(outs / "spatial", hexagonal().assign(in_tissue=[0] * 2 + [1] * 18 + [0] * 10))
    ingested = read(outs)
    assert ingested.adata.n_obs == 20 and ingested.adata.obs["in_tissue"].sum() == 18
    assert "2 of the 20 spots of filtered_feature_bc_matrix.h5 are outside the tissue" in warnings_of(ingested)[0]


@pytest.mark.parametrize("name", ["raw_feature_bc_matrix.h5", MATRIX])
def test_a_raw_matrix_whatever_its_name_is_cut_to_the_tissue(outs, name):
    (outs / MATRIX).rename(outs / name)
    positions_as(outs, words("TRUE", "FALSE"))
    ingested = read(outs)
    assert ingested.adata.n_obs == 29
    assert any("took the 29 of 30 barcodes of the raw one in the tissue" in text for text in warnings_of(ingested))


def test_matrix_and_positions_of_different_slides(outs):
    positions_as(outs, hexagonal().assign(barcode=[f"X{k}-1" for k in range(30)]))
    assert "30 of the 30 barcodes of filtered_feature_bc_matrix.h5 are not in tissue_positions.csv" in refused(outs)
