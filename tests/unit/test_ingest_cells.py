"""Segmented cells of Space Ranger 4: where they are, which are left out, and what stands in for them."""

import gzip
import importlib.util
import json
import shutil
import tarfile

import numpy as np
import pytest
from section_folders import warnings_of
from spaceranger import (
    cell_outlines,
    counts_of,
    place_of_cell,
    segmented,
    visium_hd,
    write_h5_v3,
    write_image,
)

from mmsrl._errors import InputError
from mmsrl.ingest import look
from mmsrl.ingest.api import read_spaceranger

KEPT = [number for number in range(1, 34) if number != 5]
"""Cells of the filtered matrix with a polygon."""


def assert_cells(ingested, shift=(0, 0)) -> None:
    """Counts, places, areas and outlines are those of the cells of the same number."""
    adata = ingested.adata
    assert list(adata.obs_names) == [f"cellid_{number:09d}-1" for number in KEPT]
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(36).toarray()[np.array(KEPT) - 1])
    places = np.array([place_of_cell(number) for number in KEPT])
    np.testing.assert_allclose(adata.obsm["spatial"], places + shift)
    np.testing.assert_allclose(adata.obs["area_um2"], 20 * 20 * 0.25**2)
    assert list(ingested.outlines.index) == list(adata.obs_names)
    np.testing.assert_allclose(ingested.outlines.centroid.x, places[:, 0])
    about = adata.uns["mmsrl"]
    assert (about["platform"], about["lattice"]) == ("visium_hd", "none")
    assert about["pitch_um"] == pytest.approx(about["pitch_px"] * 0.25)
    (lost,) = warnings_of(ingested)
    assert lost == (
        "1 of the 33 cells of the matrix have no polygon in cell_segmentations.geojson, e.g. 'cellid_000000005-1', "
        "and are left out"
    )


def test_cells_lie_at_the_centroids_of_their_polygons(tmp_path):
    ingested = read_spaceranger(segmented(tmp_path / "segmented_outputs"), "s")
    assert_cells(ingested)
    assert list(ingested.adata.uns["spatial"]["s"]["images"]) == ["lowres"]
    diameter = ingested.adata.uns["spatial"]["s"]["scalefactors"]["spot_diameter_fullres"]
    assert diameter == pytest.approx(2 * np.sqrt(400 / np.pi))
    assert {entry["file"] for entry in ingested.inputs} == {
        "filtered_feature_cell_matrix.h5",
        "cell_segmentations.geojson",
        "spatial/scalefactors_json.json",
        "spatial/tissue_lowres_image.png",
    }


def test_centroids_that_the_file_gives_are_taken(tmp_path):
    assert_cells(read_spaceranger(segmented(tmp_path / "segmented_outputs", version="4.1"), "s"), shift=(1, 2))


def test_centroids_of_another_meaning_are_not_taken(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs", version="4.1")
    path = folder / "cell_segmentations.geojson"
    content = json.loads(path.read_text())
    for feature in content["features"]:
        feature["properties"]["cell_centroid"].reverse()  # y, x
    path.write_text(json.dumps(content))
    assert_cells(read_spaceranger(folder, "s"))


@pytest.mark.parametrize("bin_size", ["cell", None])
@pytest.mark.parametrize("given", ["", "outs", "outs/segmented_outputs", "prefixed", "flat", "tar", "download"])
def test_wherever_cells_lie(tmp_path, given, bin_size):
    path = tmp_path / given
    if given == "prefixed":
        segmented(path, prefix="Visium_HD_Colon_")
    elif given == "flat":
        segmented(path, prefix="S1_")
        for file in list((path / "spatial").iterdir()):
            file.rename(path / file.name)
        (path / "spatial").rmdir()
    elif given in ("tar", "download"):
        folder = tmp_path / given if given == "download" else tmp_path
        folder.mkdir(exist_ok=True)
        archive = folder / "Visium_HD_Colon_segmented_outputs.tar.gz"
        with tarfile.open(archive, "w:gz") as tar:
            tar.add(segmented(tmp_path / "made"), arcname="segmented_outputs")
        shutil.rmtree(tmp_path / "made")
        path = folder if given == "download" else archive
    else:
        segmented(tmp_path / "outs" / "segmented_outputs")
    ingested = read_spaceranger(path, "s", bin_size=bin_size)
    lost = [text.replace("Visium_HD_Colon_", "").replace("S1_", "") for text in warnings_of(ingested)]
    assert len(lost) == 1 and "have no polygon in cell_segmentations.geojson" in lost[0]
    assert list(ingested.adata.uns["spatial"]["s"]["images"]) == ["lowres"]
    if given in ("tar", "download"):
        assert [entry["file"] for entry in ingested.inputs] == ["Visium_HD_Colon_segmented_outputs.tar.gz"]


def test_images_of_outs_are_those_of_its_cells(tmp_path):
    outs = tmp_path / "outs"
    cells = segmented(outs / "segmented_outputs", images=False)
    (outs / "spatial").mkdir()
    write_image(outs / "spatial" / "tissue_lowres_image.png")
    (cells / "spatial" / "tissue_hires_image.png").symlink_to("../../gone/tissue_hires_image.png")
    for path in (outs, cells):
        assert list(read_spaceranger(path, "s").adata.uns["spatial"]["s"]["images"]) == ["lowres"]


def test_outs_with_bins_and_cells_has_to_be_told_which(tmp_path):
    outs = visium_hd(tmp_path / "outs")
    segmented(outs / "segmented_outputs")
    with pytest.raises(InputError, match=r"has bins of 8, 16 µm and segmented cells \('cell'\); say which by bin_size"):
        read_spaceranger(outs, "s")
    assert_cells(read_spaceranger(outs, "s", bin_size="cell"))
    assert read_spaceranger(outs, "s", bin_size=16).adata.obs_names[0] == "s_016um_00000_00000-1"
    with pytest.raises(InputError, match="bin size 8 was asked for, but this is the folder of segmented cells"):
        read_spaceranger(outs / "segmented_outputs", "s", bin_size=8)


def test_bins_of_8_um_stand_in_for_cells_that_are_not_there(tmp_path):
    outs = visium_hd(tmp_path / "outs")
    ingested = read_spaceranger(outs, "s", bin_size="cell")
    assert ingested.adata.obs_names[0] == "s_008um_00000_00000-1"
    assert any("outs: no segmented cells" in text and "took the bins of 8 µm" in text for text in warnings_of(ingested))
    (outs / "segmented_outputs").mkdir()  # an empty one is none
    assert read_spaceranger(outs, "s", bin_size="cell").adata.n_obs == ingested.adata.n_obs
    shutil.rmtree(outs / "binned_outputs" / "square_008um")
    with pytest.raises(InputError, match=r"has no segmented cells \(segmented_outputs\); there are bins of 16 µm"):
        read_spaceranger(outs, "s", bin_size="cell")


def test_a_matrix_of_three_files_and_gzipped_outlines(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    (folder / "filtered_feature_cell_matrix.h5").unlink()
    outs = tmp_path / "outs"
    (outs / "spatial").mkdir(parents=True)
    write_h5_v3(outs / "filtered_feature_bc_matrix.h5", counts_of(30), range(30))
    three = folder / "filtered_feature_cell_matrix"
    three.mkdir()
    counts = counts_of(36)[:33].T.tocoo()
    lines = [f"{i + 1} {j + 1} {v}" for i, j, v in zip(counts.row, counts.col, counts.data, strict=True)]
    head = ["%%MatrixMarket matrix coordinate integer general", f"6 33 {counts.nnz}"]
    (three / "matrix.mtx").write_text("\n".join([*head, *lines]) + "\n")
    (three / "barcodes.tsv").write_text("".join(f"cellid_{number:09d}-1\n" for number in range(1, 34)))
    (three / "features.tsv").write_text("".join(f"ENSG{k}\tG{k}\tGene Expression\n" for k in range(6)))
    path = folder / "cell_segmentations.geojson"
    (folder / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    ingested = read_spaceranger(folder, "s")
    np.testing.assert_array_equal(ingested.adata.X.toarray(), counts_of(36).toarray()[np.array(KEPT) - 1])


def test_numbers_of_cells_spelt_as_in_the_matrix(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    path = folder / "cell_segmentations.geojson"
    content = json.loads(path.read_text())
    for feature in content["features"]:
        feature["properties"]["cell_id"] = f"cellid_{feature['properties']['cell_id']:09d}-1"
    path.write_text(json.dumps(content))
    assert_cells(read_spaceranger(folder, "s"))


def test_the_raw_matrix_of_cells_is_taken_with_a_warning(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    (folder / "filtered_feature_cell_matrix.h5").unlink()
    ingested = read_spaceranger(folder, "s")
    assert ingested.adata.n_obs == 34
    assert "no filtered matrix of cells: took all of the raw one" in warnings_of(ingested)


def test_without_the_size_of_a_pixel_areas_and_lengths_stay_unknown(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    (folder / "spatial/scalefactors_json.json").write_text('{"tissue_lowres_scalef": 0.05}')
    ingested = read_spaceranger(folder, "s")
    assert np.isnan(ingested.adata.uns["mmsrl"]["pitch_um"]) and "area_um2" not in ingested.adata.obs
    assert any("of unknown scale" in text for text in warnings_of(ingested))


def test_two_cells_at_one_place_are_said(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    counts = np.vstack([counts_of(36).toarray()] * 5)
    write_h5_v3(folder / "filtered_feature_cell_matrix.h5", counts, [f"cellid_{k:09d}-1" for k in range(1, 181)])
    content = cell_outlines(range(1, 181))
    content["features"][7]["geometry"] = content["features"][8]["geometry"]
    (folder / "cell_segmentations.geojson").write_text(json.dumps(content))
    ingested = read_spaceranger(folder, "s")
    assert ingested.adata.n_obs == 180
    assert "1 of 180 spots have the coordinates of another" in warnings_of(ingested)[0]


def test_parts_of_a_cell_and_holes_count(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    content = cell_outlines(range(1, 37))
    ring = content["features"][0]["geometry"]["coordinates"][0]
    (x, y), hole = place_of_cell(1), []
    hole = [[x + dx, y + dy] for dx, dy in ((-5, -5), (-5, 5), (5, 5), (5, -5), (-5, -5))]
    away = [[px + 100, py] for px, py in ring]
    content["features"][0]["geometry"] = {"type": "MultiPolygon", "coordinates": [[ring, hole], [away]]}
    content["features"][1]["geometry"] = None
    (folder / "cell_segmentations.geojson").write_text(json.dumps(content))
    ingested = read_spaceranger(folder, "s")
    assert ingested.adata.obs["area_um2"].iloc[0] == pytest.approx((400 - 100 + 400) * 0.25**2)
    assert ingested.adata.n_obs == 32 and "cellid_000000002-1" not in ingested.adata.obs_names


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cell_segmentations.geojson: not GeoJSON, or damaged"),
        (json.dumps(cell_outlines(range(1, 9)))[:-40], "cell_segmentations.geojson: not GeoJSON, or damaged"),
        (json.dumps(cell_outlines([])), "has no polygons with `cell_id`"),
        (json.dumps(cell_outlines([1, 2, 2])), "has cell 2 more than once"),
        (json.dumps(cell_outlines([98, 99])), "has none of the 33 cells of the matrix, .*are both of the same section"),
    ],
)
def test_outlines_that_are_not_those_of_the_cells(tmp_path, content, message):
    folder = segmented(tmp_path / "segmented_outputs")
    (folder / "cell_segmentations.geojson").write_text(content)
    with pytest.raises(InputError, match=f"sample s: .*{message}"):
        read_spaceranger(folder, "s")


def test_without_geopandas_both_say_what_to_install(tmp_path, monkeypatch):
    folder = segmented(tmp_path / "segmented_outputs")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for read in (lambda: read_spaceranger(folder, "s"), lambda: look.check(folder, None, 100)):
        with pytest.raises(InputError, match=r"run pip install 'mmsrl\[spatialdata\]'"):
            read()


def test_cells_without_outlines_or_of_other_names(tmp_path):
    folder = segmented(tmp_path / "segmented_outputs")
    write_h5_v3(folder / "filtered_feature_cell_matrix.h5", counts_of(3), ["a-1", "b-1", "c-1"])
    with pytest.raises(InputError, match=r"barcodes such as 'cellid_000000001-1', but there is 'a-1'"):
        read_spaceranger(folder, "s")
    (folder / "cell_segmentations.geojson").unlink()
    with pytest.raises(InputError, match=r"but no positions .*, nor cell_segmentations\.geojson; copy the whole"):
        read_spaceranger(folder, "s")
