"""Files that a samplesheet names are looked at before anything is computed."""

import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import pytest
import tifffile
from instruments import xenium
from PIL import Image

from mmsrl._errors import InputError
from mmsrl.check.files import absolute, check_files, is_remote
from mmsrl.features.rasters import open_rasters
from mmsrl.ingest.api import read_h5ad

BARCODES = [f"AAAC{n}-1" for n in range(9)]


def matrix_h5(path: Path, barcodes: list[str] = BARCODES) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        file["matrix/barcodes"] = np.array(barcodes, dtype="S")


def spaceranger(folder: Path) -> Path:
    """What Space Ranger's `outs` has, as far as it is looked at before a run: barcodes and positions."""
    matrix_h5(folder / "filtered_feature_bc_matrix.h5")
    (folder / "spatial").mkdir(parents=True)
    rows = [f"{barcode},1,{n},{n % 2},{100 * n},{50 * (n % 2)}\n" for n, barcode in enumerate(BARCODES)]
    header = "barcode,in_tissue,array_row,array_col,pxl_row_in_fullres,pxl_col_in_fullres\n"
    (folder / "spatial/tissue_positions.csv").write_text(header + "".join(rows))
    (folder / "spatial/scalefactors_json.json").write_text("{}")
    return folder


def three_files(folder: Path) -> Path:
    spaceranger(folder)
    (folder / "filtered_feature_bc_matrix.h5").unlink()
    matrix = folder / "filtered_feature_bc_matrix"
    matrix.mkdir()
    for name in ("matrix.mtx.gz", "features.tsv.gz"):
        (matrix / name).touch()
    (matrix / "barcodes.tsv.gz").write_bytes(gzip.compress("\n".join(BARCODES).encode()))
    return folder


def visium_hd(folder: Path, sizes: tuple[int, ...]) -> Path:
    for size in sizes:
        spaceranger(folder / f"binned_outputs/square_{size:03d}um")
    return folder


def packed(folder: Path, name: str) -> Path:
    archive = folder.parent / name
    with tarfile.open(archive, "w:gz" if name.endswith("gz") else "w") as tar:
        tar.add(folder, folder.name)
    return archive


def anndata_file(path: Path) -> Path:
    adata = ad.AnnData(np.ones((9, 2), np.float32), obs=pd.DataFrame(index=BARCODES))
    adata.obsm["spatial"] = np.random.default_rng(0).random((9, 2))
    adata.write_h5ad(path)
    return path


def truth(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def told(folder: Path, **row: object) -> list[str]:
    """What is said about one row: `column: text`."""
    section = {"row": 2, **{k: v if isinstance(v, int) else str(v) for k, v in row.items()}}
    problems = list(check_files(section, folder))
    assert all(problem.row == 2 for problem in problems)
    return [f"{problem.column}: {problem.text}" for problem in problems]


@pytest.mark.parametrize(
    "make",
    [
        spaceranger,
        three_files,
        lambda folder: visium_hd(folder, (8,)),
        lambda folder: packed(spaceranger(folder), "outs.tar.gz"),
        lambda folder: packed(three_files(folder), "outs.tar"),
        lambda folder: packed(visium_hd(folder, (16,)), "outs.tgz"),
        lambda folder: visium_hd(folder, (2, 8)) / "binned_outputs/square_002um",
    ],
    ids=["folder", "three files", "hd", "tar.gz", "tar", "hd tgz", "one bin folder of several"],
)
def test_every_layout_of_spaceranger_passes(tmp_path, make):
    assert told(tmp_path, spaceranger_dir=make(tmp_path / "outs")) == []


def test_paths_start_at_the_folder_of_the_samplesheet_and_uris_are_left_alone(tmp_path):
    spaceranger(tmp_path / "deep/outs")
    assert told(tmp_path / "deep", spaceranger_dir="outs") == []
    assert told(tmp_path, spaceranger_dir="s3://bucket/outs", image="https://host/a.tif", truth="gs://b/t.csv") == []
    assert absolute("../outs", tmp_path / "deep") == str(tmp_path / "outs")
    assert absolute("az://container/outs", tmp_path) == "az://container/outs"
    assert not is_remote("/data/a://b")


def test_complete_row_passes(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "image.tif")
    labels = truth(tmp_path / "t.csv", "barcode,label\nAAAC0-1,L1\nAAAC1-1,\nunknown-1,L2\n")
    outs = spaceranger(tmp_path / "outs")
    assert told(tmp_path, spaceranger_dir=outs, image="image.tif", truth=labels, n_domains=9) == []


def test_hd_needs_a_bin_size_that_is_there(tmp_path):
    outs = visium_hd(tmp_path / "outs", (2, 8, 16))
    assert told(tmp_path, spaceranger_dir=outs, bin_size=16) == []
    (message,) = told(tmp_path, spaceranger_dir=outs)
    assert message.startswith("spaceranger_dir: ") and "has bins of 2, 8, 16 µm; say which by bin_size" in message
    (message,) = told(tmp_path, spaceranger_dir=outs, bin_size=4)
    assert message.startswith("bin_size: ") and "there are bins of 2, 8, 16 µm" in message
    (message,) = told(tmp_path, spaceranger_dir=packed(outs, "hd.tar.gz"), bin_size=4)
    assert message.startswith("bin_size: ") and "there are bins of 2, 8, 16 µm" in message
    assert "mmsrl-check-" not in message
    (message,) = told(tmp_path, spaceranger_dir=spaceranger(tmp_path / "plain"), bin_size=8)
    assert message.startswith("bin_size: ") and "no Visium HD output" in message


def test_a_wrong_bin_size_is_told_once(tmp_path):
    visium_hd(tmp_path / "outs", (2, 8))
    section = {"row": 2, "spaceranger_dir": "outs"}
    assert [problem.column for problem in check_files(section, tmp_path)] == ["spaceranger_dir"]
    assert list(check_files(section, tmp_path, wrong={"bin_size"})) == []


def test_missing_files_are_told_with_the_nearest_name(tmp_path):
    spaceranger(tmp_path / "section1")
    assert told(tmp_path, spaceranger_dir="section_1") == ["spaceranger_dir: does not exist; did you mean 'section1'?"]
    assert told(tmp_path, h5ad="x.h5ad") == [f"h5ad: does not exist in {tmp_path}"]
    (message,) = told(tmp_path, h5ad="no/where/x.h5ad")
    assert "nor does its folder" in message


def test_links_that_lead_nowhere_or_in_circles(tmp_path):
    (tmp_path / "broken").symlink_to(tmp_path / "gone")
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert "symbolic link to" in told(tmp_path, image="broken")[0]
    assert "lead back to themselves" in told(tmp_path, image="a")[0]
    assert "cannot be a path" in told(tmp_path, image="x" * 5000)[0]


def test_permission_is_asked_for(tmp_path, monkeypatch):
    outs = spaceranger(tmp_path / "outs")
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # a superuser may read all
    assert told(tmp_path, spaceranger_dir=outs) == [
        "spaceranger_dir: no permission to read it; ask its owner, or copy it"
    ]


def _archive_with(member: str, kind: bytes = tarfile.REGTYPE, link: str = ""):
    def make(folder: Path) -> Path:
        archive = packed(spaceranger(folder), "outs.tar")
        with tarfile.open(archive, "a") as tar:
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, link
            tar.addfile(info, io.BytesIO())
        return archive

    return make


def test_nothing_of_an_archive_is_unpacked_beside_it_or_outside(tmp_path):
    archive = _archive_with("../evil")(tmp_path / "in/outs")
    before = sorted(tmp_path.rglob("*"))
    told(tmp_path, spaceranger_dir=archive)
    assert sorted(tmp_path.rglob("*")) == before


def test_links_of_an_archive_count_as_in_ingest(tmp_path):
    outs = spaceranger(tmp_path / "outs")
    (outs / "spatial/tissue_positions.csv").rename(outs / "positions.csv")
    (outs / "spatial/tissue_positions.csv").symlink_to("../positions.csv")
    assert told(tmp_path, spaceranger_dir=packed(outs, "outs.tar")) == []
    (outs / "positions.csv").unlink()
    (message,) = told(tmp_path, spaceranger_dir=packed(outs, "outs.tar"))
    assert "but no positions (spatial/tissue_positions.csv" in message


def test_an_archive_damaged_within_its_compression_is_told(tmp_path):
    outs = spaceranger(tmp_path / "outs")
    (outs / "alignments.bam").write_bytes(os.urandom(100_000))
    content = lzma.compress(packed(outs, "outs.tar").read_bytes())
    (tmp_path / "outs.tar").write_bytes(content[:50_000] + bytes(100) + content[50_100:])
    (message,) = told(tmp_path, spaceranger_dir="outs.tar")
    assert "not a tar or zip archive, or a damaged one" in message


def as_frame(values: np.ndarray) -> pd.DataFrame:
    return pd.DataFrame(values, columns=[f"x{n}" for n in range(values.shape[1])], index=BARCODES)


@pytest.mark.parametrize("form", [np.asarray, as_frame])
@pytest.mark.parametrize("columns", [1, 2, 3])
def test_check_and_ingest_agree_on_coordinates(tmp_path, form, columns):
    adata = ad.AnnData(np.ones((9, 2), np.float32), obs=pd.DataFrame(index=BARCODES))
    adata.obsm["spatial"] = form(np.arange(9.0 * columns).reshape(9, columns) ** 2)
    adata.write_h5ad(tmp_path / "a.h5ad")
    told_by_check = told(tmp_path, h5ad="a.h5ad")
    told_by_ingest = []
    try:
        read_h5ad(tmp_path / "a.h5ad", "s")
    except InputError as error:
        told_by_ingest = [str(error).replace("sample s", "h5ad")]
    assert told_by_check == told_by_ingest
    assert bool(told_by_check) == (columns != 2)


def test_looking_at_files_needs_no_library_that_takes_long_to_start(tmp_path):
    section = {"row": 2, "spaceranger_dir": str(packed(spaceranger(tmp_path / "outs"), "outs.tar"))}
    section["data_dir"] = str(xenium(tmp_path / "xenium"))
    code = (
        "import sys; from pathlib import Path; from mmsrl.check.files import check_files\n"
        f"assert list(check_files({section!r}, Path())) == []\n"
        "print(*{'anndata', 'pandas', 'scipy', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_h5ad_is_compared_with_truth_and_number_of_domains(tmp_path):
    path = anndata_file(tmp_path / "a.h5ad")
    labels = truth(tmp_path / "t.csv", "barcode,label\nAAAC0,L1\n")
    assert told(tmp_path, h5ad=path) == []
    assert told(tmp_path, h5ad=path, n_domains=10) == ["n_domains: the section has only 9 spots; give a smaller number"]
    (message,) = told(tmp_path, h5ad=path, truth=labels)
    assert "none of its barcodes is in the section: 'AAAC0' here, 'AAAC0-1' there" in message


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_truth_as_spreadsheets_save_it_passes(tmp_path, encoding, separator):
    outs = spaceranger(tmp_path / "outs")
    path = tmp_path / "t.csv"
    path.write_text(f"Barcode{separator}Label\r\nAAAC0-1{separator}Drüse\r\n", encoding=encoding)
    assert told(tmp_path, spaceranger_dir=outs, truth=path) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "GIF", "JPEG2000", "WEBP", "PPM"])
def test_an_image_that_is_read_passes_whatever_its_name(tmp_path, kind):
    outs = spaceranger(tmp_path / "outs")
    Image.new("RGB", (40, 40), (225, 150, 190)).save(tmp_path / "real.jpg", format=kind)
    assert told(tmp_path, spaceranger_dir=outs, image="real.jpg") == []
    with open_rasters(tmp_path / "real.jpg", sample="s") as rasters:
        np.testing.assert_allclose(rasters[0].read(0, 40, 0, 40)[20, 20], (225, 150, 190), atol=6)


def test_what_is_no_image_is_told(tmp_path):
    outs = spaceranger(tmp_path / "outs")
    (tmp_path / "false.png").write_bytes(b"<svg></svg>")
    (tmp_path / "cut.tif").write_bytes(b"II*\0rest")
    tifffile.imwrite(tmp_path / "planes.tif", np.zeros((5, 20, 20), np.uint8), photometric="minisblack")
    for name, message in {
        "false.png": "image: not a readable image; convert it to TIFF, PNG or JPEG",
        "cut.tif": "image: the header of the TIFF file is damaged; copy the file again",
        "planes.tif": "image: the TIFF has axes QYX of size (5, 20, 20); give one brightfield plane",
    }.items():
        assert told(tmp_path, spaceranger_dir=outs, image=name) == [message]
    assert told(tmp_path, spaceranger_dir=outs, image=tmp_path) == ["image: this is a folder; give the file"]


def test_all_faults_of_a_row_are_told_at_once(tmp_path):
    messages = told(tmp_path, spaceranger_dir="none", image="none.tif", truth="none.csv")
    assert [message.split(":")[0] for message in messages] == ["spaceranger_dir", "image", "truth"]


@pytest.mark.parametrize("kept", [0.1, 0.3, 0.5, 0.7, 0.9, 0.99])
def test_damage_anywhere_in_hdf5_gives_a_message_or_passes(tmp_path, kept):
    path = anndata_file(tmp_path / "a.h5ad")
    content = bytearray(path.read_bytes())
    at = int(len(content) * kept)
    content[at : at + 64] = b"\xff" * len(content[at : at + 64])
    path.write_bytes(content)
    assert all(message.startswith("h5ad: ") for message in told(tmp_path, h5ad=path))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("of $x", "a dollar sign"),
        ("a\tb", "a tab"),
        ("{a,b}", "alternatives in braces"),
        ("{1..3}", "alternatives in braces"),
        ("S[1]", "a pattern (*, ? or [ ]) that other files match too"),
        ("S*", "a pattern (*, ? or [ ]) that other files match too"),
    ],
)
def test_names_that_would_lead_a_task_elsewhere_are_refused(tmp_path, name, message):
    spaceranger(tmp_path / "S1" / "outs")
    spaceranger(tmp_path / name / "outs")
    assert told(tmp_path, spaceranger_dir=f"{name}/outs") == [
        f"spaceranger_dir: its path has {message}, which Nextflow does not quote; rename the folder, or give a link "
        "to it"
    ]


@pytest.mark.parametrize("name", ["a b", "ä ö", 'it\'s "quoted"', "S[7]", "{a}", "(b)&c;d", "#1 ~x", "T*"])
def test_names_that_only_look_odd_pass(tmp_path, name):
    spaceranger(tmp_path / "S1" / "outs")
    assert told(tmp_path, spaceranger_dir=spaceranger(tmp_path / name / "outs")) == []
