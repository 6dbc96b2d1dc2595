"""Every layout that Space Ranger writes ends in the same internal form; what is damaged ends in one clear message."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path

import anndata
import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import sparse
from section_folders import messages_of
from spaceranger import (
    GENES,
    PITCH,
    as_three_files,
    as_v2_h5,
    counts_of,
    cut,
    hexagonal,
    visium_hd,
    write_h5_v3,
    write_spatial,
)

from mmsrl._errors import InputError
from mmsrl.ingest import layout, species
from mmsrl.ingest.api import read_spaceranger
from mmsrl.ingest.cli import main
from mmsrl.ingest.positions import COLUMNS, read_positions


@pytest.fixture
def hd(tmp_path: Path) -> Path:
    """A Visium HD section with bins of 8 and 16 µm."""
    return visium_hd(tmp_path / "hd" / "outs")


def test_internal_form(outs):
    adata = read_spaceranger(outs, "s1").adata
    positions = hexagonal().set_index("barcode")
    assert sparse.isspmatrix_csr(adata.X) and adata.X.dtype == np.float32
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(30).toarray())
    assert list(adata.obs_names) == list(positions.index)
    np.testing.assert_array_equal(adata.obs["array_col"], positions["array_col"])
    np.testing.assert_allclose(adata.obsm["spatial"], positions[["pxl_col_in_fullres", "pxl_row_in_fullres"]])
    assert list(adata.var_names) == [
        "GAPDH",
        "TBCE-ENSG2",
        "TBCE-ENSG3",
        "MT-CO1",
        "NA",
        "ACTB",
    ]
    assert list(adata.var["gene_ids"]) == [gene for gene, _ in GENES]
    about = adata.uns["mmsrl"]
    assert (about["platform"], about["lattice"], about["species"]) == ("visium", "hexagonal", "human")
    assert about["pitch_px"] == pytest.approx(PITCH) and about["pitch_um"] == 100.0
    image = adata.uns["spatial"]["s1"]["images"]["lowres"]
    assert image.dtype == np.uint8 and image.shape == (60, 40, 3) and tuple(image[0, 0]) == (200, 100, 150)


def test_order_of_the_positions_does_not_matter(outs):
    expected = read_spaceranger(outs, "s").adata
    write_spatial(outs / "spatial", hexagonal().sample(frac=1, random_state=3))
    shuffled = read_spaceranger(outs, "s").adata
    np.testing.assert_array_equal(shuffled.obsm["spatial"], expected.obsm["spatial"])


@pytest.mark.parametrize(
    "change",
    [
        lambda outs: as_three_files(outs, packed=True, legacy=False),
        lambda outs: as_three_files(outs, packed=False, legacy=False),
        lambda outs: as_three_files(outs, packed=False, legacy=True),
        as_v2_h5,
        lambda outs: (
            (outs / "spatial" / "tissue_positions_list.csv").unlink()
            or write_spatial(outs / "spatial", hexagonal(), "v2")
        ),
    ],
    ids=["three files packed", "three files plain", "genes.tsv", "h5 version 2", "positions with header"],
)
def test_other_layouts_hold_the_same_section(outs, change):
    expected = read_spaceranger(outs, "s").adata
    change(outs)
    adata = read_spaceranger(outs, "s").adata
    assert (adata.X != expected.X).nnz == 0
    assert list(adata.var_names) == list(expected.var_names)
    np.testing.assert_array_equal(adata.obsm["spatial"], expected.obsm["spatial"])
    assert adata.uns["mmsrl"] == expected.uns["mmsrl"]


def test_windows_line_ends_and_byte_order_mark(outs):
    expected = read_spaceranger(outs, "s").adata
    (outs / "spatial" / "tissue_positions_list.csv").unlink()
    text = hexagonal().to_csv(index=False, lineterminator="\r\n")
    (outs / "spatial" / "tissue_positions.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    np.testing.assert_array_equal(read_spaceranger(outs, "s").adata.obsm["spatial"], expected.obsm["spatial"])


def test_parent_of_outs(outs):
    assert read_spaceranger(outs.parent, "s").adata.n_obs == 30


@pytest.mark.parametrize(
    ("given", "bin_size"),
    [
        ("", 16),
        ("..", 16),
        ("binned_outputs", 16),
        ("binned_outputs/square_016um", None),
        ("binned_outputs/square_016um", 16),
    ],
)
def test_visium_hd(hd, given, bin_size):
    adata = read_spaceranger((hd / given).resolve(), "s", bin_size=bin_size).adata
    about = adata.uns["mmsrl"]
    assert adata.obs_names[0] == "s_016um_00000_00000-1"
    assert (about["platform"], about["lattice"]) == ("visium_hd", "square")
    assert about["pitch_px"] == pytest.approx(50) and about["pitch_um"] == pytest.approx(16)


def test_only_bin_size_is_taken_and_said(hd):
    shutil.rmtree(hd / "binned_outputs" / "square_008um")
    ingested = read_spaceranger(hd, "s")
    assert ingested.adata.uns["mmsrl"]["pitch_um"] == pytest.approx(16)
    assert "took the only one, 16 µm" in messages_of(ingested)


@pytest.mark.parametrize(
    ("given", "bin_size", "message"),
    [
        ("", None, "bins of 8, 16 µm; say which"),
        ("", 2, r"no bins of 2 µm; there are bins of 8, 16 µm"),
        ("binned_outputs/square_016um", 8, "bin size 8 was asked for, but this is one folder of 16 µm bins"),
    ],
)
def test_wrong_bin_size(hd, given, bin_size, message):
    with pytest.raises(InputError, match=message):
        read_spaceranger(hd / given, "s", bin_size=bin_size)


def test_bin_size_without_bins(outs):
    with pytest.raises(InputError, match="no Visium HD output; leave bin_size empty"):
        read_spaceranger(outs, "s", bin_size=8)


def test_bins_and_resolution_that_disagree_are_reported(hd):
    path = hd / "binned_outputs" / "square_016um" / "spatial" / "scalefactors_json.json"
    path.write_text(json.dumps({"bin_size_um": 16.0, "microns_per_pixel": 1.0}))
    ingested = read_spaceranger(hd, "s", bin_size=16)
    assert "50.00 µm apart by their coordinates, but 16 µm by their name" in messages_of(ingested)


def images_once(outs: Path, kind: str) -> None:
    """Lay images as Space Ranger does since 3.0.1: in `outs/spatial`, with links to them or nothing in the bins."""
    found = list(outs.glob("binned_outputs/*/spatial/tissue_lowres_image.png"))
    (outs / "spatial").mkdir()
    shutil.copy(found[0], outs / "spatial")
    for image in found:
        image.unlink()
        if kind == "symbolic link":
            image.symlink_to(f"../../../spatial/{image.name}")
        elif kind == "hard link":
            image.hardlink_to(outs / "spatial" / image.name)
        elif kind == "lost link":
            image.symlink_to(f"../../gone/{image.name}")


@pytest.mark.parametrize("kind", ["symbolic link", "hard link", "lost link", "nothing"])
@pytest.mark.parametrize("given", ["", "binned_outputs", "binned_outputs/square_016um", "hd.tar", "hd.tar.gz"])
def test_images_of_visium_hd_that_lie_once_for_all_bins(hd, tmp_path, kind, given):
    images_once(hd, kind)
    path = hd / given
    if ".tar" in given:
        path = tmp_path / given
        with tarfile.open(path, "w:gz" if given.endswith("gz") else "w") as tar:
            tar.add(hd, arcname="outs")
    ingested = read_spaceranger(path, "s", bin_size=16)
    assert tuple(ingested.adata.uns["spatial"]["s"]["images"]["lowres"][0, 0]) == (200, 100, 150)
    if given == "" and kind == "nothing":
        assert "spatial/tissue_lowres_image.png" in {entry["file"] for entry in ingested.inputs}


def test_an_image_beside_bins_that_are_not_of_space_ranger_is_not_theirs(hd, tmp_path):
    images_once(hd, "nothing")
    shutil.copytree(hd / "binned_outputs" / "square_016um", tmp_path / "mine" / "bins" / "square_016um")
    shutil.copytree(hd / "spatial", tmp_path / "mine" / "spatial")
    messages = read_spaceranger(tmp_path / "mine" / "bins" / "square_016um", "s").messages
    lost = [message for message in messages if "no tissue image" in message["text"]]
    assert [message["level"] for message in lost] == ["warning"]
    assert "though the scale factors have tissue_lowres_scalef; copy it too" in lost[0]["text"]


def test_legacy_square_grid(outs):
    row, col = (index.ravel() for index in np.mgrid[:5, :6])
    jitter = np.random.default_rng(0).normal(0, 8, (2, 30))
    positions = hexagonal().assign(
        barcode=[f"{c}x{r}" for r, c in zip(row, col, strict=True)], array_row=row, array_col=col
    )
    positions["pxl_row_in_fullres"], positions["pxl_col_in_fullres"] = row * 200 + jitter[0], col * 200 + jitter[1]
    write_spatial(outs / "spatial", positions, factors={"tissue_lowres_scalef": 0.05})
    write_h5_v3(outs / "filtered_feature_bc_matrix.h5", counts_of(30), positions["barcode"])
    about = read_spaceranger(outs, "s").adata.uns["mmsrl"]
    assert (about["platform"], about["lattice"], about["pitch_um"]) == ("st", "square", 200.0)
    assert about["pitch_px"] == pytest.approx(200, rel=0.02)
    assert about["spot_diameter_px"] == pytest.approx(about["pitch_px"] / 2)


def test_several_genomes_are_kept(outs):
    genes = [("GRCh38_ENSG1", "GRCh38_GAPDH"), ("GRCh38_ENSG4", "GRCh38_MT-CO1"), ("mm10_ENSMUSG1", "mm10_Gapdh")]
    counts = np.tile([5, 5, 1], (30, 1))
    barcodes = hexagonal()["barcode"]
    write_h5_v3(outs / "filtered_feature_bc_matrix.h5", counts, barcodes, genes, genomes=["GRCh38", "GRCh38", "mm10"])
    ingested = read_spaceranger(outs, "s")
    assert list(ingested.adata.var["genome"]) == ["GRCh38", "GRCh38", "mm10"]
    assert ingested.adata.uns["mmsrl"]["species"] == "human"
    assert "several genomes (GRCh38, mm10)" in messages_of(ingested)


def test_other_features_than_genes_are_left_out(outs):
    types = ["Gene Expression"] * 4 + ["Antibody Capture"] * 2
    write_h5_v3(outs / "filtered_feature_bc_matrix.h5", counts_of(30), hexagonal()["barcode"], types=types)
    ingested = read_spaceranger(outs, "s")
    assert ingested.adata.n_vars == 4
    assert "left out: 2 Antibody Capture" in messages_of(ingested)
    proteins = counts_of(30)[:, 4:].sum(axis=1).A1
    np.testing.assert_array_equal(ingested.adata.obs["protein_counts"], proteins)


def test_types_of_three_files(outs):
    as_three_files(outs, packed=False, legacy=False)
    path = outs / "filtered_feature_bc_matrix/features.tsv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:5], lines[5].replace("Gene Expression", "Antibody Capture")]) + "\n")
    read = read_spaceranger(outs, "s").adata
    assert read.n_vars == 5
    np.testing.assert_array_equal(read.obs["protein_counts"], counts_of(30)[:, 5].toarray().ravel())


def test_antibodies_in_three_files_without_types_are_told(outs):
    as_three_files(outs, packed=False, legacy=True)
    path = outs / "filtered_feature_bc_matrix/genes.tsv"
    path.write_text(path.read_text().replace("ENSG6\tACTB", "CD3E\tCD3E_TotalSeqB"))
    assert "1 features such as CD3E_TotalSeqB have no gene id" in messages_of(read_spaceranger(outs, "s"))


def test_raw_matrix_is_cut_to_the_tissue(outs):
    positions = hexagonal()
    positions.loc[positions.index % 2 == 0, "in_tissue"] = 0
    write_spatial(outs / "spatial", positions)
    (outs / "filtered_feature_bc_matrix.h5").rename(outs / "raw_feature_bc_matrix.h5")
    ingested = read_spaceranger(outs, "s")
    assert list(ingested.adata.obs_names) == list(positions["barcode"][1::2])
    assert "15 of 30 barcodes of the raw one" in messages_of(ingested)


def test_without_any_image_or_scale_factors(outs, tmp_path):
    (outs / "spatial" / "tissue_lowres_image.png").unlink()
    (outs / "spatial" / "scalefactors_json.json").unlink()
    ingested = read_spaceranger(outs, "s")
    assert "scalefactors_json.json is missing" in messages_of(ingested)
    assert {"level": "info", "text": "no tissue image (hires or lowres)"} in ingested.messages
    ingested.adata.write_h5ad(tmp_path / "s.h5ad")
    back = anndata.read_h5ad(tmp_path / "s.h5ad")
    assert back.uns["spatial"]["s"]["images"] == {}
    assert back.uns["mmsrl"]["spot_diameter_px"] == pytest.approx(0.65 * PITCH)


def test_image_without_scale_is_not_used(outs):
    (outs / "spatial" / "scalefactors_json.json").write_text('{"spot_diameter_fullres": 65}')
    ingested = read_spaceranger(outs, "s")
    assert ingested.adata.uns["spatial"]["s"]["images"] == {}
    assert "no tissue_lowres_scalef: the lowres image cannot be placed" in messages_of(ingested)


def test_scale_factors_of_another_image_are_noticed(outs):
    (outs / "spatial" / "scalefactors_json.json").write_text('{"spot_diameter_fullres": 20}')
    assert "are coordinates and scale factors of the same image?" in messages_of(read_spaceranger(outs, "s"))


def test_checksums_of_all_files_read(outs):
    inputs = read_spaceranger(outs, "s").inputs
    assert {entry["file"] for entry in inputs} == {
        "filtered_feature_bc_matrix.h5",
        *(
            f"spatial/{name}"
            for name in ("scalefactors_json.json", "tissue_lowres_image.png", "tissue_positions_list.csv")
        ),
    }
    for entry in inputs:
        content = (outs / entry["file"]).read_bytes()
        assert entry["sha256"] == hashlib.sha256(content).hexdigest() and entry["bytes"] == len(content)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(max_size=200) | st.text(alphabet="AC-1,.\"'\n\r;xé\x00 barcode_tsu", max_size=200).map(str.encode)
)
@pytest.mark.parametrize("name", ["tissue_positions.csv", "tissue_positions.parquet"])
def test_any_bytes_for_positions_end_in_a_table_or_one_message(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    try:
        table = read_positions(path).table
    except InputError as error:
        assert str(error).startswith(name)
    else:
        assert list(table.columns) == list(COLUMNS[1:]) and len(table) > 0


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_byte_in_the_matrix_never_ends_in_a_traceback(outs, data):
    path = outs / "filtered_feature_bc_matrix.h5"
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    path.write_bytes(whole[:at] + bytes([data.draw(st.integers(0, 255))]) + whole[at + 1 :])
    try:
        read_spaceranger(outs, "s")
    except InputError as error:
        assert str(error).startswith("sample s: ")
    finally:
        path.write_bytes(whole)


def test_folder_that_holds_nothing(tmp_path):
    with pytest.raises(InputError, match="give Space Ranger's `outs`"):
        layout.find_section(tmp_path, None)


@pytest.mark.parametrize(
    ("symbols", "ids", "genomes", "expected"),
    [
        (["GAPDH", "ACTB", "C1orf112"], ["", "", ""], ["", "", ""], "human"),
        (["Gapdh", "Actb", "1700001O22Rik"], ["", "", ""], ["", "", ""], "mouse"),
        (["GAPDH", "ACTB", "RPS3"], ["ENSGALG01", "ENSGALG02", "ENSGALG03"], ["", "", ""], "unknown"),
        (["a", "b", "c"], ["ENSMUSG01", "ENSMUSG02", "x"], ["", "", ""], "mouse"),
        (["a", "b", "c"], ["x", "y", "z"], ["mm10", "mm10", "mm10"], "mouse"),
        (["GAPDH", "Gapdh"], ["", ""], ["", ""], "unknown"),
        (["7", "8"], ["", ""], ["", ""], "unknown"),
    ],
)
def test_species(symbols, ids, genomes, expected):
    assert species.species_of(symbols, ids, genomes) == expected


def test_command_writes_section_and_summary(outs, tmp_path):
    done = CliRunner().invoke(main, ["--id", "s1", "--spaceranger-dir", str(outs), "--output-dir", str(tmp_path)])
    assert done.exit_code == 0, done.output
    adata = anndata.read_h5ad(tmp_path / "s1.ingest.h5ad")
    summary = json.loads((tmp_path / "s1.ingest.json").read_text())
    assert (summary["stage"], summary["id"]) == ("ingest", "s1")
    assert (summary["result"]["n_spots"], summary["result"]["n_genes"]) == adata.shape
    assert summary["result"]["n_counts"] == adata.X.sum()
    assert summary["result"]["pitch_px"] == adata.uns["mmsrl"]["pitch_px"]
    assert {"level": "info", "text": "no hires image; lowres is used"} in summary["messages"]


def test_command_ends_with_one_line_and_leaves_nothing(outs, tmp_path):
    cut(outs / "filtered_feature_bc_matrix.h5")
    target = tmp_path / "out"
    done = CliRunner().invoke(main, ["--id", "s1", "--spaceranger-dir", str(outs), "--output-dir", str(target)])
    assert done.exit_code == 2
    assert (
        done.stderr.startswith("mmsrl-ingest: error: sample s1: filtered_feature_bc_matrix.h5")
        and "\n" not in done.stderr.strip()
    )
    assert list(target.iterdir()) == []
    twice = (["--spaceranger-dir", "x", "--h5ad", "y"], ["--h5ad", "y", "--spatialdata", "z"])
    for arguments in ([], *twice, ["--data-dir", "x", "--spatialdata", "z"]):
        done = CliRunner().invoke(main, ["--id", "s1", *arguments])
        assert (
            done.exit_code == 2 and "give one of --spaceranger-dir, --data-dir, --h5ad and --spatialdata" in done.stderr
        )
