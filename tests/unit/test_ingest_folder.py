"""Folders as 10x, GEO and people lay them are one section, or end in one message that says what to do."""

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
from spaceranger import (
    PITCH,
    as_geo,
    as_three_files,
    counts_of,
    hexagonal,
    put_counts,
    segmented,
    visium,
    visium_hd,
    write_h5_v3,
    write_spatial,
)

from mmsrl._errors import InputError
from mmsrl.check.files import check_files
from mmsrl.ingest.api import read_spaceranger

MATRIX = "filtered_feature_bc_matrix.h5"
LIST = "spatial/tissue_positions_list.csv"
SPATIAL = hexagonal()[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy()


@pytest.fixture
def outs(tmp_path: Path) -> Path:
    """A Visium section in the layout of version 1."""
    return visium(tmp_path / "run" / "outs")


def told_by_check(path: Path, bin_size: object = None) -> str:
    """What the check before a run says of the folder, empty for nothing."""
    section = {"row": 2, "spaceranger_dir": str(path)} | ({} if bin_size is None else {"bin_size": bin_size})
    return "".join(problem.text for problem in check_files(section, Path("/")))


def read(path: Path, **more):
    """Read a section that the check lets pass."""
    assert told_by_check(path, more.get("bin_size")) == ""
    return read_spaceranger(path, "s", **more)


def refused(path: Path, **more) -> str:
    """The message of a section that is refused; check and ingest say the same."""
    with pytest.raises(InputError) as caught:
        read_spaceranger(path, "s", **more)
    assert told_by_check(path, more.get("bin_size")) == str(caught.value).removeprefix("sample s: ")
    return str(caught.value)


def assert_same(ingested) -> None:
    """Counts, places and image are those of the section."""
    adata = ingested.adata
    np.testing.assert_array_equal(adata.X.toarray(), counts_of(30).toarray())
    assert list(adata.obs_names) == list(hexagonal()["barcode"])
    np.testing.assert_allclose(adata.obsm["spatial"], SPATIAL)
    assert tuple(adata.uns["spatial"]["s"]["images"]["lowres"][0, 0]) == (200, 100, 150)


def warnings_of(ingested) -> list[str]:
    return [message["text"] for message in ingested.messages if message["level"] == "warning"]


def rename_all(folder: Path, prefix: str) -> Path:
    """Begin the names of all files with the sample's, as 10x's downloads have them."""
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        path.rename(path.with_name(prefix + path.name))
    return folder


def flat(folder: Path) -> Path:
    for path in list((folder / "spatial").iterdir()):
        path.rename(folder / path.name)
    (folder / "spatial").rmdir()
    return folder


def pack_spatial(folder: Path, name: str) -> Path:
    """Leave `spatial` as an archive of its own beside the matrix."""
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
    """What is before a name may say that the file is somebody's copy."""
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
    """One that is not needed does not matter; of one that is the path is told."""
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
        assert f"(Permission denied: {top / 'elsewhere/spatial'})" in told_by_check(top)
        with pytest.raises(PermissionError):
            read_spaceranger(top, "s")


def aggregated(outs: Path) -> Path:
    """Make of a section what `spaceranger aggr` makes of two."""
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


def test_names_of_ones_own_that_end_with_numbers_are_one_section(outs):
    names = [f"spot-{k}" for k in range(30)]
    put_counts(outs, counts_of(30), names)
    write_spatial(outs / "spatial", hexagonal().assign(barcode=names))
    assert read(outs).adata.n_obs == 30


def positions_as(outs: Path, table: pd.DataFrame, name: str = "tissue_positions.csv", **more) -> Path:
    (outs / LIST).unlink()
    path = outs / "spatial" / name
    if name.endswith(".parquet"):
        table.to_parquet(path, **more)
    else:
        table.to_csv(path, **({"index": False} | more))
    return outs


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
    """An image may be turned by any angle; only where the names are exchanged is it mirrored, and that is mended."""
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


def test_positions_of_another_section_are_refused(outs):
    """The arrays of all sections have the same barcodes; what differs is which lie in the tissue."""
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
