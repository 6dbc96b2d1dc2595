"""AnnData of any platform: raw counts are found wherever they are, and annotations do not come along."""

from pathlib import Path

import anndata
import h5py
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy import sparse

from mmsrl._errors import InputError
from mmsrl.ingest.api import read_h5ad
from mmsrl.ingest.cli import main

N, G = 40, 5


def section() -> anndata.AnnData:
    """Cells at irregular places, in micrometres, of no particular platform."""
    rng = np.random.default_rng(0)
    adata = anndata.AnnData(
        sparse.csr_matrix(rng.poisson(2.0, (N, G)).astype(np.float32)),
        obs=pd.DataFrame({"layer": ["L1", "L2"] * (N // 2)}, index=[f"cell{k}" for k in range(N)]),
        var=pd.DataFrame(index=["Gapdh", "Actb", "mt-Co1", "Rps3", "Hbb-bs"]),
    )
    adata.obsm["spatial"] = rng.random((N, 2)) * 100
    return adata


def written(adata: anndata.AnnData, folder: Path) -> Path:
    adata.write_h5ad(folder / "s.h5ad")
    return folder / "s.h5ad"


def test_internal_form(tmp_path):
    adata = section()
    ingested = read_h5ad(written(adata, tmp_path), "s")
    read = ingested.adata
    assert (read.X != adata.X).nnz == 0 and read.X.dtype == np.float32
    np.testing.assert_array_equal(read.obsm["spatial"], adata.obsm["spatial"])
    about = read.uns["mmsrl"]
    assert (about["platform"], about["lattice"], about["species"]) == ("other", "none", "mouse")
    assert np.isnan(about["pitch_um"]) and about["pitch_px"] > 0
    assert [entry["file"] for entry in ingested.inputs] == ["s.h5ad"]


def test_annotations_are_left_behind(tmp_path):
    assert list(read_h5ad(written(section(), tmp_path), "s").adata.obs) == ["in_tissue"]


@pytest.mark.parametrize("place", ["layers['counts']", "X", "raw.X"])
@pytest.mark.parametrize("form", [sparse.csr_matrix, sparse.csc_matrix, lambda matrix: matrix.toarray()])
def test_counts_are_found_in_any_place_and_form(tmp_path, place, form):
    adata, counts = section(), section().X
    normalised = counts.copy()
    normalised.data = np.log1p(normalised.data)
    adata.X = form(normalised)
    if place == "raw.X":
        raw = section()
        raw.X = form(counts)
        adata.raw = raw
        adata = adata[:, :3].copy()
    elif place == "X":
        adata.X = form(counts)
    else:
        adata.layers["counts"] = form(counts)
    ingested = read_h5ad(written(adata, tmp_path), "s")
    assert (ingested.adata.X != counts).nnz == 0
    more = ", which has 5 genes (X has 3)" if place == "raw.X" else ""
    assert ingested.messages[0]["text"] == f"raw counts from {place}{more}"


def test_ensembl_ids_give_way_to_symbols(tmp_path):
    adata = section()
    adata.var["feature_name"] = pd.Categorical(["Gapdh", "Actb", None, "Rps3", "Rps3"])
    adata.var_names = [f"ENSMUSG0000000000{k}" for k in range(G)]
    var = read_h5ad(written(adata, tmp_path), "s").adata.var
    assert list(var.index) == [
        "Gapdh",
        "Actb",
        "ENSMUSG00000000002",
        "Rps3-ENSMUSG00000000003",
        "Rps3-ENSMUSG00000000004",
    ]
    assert list(var["gene_ids"]) == list(adata.var_names)


def test_legacy_barcodes_give_the_array_position(tmp_path):
    row, col = (index.ravel() for index in np.mgrid[:5, :8])
    adata = section()
    adata.obs_names = [f"{c}x{r}" for r, c in zip(row, col, strict=True)]
    # Spots of its printed arrays were found in a picture.
    adata.obsm["spatial"] = np.column_stack([col, row]) * 300.0 + np.random.default_rng(0).normal(0, 15, (len(row), 2))
    read = read_h5ad(written(adata, tmp_path), "s").adata
    assert (read.uns["mmsrl"]["platform"], read.uns["mmsrl"]["lattice"]) == ("st", "square")
    np.testing.assert_array_equal(read.obs["array_row"], row)
    np.testing.assert_array_equal(read.obs["array_col"], col)


def test_images_of_the_sample(tmp_path):
    adata = section()
    entry = {"images": {"hires": np.full((4, 6, 3), 0.2)}, "scalefactors": {"tissue_hires_scalef": 0.5}}
    adata.uns["spatial"] = {"lib": entry}
    library = read_h5ad(written(adata, tmp_path), "s").adata.uns["spatial"]["s"]
    assert library["images"]["hires"].dtype == np.uint8 and library["images"]["hires"][0, 0, 0] == 51
    assert library["scalefactors"] == {"tissue_hires_scalef": 0.5}

    adata.uns["spatial"]["other"] = entry
    ingested = read_h5ad(written(adata, tmp_path), "s")
    assert ingested.adata.uns["spatial"]["s"]["images"] == {}
    assert any("images of lib, other, none named s" in message["text"] for message in ingested.messages)
    assert read_h5ad(written(adata, tmp_path), "other").adata.uns["spatial"]["other"]["images"]

    adata.uns["spatial"] = entry  # without a name
    assert read_h5ad(written(adata, tmp_path), "s").adata.uns["spatial"]["s"]["images"]

    adata.uns["spatial"] = {"lib": entry, "other": entry}
    del adata.uns["spatial"]["other"]
    adata.uns["spatial"]["is_single"] = True  # as CELLxGENE's schema has it
    assert read_h5ad(written(adata, tmp_path), "s").adata.uns["spatial"]["s"]["images"]


def test_metadata_of_an_unknown_type_beside_images(tmp_path):
    adata = section()
    adata.uns["spatial"] = {"lib": {"images": {}, "scalefactors": {"spot_diameter_fullres": 7.0}, "metadata": "of R"}}
    path = written(adata, tmp_path)
    with h5py.File(path, "r+") as file:
        file["uns/spatial/lib/metadata"].attrs["encoding-type"] = "of another program"
    assert read_h5ad(path, "s").adata.uns["spatial"]["s"]["scalefactors"] == {"spot_diameter_fullres": 7.0}


def test_coordinates_in_a_data_frame(tmp_path):
    adata = section()
    expected = adata.obsm["spatial"]
    adata.obsm["spatial"] = pd.DataFrame(expected, columns=["x", "y"], index=adata.obs_names)
    np.testing.assert_array_equal(read_h5ad(written(adata, tmp_path), "s").adata.obsm["spatial"], expected)


def test_columns_without_any_value_are_left_out_and_said(tmp_path):
    adata = section()
    adata.obs[["in_tissue", "array_row", "array_col"]] = np.nan
    ingested = read_h5ad(written(adata, tmp_path), "s")
    assert list(ingested.adata.obs) == ["in_tissue"] and (ingested.adata.obs["in_tissue"] == 1).all()
    text = "obs['in_tissue'] and obs['array_row'] and obs['array_col'] left out: no spot has a value"
    assert {"level": "info", "text": text} in ingested.messages


def test_few_cells_at_one_place_are_a_warning_many_an_error(tmp_path):
    adata = anndata.concat([section() for _ in range(5)], index_unique="_")
    adata.obsm["spatial"] = np.random.default_rng(0).random((5 * N, 2))
    adata.obsm["spatial"][1] = adata.obsm["spatial"][0]
    messages = read_h5ad(written(adata, tmp_path), "s").messages
    assert {"level": "warning", "text": next(m["text"] for m in messages if "1 of 200 spots" in m["text"])} in messages
    adata.obsm["spatial"][N:] = np.tile(adata.obsm["spatial"][:N], (4, 1))
    with pytest.raises(InputError, match="161 of 200 spots have the coordinates of another.*each section a row"):
        read_h5ad(written(adata, tmp_path), "s")


def test_sections_joined_in_one_file_are_told_by_their_array(tmp_path):
    adata = anndata.concat([section() for _ in range(3)], index_unique="_")
    # No section lies exactly on another.
    adata.obsm["spatial"] = np.random.default_rng(0).random((3 * N, 2))
    adata.obs["array_row"], adata.obs["array_col"] = np.tile(np.arange(N), 3), 7
    with pytest.raises(InputError, match="80 of 120 spots have the array row and column of another.*several sections"):
        read_h5ad(written(adata, tmp_path), "s")
    adata.obs["array_row"] = 7  # says nothing
    assert read_h5ad(written(adata, tmp_path), "s").adata.n_obs == 3 * N


def without_spatial(adata):
    adata.obsm["X_umap"] = adata.obsm.pop("spatial")


def three_dimensional(adata):
    adata.obsm["spatial"] = np.random.default_rng(1).random((N, 3))


def lost(adata):
    adata.obsm["spatial"][3] = np.nan


def same_names(adata):
    adata.obs_names = ["a"] * N


def three_columns(adata):
    adata.obsm["spatial"] = pd.DataFrame(np.random.default_rng(1).random((N, 3)), adata.obs_names, ["x", "y", "z"])


def half_array(adata):
    adata.obs["array_row"] = [1.0] * (N - 1) + [np.nan]
    adata.obs["array_col"] = 1


def odd_array(adata):
    adata.obs["array_row"] = "x"
    adata.obs["array_col"] = 1


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (without_spatial, r"no obsm\['spatial'\] \(obsm has X_umap\)"),
        (three_dimensional, r"shape \(40, 3\)"),
        (three_columns, r"shape \(40, 3\)"),
        (half_array, r"obs\['array_row'\] of 'cell39' is 'nan', not whole; give all spots a whole number, or remove"),
        (lost, "1 of 40 spots have no finite coordinates, e.g. 'cell3'"),
        (same_names, "39 barcodes come more than once, e.g. 'a'"),
        (odd_array, r"obs\['array_row'\] of 'cell0' is 'x', not whole"),
    ],
)
def test_unusable_content_is_named(tmp_path, spoil, message):
    adata = section()
    spoil(adata)
    with pytest.raises(InputError, match=message) as raised:
        read_h5ad(written(adata, tmp_path), "s", expression="counts")
    assert str(raised.value).startswith("sample s: s.h5ad")


def test_damaged_or_foreign_files(tmp_path):
    path = written(section(), tmp_path)
    whole = path.read_bytes()
    for content in (b"", b"text", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"s\.h5ad: (not HDF5, or truncated|damaged AnnData)"):
            read_h5ad(path, "s")
    with h5py.File(path, "w") as file:
        file["matrix"] = [1]
    with pytest.raises(InputError, match="HDF5, but no AnnData"):
        read_h5ad(path, "s")
    with pytest.raises(InputError, match="no such file"):
        read_h5ad(tmp_path / "missing.h5ad", "s")


def test_no_spots_and_no_matrix(tmp_path):
    with pytest.raises(InputError, match="empty, 0 spots x 5 genes"):
        read_h5ad(written(section()[:0].copy(), tmp_path), "s")
    adata = section()
    del adata.X
    with pytest.raises(InputError, match="has no matrix of expression"):
        read_h5ad(written(adata, tmp_path), "s")


def test_what_ingest_wrote_reads_back_the_same(tmp_path):
    path = written(section(), tmp_path)
    for source, target in ((path, "one"), (tmp_path / "one" / "s.ingest.h5ad", "two")):
        arguments = ["--id", "s", "--h5ad", str(source), "--output-dir", str(tmp_path / target)]
        assert CliRunner().invoke(main, arguments).exit_code == 0
    one, two = (anndata.read_h5ad(tmp_path / target / "s.ingest.h5ad") for target in ("one", "two"))
    assert (one.X != two.X).nnz == 0 and one.obs.equals(two.obs) and one.var.equals(two.var)
    assert one.uns["mmsrl"].keys() == two.uns["mmsrl"].keys()
    assert one.uns["mmsrl"]["pitch_px"] == two.uns["mmsrl"]["pitch_px"]


def test_bin_size_is_not_for_h5ad(tmp_path):
    done = CliRunner().invoke(main, ["--id", "s", "--h5ad", "s.h5ad", "--bin-size", "8"])
    assert done.exit_code == 2 and "an .h5ad holds one size" in done.stderr


def test_genes_of_no_stated_type_are_genes(tmp_path):
    adata = section()
    kinds = ["Gene Expression", "gene expression", None, "Antibody Capture"]
    adata.var["feature_types"] = (kinds * adata.n_vars)[: adata.n_vars]
    found = read_h5ad(written(adata, tmp_path), "s")
    kept = adata.var_names[adata.var["feature_types"] != "Antibody Capture"]
    assert found.adata.var_names.tolist() == kept.tolist()
