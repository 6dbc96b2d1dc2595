"""What is stated counts; what a file says is found with its reason; a scale that nothing tells is asked for."""

from __future__ import annotations

import json
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from spaceranger import hexagonal, square

from mmsrl._errors import InputError
from mmsrl._platforms import PLATFORMS
from mmsrl.ingest.api import Ingested, read_h5ad
from mmsrl.ingest.cleaning import CONTROLS

GENES = ["Gapdh", "Actb", "mt-Co1", "Rps3", "Ercc1"]


def section(names: list[str], spatial: np.ndarray, genes: list[str] = GENES) -> anndata.AnnData:
    counts = np.random.default_rng(0).poisson(3.0, (len(names), len(genes))) + 1
    adata = anndata.AnnData(
        sparse.csr_matrix(counts.astype(np.float32)), obs=pd.DataFrame(index=names), var=pd.DataFrame(index=genes)
    )
    adata.obsm["spatial"] = np.asarray(spatial, dtype=float)
    return adata


def cells(n: int = 300, side: float = 1000.0) -> anndata.AnnData:
    return section([f"cell{k}" for k in range(n)], np.random.default_rng(1).random((n, 2)) * side)


def grid(n: int, pitch: float = 1.0) -> anndata.AnnData:
    """Spots on a square grid with their numbers, from 1, for names."""
    row, col = (index.ravel() + 1 for index in np.mgrid[:n, :n])
    places = np.column_stack([col, row])
    return section([f"{c}x{r}" for c, r in places], places * pitch)


def read(adata: anndata.AnnData, folder: Path, **stated) -> Ingested:
    adata.write_h5ad(folder / "s.h5ad")
    return read_h5ad(folder / "s.h5ad", "s", **stated)


def about(ingested: Ingested) -> tuple[str, float]:
    found = ingested.adata.uns["mmsrl"]
    return found["platform"], found["pitch_um"]


def asked(ingested: Ingested) -> list[str]:
    return [m["text"] for m in ingested.messages if m["level"] == "warning" and "of unknown scale" in m["text"]]


def test_cells_named_after_their_coordinates_are_on_no_grid(tmp_path):
    adata = cells()
    adata.obsm["spatial"][1] = adata.obsm["spatial"][0] + 1  # names one step apart are no neighbours on an array
    adata.obs_names = [f"{x:.0f}x{y:.0f}" for x, y in adata.obsm["spatial"]]
    ingested = read(adata, tmp_path)
    platform, pitch_um = about(ingested)
    assert platform == "other" and np.isnan(pitch_um)
    assert ingested.adata.uns["mmsrl"]["lattice"] == "none"
    assert "array_row" not in ingested.adata.obs
    assert len(asked(ingested)) == 1
    assert "not the places of spots on a grid" in asked(ingested)[0]
    assert "give platform, pitch_um or um_per_px" in asked(ingested)[0]


@pytest.mark.parametrize("pitch", [1.0, 37.0])
def test_a_grid_larger_than_legacy_arrays_has_no_scale_until_it_is_given(tmp_path, pitch):
    adata = grid(50, pitch)
    ingested = read(adata, tmp_path)
    platform, pitch_um = about(ingested)
    assert platform == "other" and np.isnan(pitch_um) and "array_row" in ingested.adata.obs
    assert len(asked(ingested)) == 1 and "square grid of 50" in asked(ingested)[0]
    stated = read(adata, tmp_path, platform="dbit", pitch_um=20.0)
    assert about(stated) == ("dbit", 20.0) and not asked(stated)
    assert stated.adata.uns["mmsrl"]["um_per_px"] == pytest.approx(20 / pitch)


def test_a_grid_as_large_as_legacy_arrays_is_not_theirs_without_a_sign(tmp_path):
    adata = grid(33, 290.0)
    ingested = read(adata, tmp_path)
    assert ingested.adata.uns["mmsrl"]["platform"] == "other" and "array_row" in ingested.adata.obs
    assert len(asked(ingested)) == 1
    assert "both legacy Spatial Transcriptomics, 200 µm apart, and DBiT-seq, 20 to 100 µm, have" in asked(ingested)[0]
    assert about(read(adata, tmp_path, platform="st")) == ("st", 200.0)
    stated = read(adata, tmp_path, platform="dbit")
    assert stated.adata.uns["mmsrl"]["platform"] == "dbit" and len(asked(stated)) == 1
    assert "give pitch_um or um_per_px" in asked(stated)[0]


@pytest.mark.parametrize("form", ["{}_1", "A1_{}", "A1-{}-2"])
def test_places_on_a_grid_may_carry_a_section(tmp_path, form):
    adata = grid(20, 290.0)
    adata.obsm["spatial"] += np.random.default_rng(0).normal(0, 10, (400, 2))
    adata.obs_names = [form.format(name) for name in adata.obs_names]
    ingested = read(adata, tmp_path)
    assert about(ingested) == ("st", 200.0) and ingested.adata.obs["array_col"].max() == 20


@pytest.mark.parametrize("sign", ["measured names", "found in a picture", "half as wide"])
def test_a_small_grid_is_legacy_by_a_sign(tmp_path, sign):
    adata = grid(33, 290.0)
    away = np.random.default_rng(0).normal(0, 0.03, (len(adata), 2))
    if sign == "half as wide":
        adata.uns["spatial"] = {"s": {"images": {}, "scalefactors": {"spot_diameter_fullres": 147.0}}}
    else:
        adata.obsm["spatial"] += 290 * away
    if sign == "measured names":
        adata.obs_names = [f"{x / 290:.3f}x{y / 290:.3f}" for x, y in adata.obsm["spatial"]]
    ingested = read(adata, tmp_path)
    assert about(ingested) == ("st", 200.0) and not asked(ingested)


def test_rounded_pixels_are_no_sign_of_spots_found_in_a_picture(tmp_path):
    adata = grid(30)
    adata.obsm["spatial"] = np.round(adata.obsm["spatial"] * 10.3 + 4.7)
    assert about(read(adata, tmp_path))[0] == "other"


def test_legacy_barcodes_on_a_small_square_grid(tmp_path):
    adata = grid(20)
    rng = np.random.default_rng(0)
    adata.obs_names = ["".join(rng.choice(list("ACGT"), 18)) for _ in range(400)]
    adata.obsm["spatial"] += rng.normal(0, 0.03, (400, 2))
    assert about(read(adata, tmp_path)) == ("st", 200.0)


@pytest.mark.parametrize("form", ["{}-sampleA", "{}_2", "sampleA_{}", "{}"])
def test_barcodes_of_visium_may_carry_a_section(tmp_path, form):
    table = hexagonal()
    spatial = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    ingested = read(section([form.format(name) for name in table["barcode"]], spatial), tmp_path)
    assert about(ingested) == ("visium", 100.0)
    assert any("barcodes of 16 bases on a hexagonal lattice" in m["text"] for m in ingested.messages)


@pytest.mark.parametrize("form", ["{}-sampleA", "{}"])
def test_bins_are_as_large_as_their_names_say(tmp_path, form):
    table = square()
    spatial = table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()
    assert about(read(section([form.format(name) for name in table["barcode"]], spatial), tmp_path)) == (
        "visium_hd",
        16.0,
    )


def test_centroids_of_xenium_are_micrometres(tmp_path):
    adata = cells()
    adata.obs[["x_centroid", "y_centroid"]] = adata.obsm["spatial"]
    found = read(adata, tmp_path).adata.uns["mmsrl"]
    assert (found["platform"], found["lattice"], found["um_per_px"]) == ("xenium", "none", 1.0)
    assert found["pitch_um"] == found["pitch_px"]
    adata.obsm["spatial"] = adata.obsm["spatial"] / 0.2125  # pixels: the columns no longer tell
    ingested = read(adata, tmp_path, platform="xenium")
    assert len(asked(ingested)) == 1 and np.isnan(about(ingested)[1])
    scaled = read(adata, tmp_path, platform="xenium", um_per_px=0.2125)
    assert about(scaled)[1] == pytest.approx(found["pitch_um"])


def test_microns_per_pixel_counts_on_every_platform(tmp_path):
    adata = cells()
    adata.uns["spatial"] = {"s": {"images": {}, "scalefactors": {"microns_per_pixel": 0.5}}}
    found = read(adata, tmp_path).adata.uns["mmsrl"]
    assert found["platform"] == "other" and found["pitch_um"] == pytest.approx(found["pitch_px"] / 2)
    assert about(read(adata, tmp_path, um_per_px=2.0))[1] == pytest.approx(2 * found["pitch_px"])


def test_what_is_stated_is_not_overruled_but_a_difference_is_said(tmp_path):
    table = hexagonal()
    adata = section(list(table["barcode"]), table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy())
    ingested = read(adata, tmp_path, platform="stereoseq", pitch_um=25.0)
    assert about(ingested) == ("stereoseq", 25.0)
    assert any("this looks like visium" in m["text"] for m in ingested.messages)


def test_pitch_and_scale_must_agree(tmp_path):
    adata = grid(50, 10.0)
    assert about(read(adata, tmp_path, pitch_um=20.5, um_per_px=2.0))[1] == 20.5
    with pytest.raises(InputError, match="sample s: pitch_um 40 and um_per_px 2 contradict each other.*20 µm; correct"):
        read(adata, tmp_path, pitch_um=40.0, um_per_px=2.0)


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"platform": "geomx"}, "sample s: platform 'geomx' is not one of visium, "),
        ({"pitch_um": 0.0}, "sample s: pitch_um 0.0 must be a number of micrometres above 0"),
        ({"um_per_px": float("nan")}, "sample s: um_per_px nan must be"),
    ],
)
def test_what_is_stated_must_make_sense(tmp_path, stated, message):
    with pytest.raises(InputError, match=message):
        read(cells(), tmp_path, **stated)


def test_cells_held_twice_are_kept_once(tmp_path):
    adata = cells()
    doubled = anndata.concat([adata, adata[:20]], index_unique="-")
    doubled.obsm["spatial"][5] = doubled.obsm["spatial"][4]  # one place, but counts of its own
    ingested = read(doubled, tmp_path)
    assert list(ingested.adata.obs_names) == [f"{name}-0" for name in adata.obs_names] + ["cell5-1"]
    assert any(
        "19 of 320 cells duplicate the coordinates and counts of another" in m["text"] for m in ingested.messages
    )


def test_control_features_are_left_out_and_counted(tmp_path):
    names = ["Blank-1", "BLANK_0003", "NegControlProbe_00042", "NegPrb3", "SystemControl7", "antisense_PROK2"]
    names += ["DeprecatedCodeword_0321", "UnassignedCodeword_0006", "ERCC-00002", "negcontrolcodeword_0500"]
    adata = section([f"cell{k}" for k in range(300)], cells().obsm["spatial"], GENES + names)
    ingested = read(adata, tmp_path)
    assert list(ingested.adata.var_names) == GENES
    np.testing.assert_array_equal(ingested.adata.obs["control_counts"], adata.X[:, 5:].sum(axis=1).A1)
    assert any("10 control features left out, by their names" in m["text"] for m in ingested.messages)
    assert not any(CONTROLS.match(gene) for gene in ("ERCC1", "Ercc6l2", "Blnk", "BLANKET1", "Negr1"))


def test_controls_with_a_type_are_counted_too(tmp_path):
    adata = cells()
    adata.var["feature_types"] = ["Gene Expression"] * 3 + ["Negative Control Probe", "Protein Expression"]
    read_back = read(adata, tmp_path).adata
    np.testing.assert_array_equal(read_back.obs["control_counts"], adata.X[:, [3]].toarray().ravel())


def test_lost_coordinates_are_said(tmp_path):
    adata = cells()
    adata.obsm["spatial"] += 5000
    assert not [m for m in read(adata, tmp_path).messages if "coordinate of 0" in m["text"]]
    adata.obsm["spatial"][7] = 0
    said = [m["text"] for m in read(adata, tmp_path).messages if "coordinate of 0" in m["text"]]
    assert len(said) == 1 and "1 spots" in said[0] and "'cell7'" in said[0]


def test_the_schema_names_the_same_platforms():
    schema = json.loads((Path(__file__).parents[2] / "assets/schema_input.json").read_text(encoding="utf-8"))
    rule = schema["items"]["properties"]["platform"]
    assert rule["enum"] == list(PLATFORMS)
    assert ", ".join(PLATFORMS) in rule["errorMessage"]
    usage = (Path(__file__).parents[2] / "docs/usage.md").read_text(encoding="utf-8")
    assert ", ".join(f"`{name}`" for name in PLATFORMS) in usage


def test_bins_of_stereo_seq_are_told_by_their_names(tmp_path):
    x, y = (50 * index.ravel() for index in np.mgrid[:12, :12])
    adata = section([str((a << 32) + b) for a, b in zip(x.tolist(), y.tolist(), strict=True)], np.column_stack([x, y]))
    assert about(read(adata, tmp_path)) == ("stereoseq", 25.0)
    assert about(read(adata, tmp_path, um_per_px=0.715))[1] == pytest.approx(35.75)
    adata.obsm["spatial"][40, 0] += 1
    assert about(read(adata, tmp_path))[0] == "other"


def test_segmented_cells_of_visium_hd_have_the_scale_of_their_pixels(tmp_path):
    adata = cells()
    adata.obs_names = [f"cellid_{k:09d}-1" for k in range(300)]
    adata.uns["spatial"] = {"s": {"images": {}, "scalefactors": {"microns_per_pixel": 0.274}}}
    ingested = read(adata, tmp_path)
    found = ingested.adata.uns["mmsrl"]
    assert (found["platform"], found["um_per_px"]) == ("visium_hd", pytest.approx(0.274))
    assert not [m for m in ingested.messages if m["level"] == "warning"]


@pytest.mark.parametrize("known", ["microns_per_pixel", "spot_diameter_fullres"])
def test_cells_made_of_bins_are_not_as_far_apart_as_bins(tmp_path, known):
    adata = cells()
    factors = {"bin_size_um": 2.0, known: 0.25 if known == "microns_per_pixel" else 8.0}
    adata.uns["spatial"] = {"s": {"images": {}, "scalefactors": factors}}
    ingested = read(adata, tmp_path)
    found = ingested.adata.uns["mmsrl"]
    assert (found["platform"], found["um_per_px"]) == ("visium_hd", pytest.approx(0.25))
    assert not [m for m in ingested.messages if m["level"] == "warning"]


def test_barcodes_of_visium_on_a_square_lattice_are_told(tmp_path):
    table = hexagonal(12, 12)
    adata = section(list(table["barcode"]), np.column_stack(np.divmod(np.arange(144), 12)) * 50.0)
    ingested = read(adata, tmp_path)
    assert ingested.adata.uns["mmsrl"]["platform"] == "other"
    told = [m["text"] for m in ingested.messages if "16 bases, as in Visium, but spots lie on a square" in m["text"]]
    assert len(told) == 1 and "give platform and pitch_um" in told[0]
    stated = read(adata, tmp_path, platform="dbit", pitch_um=50.0)
    assert not [m for m in stated.messages if "as in Visium" in m["text"]]


def test_measured_places_on_the_array_are_rounded(tmp_path):
    row, col = (index.ravel() + 1.0 for index in np.mgrid[:12, :12])
    places = np.column_stack([col, row]) + np.random.default_rng(0).normal(0, 0.05, (144, 2))
    adata = section([f"spot{k}" for k in range(144)], places * 290)
    adata.obs["array_col"], adata.obs["array_row"] = places.T
    ingested = read(adata, tmp_path)
    np.testing.assert_array_equal(ingested.adata.obs["array_row"], row)
    assert any("measured places" in m["text"] for m in ingested.messages)
    adata.obs["array_row"] += 0.5
    with pytest.raises(InputError, match="not whole"):
        read(adata, tmp_path)


def test_rows_and_columns_for_coordinates_leave_images_out(tmp_path):
    table = hexagonal(70, 60)
    adata = section(list(table["barcode"]), table[["array_col", "array_row"]].to_numpy())
    picture = np.full((100, 100, 3), 200, np.uint8)
    factors = {"tissue_hires_scalef": 0.1, "spot_diameter_fullres": 90.0}
    adata.uns["spatial"] = {"s": {"images": {"hires": picture}, "scalefactors": factors}}
    ingested = read(adata, tmp_path)
    assert about(ingested) == ("visium", 100.0)
    found = ingested.adata.uns["mmsrl"]
    assert (found["lattice"], found["um_per_px"], found["spot_diameter_px"]) == (
        "hexagonal",
        pytest.approx(1.0),
        pytest.approx(65.0),
    )
    assert ingested.adata.uns["spatial"]["s"]["images"] == {}
    assert any("are rows and columns of the Visium array" in m["text"] for m in ingested.messages)


def test_fields_of_view_on_one_another_are_told(tmp_path):
    adata = cells()
    adata.obs["fov"] = np.arange(300) % 7
    told = [m for m in read(adata, tmp_path).messages if "7 fields of view that overlap" in m["text"]]
    assert len(told) == 1 and told[0]["level"] == "warning"


def test_a_scale_that_files_contradict_counts_and_is_told(tmp_path):
    adata = cells()
    adata.obs[["x_um", "y_um"]] = adata.obsm["spatial"]
    ingested = read(adata, tmp_path, um_per_px=0.5)
    found = ingested.adata.uns["mmsrl"]
    assert found["um_per_px"] == pytest.approx(0.5)
    told = [m["text"] for m in ingested.messages if "the value of the samplesheet is used" in m["text"]]
    assert len(told) == 1 and "x_um and y_um are in um by their names" in told[0]
    assert not [m for m in read(adata, tmp_path, um_per_px=1.05).messages if "samplesheet is used" in m["text"]]
