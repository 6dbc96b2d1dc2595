"""Files of a samplesheet that are missing, damaged, foreign or inconsistent, found before any task starts."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import tifffile
from scipy import sparse
from spaceranger import as_geo, as_three_files, cut, edit_positions, hexagonal, segmented, visium, visium_hd

from bad_input.case import Case, check

Row = dict[str, object]


def _row(make: Callable[[Path], Row]) -> Callable[[Path], list[str]]:
    """Write a samplesheet with one row, for a valid Visium section by default."""

    def command(folder: Path) -> list[str]:
        visium(folder / "outs")
        row = make(folder)
        if not {"spaceranger_dir", "h5ad", "spatialdata"} & row.keys():
            row["spaceranger_dir"] = "outs"
        sheet = folder / "sheet.csv"
        columns = ("sample", *row)
        sheet.write_text(f"{','.join(columns)}\nS1,{','.join(map(str, row.values()))}\n", encoding="utf-8")
        return check(sheet)

    return command


def _spoilt(spoil: Callable[[Path], object]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> Row:
        spoil(folder / "outs")
        return {"spaceranger_dir": "outs"}

    return _row(make)


def _truth(text: str, encoding: str = "utf-8") -> Callable[[Path], list[str]]:
    barcode = hexagonal()["barcode"][0]

    def make(folder: Path) -> Row:
        (folder / "truth.csv").write_text(text.replace("BARCODE", barcode), encoding=encoding)
        return {"truth": "truth.csv"}

    return _row(make)


def _file(column: str, name: str, content: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> Row:
        (folder / name).write_bytes(content)
        return {column: name}

    return _row(make)


def _named(**row: object) -> Callable[[Path], list[str]]:
    return _row(lambda folder: dict(row))


def _archive(member: str = "", kind: bytes = tarfile.REGTYPE, link: str = "") -> Callable[[Path], list[str]]:
    def make(folder: Path) -> Row:
        with tarfile.open(folder / "outs.tar", "w") as tar:
            tar.add(folder / "outs", "outs")
            info = tarfile.TarInfo(member)
            info.type, info.linkname = kind, link
            tar.addfile(info, io.BytesIO())
        return {"spaceranger_dir": "outs.tar"}

    return _row(make)


def _cut_archive(folder: Path) -> Row:
    with tarfile.open(folder / "outs.tar.gz", "w:gz") as tar:
        tar.add(folder / "outs", "outs")
    cut(folder / "outs.tar.gz")
    return {"spaceranger_dir": "outs.tar.gz"}


def _zarr(*names: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> Row:
        (folder / "s.zarr").mkdir()
        for name in names:
            (folder / "s.zarr" / name).write_text("{}")
        return {"spatialdata": "s.zarr"}

    return _row(make)


PLACES = np.array([[0.0, 0.0], [10.0, 1.0], [20.0, 3.0]])
_ENDINGS = ["ACGTACGTACGTACGT-1-A", "ACGTACGTACGTACGT-1-B", "TTTTACGTACGTACGT-1-A"]


def _h5ad_row(folder: Path, change: Callable[[ad.AnnData], object]) -> Row:
    adata = ad.AnnData(np.ones((3, 2), np.float32))
    change(adata)
    adata.write_h5ad(folder / "s.h5ad")
    return {"h5ad": "s.h5ad"}


def _h5ad(change: Callable[[ad.AnnData], object]) -> Callable[[Path], list[str]]:
    return _row(lambda folder: _h5ad_row(folder, change))


def _changed(change: Callable[[h5py.File], object]) -> Callable[[Path], list[str]]:
    """Write an h5ad and change its content."""

    def make(folder: Path) -> Row:
        row = _h5ad_row(folder, _placed)
        with h5py.File(folder / "s.h5ad", "a") as file:
            change(file)
        return row

    return _row(make)


def _placed(adata: ad.AnnData, names: list[str] | None = None) -> ad.AnnData:
    adata.obsm["spatial"] = PLACES
    if names is not None:
        adata.obs_names = names
    return adata


def _words() -> np.ndarray:
    places = PLACES.astype(str).astype(object)
    places[1, 0] = "left"
    return places


def _two_kinds(adata: ad.AnnData) -> None:
    adata.obs[["x", "y"]] = PLACES
    adata.obs[["x_centroid", "y_centroid"]] = PLACES * 2


def _as_anndata_06(file: h5py.File) -> None:
    del file["obs"]
    file["obs"] = np.zeros(3, dtype=[("index", "S2"), ("in_tissue", "i4")])


def _foreign_hdf5(path: Path) -> None:
    with h5py.File(path, "w") as file:
        file["data"] = [1]


def _loop(folder: Path) -> Row:
    (folder / "a.png").symlink_to(folder / "b.png")
    (folder / "b.png").symlink_to(folder / "a.png")
    return {"image": "a.png"}


def _dangling(folder: Path) -> Row:
    (folder / "a.png").symlink_to("/gone/a.png")
    return {"image": "a.png"}


def _pipe(folder: Path) -> Row:
    os.mkfifo(folder / "truth.csv")
    return {"truth": "truth.csv"}


def _planes(pixels: np.ndarray, **options: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> Row:
        tifffile.imwrite(folder / "a.tif", pixels, photometric="minisblack", **options)
        return {"image": "a.tif"}

    return _row(make)


def _bins(folder: Path, **more: object) -> Row:
    visium_hd(folder / "hd")
    return {"spaceranger_dir": "hd", **more}


def _two_flat(folder: Path) -> Row:
    for name in ("A", "B"):
        as_geo(visium(folder / name), folder / "geo", f"GSM1_{name}_")
    return {"spaceranger_dir": "geo"}


def _two_below(folder: Path) -> Row:
    for name in ("A", "B"):
        visium(folder / "both" / name / "outs")
    return {"spaceranger_dir": "both"}


def _bins_and_cells(folder: Path) -> Row:
    segmented(visium_hd(folder / "hd") / "segmented_outputs")
    return {"spaceranger_dir": "hd"}


def _link(outs: Path) -> None:
    (outs / MATRIX).unlink()
    (outs / MATRIX).symlink_to("/gone/x.h5")


def _unquoted(name: str) -> Callable[[Path], list[str]]:
    return _row(lambda folder: visium(folder / name) and {"spaceranger_dir": name})


MATRIX = "filtered_feature_bc_matrix.h5"
POSITIONS = "spatial/tissue_positions_list.csv"

CASES = (
    Case("a folder that is not there, but one of nearly its name", _named(spaceranger_dir="out")),
    Case("a file in a folder that is not there", _named(h5ad="no/where/x.h5ad")),
    Case("a folder that holds nothing of Space Ranger", _row(lambda f: (f / "e").mkdir() or {"spaceranger_dir": "e"})),
    Case("no matrix", _spoilt(lambda outs: (outs / MATRIX).unlink())),
    Case("no positions", _spoilt(lambda outs: (outs / POSITIONS).unlink())),
    Case("a matrix cut short", _spoilt(lambda outs: cut(outs / MATRIX))),
    Case("a web page for a matrix", _spoilt(lambda outs: (outs / MATRIX).write_text("<html>404</html>"))),
    Case("HDF5 of something else for a matrix", _spoilt(lambda outs: _foreign_hdf5(outs / MATRIX))),
    Case(
        "a matrix of three files without one",
        _spoilt(
            lambda outs: (
                as_three_files(outs, True, False) or (outs / "filtered_feature_bc_matrix/features.tsv.gz").unlink()
            )
        ),
    ),
    Case(
        "barcodes that are not the gzip of their name",
        _spoilt(
            lambda outs: (
                as_three_files(outs, True, False)
                or (outs / "filtered_feature_bc_matrix/barcodes.tsv.gz").write_bytes(b"\x1f\x8bno")
            )
        ),
    ),
    Case("Visium HD without a bin size", _row(_bins)),
    Case("a bin size that is not there", _row(lambda folder: _bins(folder, bin_size=2))),
    Case("a bin size of a Visium section", _named(bin_size=8)),
    Case("Visium HD with bins and cells and no bin size", _row(_bins_and_cells)),
    Case("two sections in one flat folder", _row(_two_flat)),
    Case("two sections below a folder", _row(_two_below)),
    Case("a part of outs", _named(spaceranger_dir="outs/spatial")),
    Case("a matrix that is a link to nothing", _spoilt(_link)),
    Case("output of aggr", _spoilt(lambda outs: (outs / "aggregation.csv").write_text("library_id\nL1\nL2\n"))),
    Case(
        "positions of another section",
        _spoilt(lambda outs: edit_positions(outs, barcode=[*hexagonal()["barcode"][:29], "X-1"])),
    ),
    Case("a folder with a dollar sign in its name", _unquoted("of $x")),
    Case("a folder with a pattern in its name", _unquoted("out[s]")),
    Case("more domains than spots", _named(n_domains=31)),
    Case("an archive cut short", _row(_cut_archive)),
    Case("text for an archive", _file("spaceranger_dir", "outs.tar", b"no tar at all")),
    Case("an empty archive", _file("spaceranger_dir", "outs.tar.gz", b"")),
    Case("a zip file for an archive", _file("spaceranger_dir", "outs.zip", b"PK\x03\x04")),
    Case("an archive with a member outside its folder", _archive("../evil")),
    Case("an archive with an absolute path", _archive("/etc/evil")),
    Case("an archive with a link out of it", _archive("outs/link", tarfile.SYMTYPE, "/etc/passwd")),
    Case("an archive with a device", _archive("outs/device", tarfile.CHRTYPE)),
    Case("an h5ad cut short", _file("h5ad", "s.h5ad", b"\x89HDF\r\n\x1a\nrest")),
    Case("text for an h5ad", _file("h5ad", "s.h5ad", b"counts")),
    Case("an empty h5ad", _file("h5ad", "s.h5ad", b"")),
    Case("HDF5 of something else for an h5ad", _row(lambda f: _foreign_hdf5(f / "s.h5ad") or {"h5ad": "s.h5ad"})),
    Case("an h5ad without coordinates", _h5ad(lambda a: a.obsm.update({"X_umap": np.zeros((3, 2))}))),
    Case("a file for SpatialData", _file("spatialdata", "s.zarr", b"PK\x03\x04")),
    Case("a folder that is no Zarr", _zarr()),
    Case("Zarr without a table", _zarr("zarr.json")),
    Case("an h5ad with x, y and z", _h5ad(lambda a: a.obsm.update({"spatial": np.eye(3)}))),
    Case("an h5ad with one coordinate", _h5ad(lambda a: a.obsm.update({"spatial": np.zeros((3, 1))}))),
    Case("an h5ad with sparse coordinates", _h5ad(lambda a: a.obsm.update({"spatial": sparse.csr_matrix(PLACES)}))),
    Case("an h5ad with a coordinate in words", _h5ad(lambda a: a.obsm.update({"spatial": _words()}))),
    Case("an h5ad with two kinds of coordinates in obs", _h5ad(_two_kinds)),
    Case("an h5ad with a spot without a name", _h5ad(lambda a: _placed(a, ["", "b", "c"]))),
    Case("an h5ad with a barcode of two endings", _h5ad(lambda a: _placed(a, _ENDINGS))),
    Case("an h5ad of spots neither in nor outside", _h5ad(lambda a: _placed(a).obs.insert(0, "in_tissue", 2))),
    Case("an h5ad of proteins alone", _h5ad(lambda a: _placed(a).var.insert(0, "feature_types", "Antibody Capture"))),
    Case("an h5ad of anndata 0.6", _changed(_as_anndata_06)),
    Case("MuData named h5ad", _changed(lambda file: file.move("X", "mod/rna/X"))),
    Case("rows that are genes", _h5ad(lambda a: a.varm.update({"spatial": np.zeros((2, 2))}))),
    Case("a link that leads to itself", _row(_loop)),
    Case("a link that leads nowhere", _row(_dangling)),
    Case("a path of 5000 letters", _named(image="x" * 5000 + ".png")),
    Case("a folder for a file", _named(image="outs")),
    Case("a pipe for a file", _row(_pipe)),
    Case("a picture of another kind", _file("image", "a.png", b"<svg></svg>")),
    Case("a TIFF with a damaged header", _file("image", "a.tif", b"II*\0rest")),
    Case("an image of several focus planes", _planes(np.zeros((5, 20, 20), np.uint8))),
    Case("an image of seven channels", _planes(np.zeros((20, 20, 7), np.uint8), planarconfig="contig")),
    Case("an alignment that is no matrix", _file("alignment", "a.csv", b"1,0,0\n0,1,0\n")),
    Case("an alignment onto a line", _file("alignment", "a.csv", b"1,0,0\n2,0,0\n0,0,1\n")),
    Case("an alignment cut short", _file("alignment", "a.json", b'{"oligo": [')),
    Case("an alignment of Loupe Browser without spots", _file("alignment", "a.json", b'{"oligo": []}')),
    Case("truth without a label column", _truth("barcode,layer\nBARCODE,L1\n")),
    Case("truth with a column misspelt", _truth("Barcodes,label\nBARCODE,L1\n")),
    Case("truth without a header", _truth("BARCODE,L1\n")),
    Case("truth with a short line", _truth("barcode,label\nBARCODE\n")),
    Case("truth without a label", _truth("barcode,label\nBARCODE,NA\n")),
    Case("truth with two labels of a spot", _truth("barcode,label\nBARCODE,L1\nBARCODE,L2\n")),
    Case("truth of another section", _truth("barcode,label\n10x13,L1\n")),
    Case("truth in UTF-32", _truth("barcode,label\nBARCODE,L1\n", "utf-32")),
    Case("truth that is a spreadsheet document", _file("truth", "truth.csv", b"PK\x03\x04\0\0")),
)
