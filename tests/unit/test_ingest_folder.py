"""Folders in the layouts of 10x, GEO and users are read as one section, or refused with one message."""

import errno
import gzip
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from section_folders import (
    LIST,
    MATRIX,
    assert_same,
    check_message,
    read,
    refused,
)
from spaceranger import (
    PITCH,
    as_geo,
    as_three_files,
    counts_of,
    hexagonal,
    segmented,
    visium,
    visium_hd,
    write_h5_v3,
)

from mmsrl._errors import InputError
from mmsrl.ingest.api import read_spaceranger


def rename_all(folder: Path, prefix: str) -> Path:
    """Add the sample as prefix to all file names, as in downloads from 10x."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.rename(path.with_name(prefix + path.name))
    return folder


def flat(folder: Path) -> Path:
    for path in list((folder / "spatial").iterdir()):
        path.rename(folder / path.name)
    (folder / "spatial").rmdir()
    return folder


def pack_spatial(folder: Path, name: str) -> Path:
    """Pack `spatial` into an archive next to the matrix."""
    if name.endswith(".zip"):
        shutil.make_archive(str(folder / name.removesuffix(".zip")), "zip", folder, "spatial")
    else:
        with tarfile.open(folder / name, "w:gz") as tar:
            tar.add(folder / "spatial", "spatial")
    shutil.rmtree(folder / "spatial")
    return folder


def deep(folder: Path) -> Path:
    target = folder.parent / "given/a/b/c"
    shutil.move(folder, target / "outs")
    return folder.parent / "given"


def beside_others(folder: Path) -> Path:
    top = folder.parent
    for name in ("SPATIAL_RNA_COUNTER_CS/fork0/outs", "__MACOSX", ".ipynb_checkpoints", "analysis", "old"):
        (top / name).mkdir(parents=True)
    shutil.copytree(folder, top / "SPATIAL_RNA_COUNTER_CS/fork0/copy")
    shutil.copytree(folder, top / "old/outs")
    return top


def gzip_all(folder: Path) -> Path:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()
    return folder


def forked(folder: Path) -> Path:
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    return folder


def jpeg(folder: Path) -> Path:
    from PIL import Image

    image = folder / "spatial/tissue_lowres_image.png"
    Image.open(image).save(image.with_suffix(".jpg"), quality=100, subsampling=0)
    image.unlink()
    return folder


LAYOUTS = {
    "outs": lambda outs: outs,
    "the folder around it": lambda outs: outs.parent,
    "other folders beside outs": beside_others,
    "four levels down": deep,
    "flat": flat,
    "10x's names": lambda outs: rename_all(outs, "V1_Human_Brain_"),
    "10x's names, flat": lambda outs: rename_all(flat(outs), "V1_Human_Brain_"),
    "10x's matrix with plain spatial": lambda outs: (outs / MATRIX).rename(outs / f"V1_Human_Brain_{MATRIX}") and outs,
    "10x's downloads": lambda outs: pack_spatial(rename_all(outs, "V1_"), "V1_spatial.tar.gz"),
    "a zip of spatial": lambda outs: pack_spatial(outs, "spatial.zip"),
    "spatial with a prefix": lambda outs: (outs / "spatial").rename(outs / "S1_spatial") and outs,
    "GEO": lambda outs: as_geo(outs, outs.parent / "geo", "GSM1_A1_"),
    "GEO in three files": lambda outs: as_geo(outs, outs.parent / "geo", "GSM1_A1.", three_files=True),
    "all gzipped": gzip_all,
    "files of macOS": forked,
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_section_in_any_layout_is_the_same(outs, layout):
    assert_same(read(LAYOUTS[layout](outs)))


def test_images_as_jpeg(outs):
    image = read(jpeg(outs)).adata.uns["spatial"]["s"]["images"]["lowres"]
    np.testing.assert_allclose(image[0, 0], (200, 100, 150), atol=3)


def test_checksums_name_what_was_given(outs):
    inputs = read(pack_spatial(rename_all(outs, "V1_"), "V1_spatial.tar.gz")).inputs
    assert [entry["file"] for entry in inputs] == [f"V1_{MATRIX}", "V1_spatial.tar.gz"]
    shutil.rmtree(outs)
    as_three_files(visium(outs), packed=True, legacy=False)
    names = {entry["file"] for entry in read(outs).inputs}
    assert {f"filtered_feature_bc_matrix/{name}" for name in ("matrix.mtx.gz", "barcodes.tsv.gz")} <= names
    names = {entry["file"] for entry in read(pack_spatial(outs, "spatial.zip")).inputs}
    files = ("matrix.mtx.gz", "barcodes.tsv.gz", "features.tsv.gz")
    assert names == {"spatial.zip", *(f"filtered_feature_bc_matrix/{name}" for name in files)}


def test_two_sections_in_one_flat_folder(tmp_path):
    for name in ("A", "B"):
        as_geo(visium(tmp_path / name), tmp_path / "geo", f"GSM{ord(name)}_{name}_")
    message = refused(tmp_path / "geo")
    assert "'GSM65_A_', 'GSM66_B_'" in message and "put those of each into a folder of its own" in message


def test_files_of_two_sections_are_not_put_together(outs):
    (outs / MATRIX).rename(outs / f"A_{MATRIX}")
    (outs / LIST).rename(outs / "spatial/B_tissue_positions_list.csv")
    assert "begin with 'A_', 'B_'" in refused(outs)


def test_copies_beside_a_section_are_not_taken_for_it(outs):
    """A prefix may mark a copy."""
    spoilt = hexagonal().assign(pxl_row_in_fullres=hexagonal()["pxl_row_in_fullres"] * 2)
    for name in ("a_old_", "backup_"):
        spoilt.to_csv(outs / f"spatial/{name}tissue_positions_list.csv", header=False, index=False)
        (outs / f"spatial/{name}tissue_lowres_image.png").touch()
    assert_same(read(outs))


def test_a_section_with_and_one_without_a_prefix(tmp_path):
    outs = as_geo(visium(tmp_path / "A"), visium(tmp_path / "B"), "GSM1_A_")
    assert "begin with '', 'GSM1_A_', so they are of 2 sections" in refused(outs)


def test_a_lost_link_to_the_filtered_matrix_is_not_answered_by_the_raw_one(outs):
    (outs / MATRIX).rename(outs / "raw_feature_bc_matrix.h5")
    (outs / MATRIX).symlink_to("/gone/x.h5")
    assert f"{MATRIX} is a link to '/gone/x.h5', which is not there" in refused(outs)


def test_two_archives_of_spatial(outs):
    pack_spatial(outs, "A_spatial.tar.gz")
    shutil.copy(outs / "A_spatial.tar.gz", outs / "B_spatial.tar.gz")
    assert "begin with 'A_', 'B_'" in refused(outs)


def test_cells_packed_beside_open_bins_are_found(tmp_path):
    outs = visium_hd(tmp_path / "outs")
    with tarfile.open(outs / "Colon_segmented_outputs.tar.gz", "w:gz") as tar:
        tar.add(segmented(tmp_path / "made"), "segmented_outputs")
    assert read(outs, bin_size="cell").adata.obs_names[0] == "cellid_000000001-1"
    assert read(outs, bin_size=16).adata.obs_names[0] == "s_016um_00000_00000-1"


def test_bins_in_a_folder_of_another_name(tmp_path):
    bins = visium_hd(tmp_path / "hd") / "binned_outputs/square_016um"
    bins.rename(tmp_path / "bins")
    for bin_size in (16, None):
        assert read(tmp_path / "bins", bin_size=bin_size).adata.uns["mmsrl"]["pitch_um"] == pytest.approx(16)


def test_bins_of_two_sections_in_one_folder(tmp_path):
    for name in ("A", "B"):
        outs = visium_hd(tmp_path / name)
        shutil.move(outs / "binned_outputs", tmp_path / "given" / f"{name}_binned_outputs")
    assert "begin with 'A_', 'B_', so they are of 2 sections" in refused(tmp_path / "given", bin_size=8)


def test_a_file_of_a_section_is_answered_by_its_folder(outs):
    assert refused(outs / MATRIX).endswith(f"; give its folder, {outs}")
    (outs / "web_summary.html").write_text("<html>")
    assert refused(outs / "web_summary.html").endswith("; unpack it, or pack it anew")


@pytest.mark.parametrize("around", ["", "spatial", "S1/spatial", "a/b/spatial"])
def test_spatial_packed_beside_the_matrix_whatever_is_around_it(outs, around):
    with tarfile.open(outs / "S1_spatial.tar.gz", "w:gz") as tar:
        for path in (outs / "spatial").iterdir():
            tar.add(path, f"{around}/{path.name}".lstrip("/"))
    shutil.rmtree(outs / "spatial")
    assert_same(read(outs))


def test_two_sections_below_a_folder(tmp_path):
    visium(tmp_path / "given/A/outs")
    visium(tmp_path / "given/B/outs")
    assert "given: holds 2 sections (A/outs, B/outs); give each a row of its own" in refused(tmp_path / "given")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda outs: shutil.rmtree(outs / "spatial"), r"has filtered_.*\.h5, but no positions .*; copy the whole"),
        (lambda outs: (outs / MATRIX).unlink(), "has .*tissue_positions_list.csv, but no filtered_feature_bc_matrix"),
        (lambda outs: [path.unlink() for path in outs.rglob("*.*")], "holds no section, only spatial; give Space"),
        (lambda outs: shutil.rmtree(outs) or outs.mkdir(), "outs: is empty; give Space Ranger's `outs`"),
    ],
)
def test_a_folder_without_a_whole_section(outs, spoil, message):
    spoil(outs)
    with pytest.raises(InputError, match=message):
        read_spaceranger(outs, "s")
    assert refused(outs)


@pytest.mark.parametrize("given", ["spatial", "filtered_feature_bc_matrix"])
def test_a_part_of_outs_is_answered_by_the_folder_above(outs, given):
    as_three_files(outs, packed=True, legacy=False)
    assert refused(outs / given).endswith("; give the folder above, outs")


def test_links_that_lead_nowhere_are_named(outs):
    (outs / MATRIX).unlink()
    (outs / MATRIX).symlink_to("/gone/x.h5")
    assert refused(outs) == (
        f"sample s: outs/{MATRIX} is a link to '/gone/x.h5', which is not there; copy the file itself (cp -L, rsync -L)"
    )
    # One that is not needed does not matter.
    shutil.rmtree(outs)
    visium(outs)
    (outs / "raw_feature_bc_matrix.h5").symlink_to("/gone/x.h5")
    (outs / "cloupe.cloupe").symlink_to("/gone/x")
    assert_same(read(outs))


def test_links_in_circles_end(outs):
    (outs / "back").symlink_to(outs.parent)
    (outs / "spatial" / "itself").symlink_to(outs)
    (outs.parent / "a").symlink_to("b")
    (outs.parent / "b").symlink_to("a")
    assert_same(read(outs))
    assert_same(read(outs.parent))
    (outs / MATRIX).unlink()
    assert "no filtered_feature_bc_matrix" in refused(outs.parent)


@pytest.mark.parametrize("closed", ["private", "spatial"])
def test_folders_that_may_not_be_read(outs, monkeypatch, closed):
    """An unreadable folder matters only if it is needed; the message then names it."""
    top = outs.rename(outs.with_name("elsewhere")).parent
    (top / "private").mkdir()
    real = Path.iterdir

    def iterdir(folder):
        if folder.name == closed:
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(Path, "iterdir", iterdir)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name != closed)
    if closed == "private":
        assert_same(read(top))
    else:
        assert f"(Permission denied: {top / 'elsewhere/spatial'})" in check_message(top)
        with pytest.raises(PermissionError):
            read_spaceranger(top, "s")


def aggregated(outs: Path) -> Path:
    """Turn a section into the output of `spaceranger aggr` for two sections."""
    barcodes = [f"{barcode[:-1]}{n}" for n in (1, 2) for barcode in hexagonal()["barcode"]]
    write_h5_v3(outs / MATRIX, np.vstack([counts_of(30).toarray()] * 2), barcodes)
    positions = pd.concat([hexagonal()] * 2).assign(barcode=barcodes)
    positions["pxl_col_in_fullres"] += np.repeat([0, 5000], 30)
    positions["array_row"] += np.repeat([0, 100], 30)
    positions.to_csv(outs / "aggr_tissue_positions.csv", index=False)
    (outs / "aggregation.csv").write_text("library_id\nL1\nL2\n")
    for name in ("L1", "L2"):
        (outs / "spatial").mkdir(exist_ok=True)
        shutil.copytree(outs / "spatial", outs / name)
    shutil.rmtree(outs / "spatial")
    for name in ("L1", "L2"):
        shutil.move(outs / name, outs / "spatial" / name)
    return outs


def test_output_of_aggr_is_named_as_such(outs):
    message = refused(aggregated(outs))
    assert "outs: output of `spaceranger aggr`" in message and "the `outs` of its own `spaceranger count`" in message
    assert "output of `spaceranger aggr`" in refused(outs.parent)


@pytest.mark.parametrize("positions", ["of both", "of one"])
def test_output_of_aggr_is_told_by_its_barcodes(outs, positions):
    aggregated(outs)
    shutil.copytree(outs / "spatial/L1", outs / "spatial", dirs_exist_ok=True)
    (outs / "aggregation.csv").unlink()
    both = outs / "aggr_tissue_positions.csv"
    if positions == "of both":
        shutil.copy(both, outs / "spatial/tissue_positions.csv")
        (outs / LIST).unlink()
    both.unlink()
    assert f"{MATRIX}: its barcodes end with -1, -2, so it is 2 sections in one" in refused(outs)


def test_a_header_above_barcodes_is_named(outs):
    as_three_files(outs, packed=False, legacy=False)
    path = outs / "filtered_feature_bc_matrix/barcodes.tsv"
    path.write_text("barcode\n" + path.read_text())
    assert refused(outs) == (
        "sample s: barcodes.tsv: its first line, 'barcode', is no barcode but a header; remove that line"
    )


def test_an_image_that_is_none_is_told_before_the_run(outs):
    (outs / "spatial/tissue_lowres_image.png").write_text("version https://git-lfs.github.com/spec/v1\n")
    assert "tissue_lowres_image.png: not an image, or damaged" in refused(outs)


@pytest.mark.parametrize("form", [str, lambda value: [value]])
def test_scale_factors_as_text_or_in_lists_are_numbers(outs, form):
    path = outs / "spatial/scalefactors_json.json"
    factors = json.loads(path.read_text())
    path.write_text(json.dumps({name: form(value) for name, value in factors.items()} | {"of": True, "odd": []}))
    assert read(outs).adata.uns["spatial"]["s"]["scalefactors"] == factors


def test_an_h5ad_is_sent_to_its_column(outs):
    path = outs / "section.h5ad"
    path.write_bytes(b"any")
    assert refused(path).endswith("; give it in the column h5ad")


def test_a_matrix_of_another_name_is_asked_about(outs):
    (outs / MATRIX).rename(outs / "filtered_gene_bc_matrices_h5.h5")
    assert refused(outs).endswith("segmented cells; if filtered_gene_bc_matrices_h5.h5 is it, rename it so")


def test_folders_in_capitals(outs):
    (outs / "spatial").rename(outs / "SPATIAL")
    assert_same(read(outs))


def test_three_files_with_the_quotes_of_r(outs):
    as_three_files(outs, packed=False, legacy=False)
    for name in ("barcodes.tsv", "features.tsv"):
        path = outs / "filtered_feature_bc_matrix" / name
        quoted = ["\t".join(f'"{cell}"' for cell in line.split("\t")) for line in path.read_text().splitlines()]
        path.write_text("\n".join(quoted) + "\n")
    assert_same(read(outs))


def test_a_pattern_is_no_matrix_of_counts(outs):
    as_three_files(outs, packed=False, legacy=False)
    path = outs / "filtered_feature_bc_matrix/matrix.mtx"
    _, _, *lines = path.read_text().splitlines()
    shape, *entries = lines
    rows = [line.rpartition(" ")[0] for line in entries]
    path.write_text("\n".join(["%%MatrixMarket matrix coordinate pattern general", shape, *rows]) + "\n")
    with pytest.raises(InputError, match=r"matrix\.mtx: says which genes are there \(pattern\), not how often"):
        read_spaceranger(outs, "s")


@pytest.mark.parametrize("packed", [False, True])
def test_bins_in_downloads(tmp_path, packed):
    outs = visium_hd(tmp_path / "hd" / "outs")
    given = tmp_path / "given"
    given.mkdir()
    if packed:
        with tarfile.open(given / "Colon_binned_outputs.tar.gz", "w:gz") as tar:
            tar.add(outs / "binned_outputs", "binned_outputs")
    else:
        shutil.move(outs / "binned_outputs", given / "Colon_binned_outputs")
    assert read(given, bin_size=16).adata.obs_names[0] == "s_016um_00000_00000-1"
    assert "has bins of 8, 16 µm; say which by bin_size" in refused(given)


def test_scale_of_a_flat_folder_is_that_of_its_file(outs):
    factors = outs / "spatial/scalefactors_json.json"
    factors.write_text(json.dumps({"spot_diameter_fullres": 65, "microns_per_pixel": 0.5}))
    about = read(as_geo(outs, outs.parent / "geo", "GSM1_")).adata.uns["mmsrl"]
    assert about["pitch_um"] == pytest.approx(PITCH * 0.5)
