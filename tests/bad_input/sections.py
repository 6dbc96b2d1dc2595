"""Sections with invalid content, found by the first stage that reads them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from spaceranger import (
    as_three_files,
    cell_outlines,
    counts_of,
    cut,
    edit_positions,
    first_of,
    hexagonal,
    put_counts,
    segmented,
    visium,
    visium_hd,
    write_h5_v3,
)

from bad_input.case import Case

N = 40
MATRIX = "filtered_feature_bc_matrix.h5"
THREE = "filtered_feature_bc_matrix"
LIST = "spatial/tissue_positions_list.csv"


def _spoilt(spoil: Callable[[Path], Any]) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        spoil(visium(folder / "outs"))
        return ["ingest", "--id", "S1", "--spaceranger-dir", str(folder / "outs")]

    return make


def _counts(change: Callable[[sparse.csr_matrix], Any], **more: Any) -> Callable[[Path], list[str]]:
    return _spoilt(lambda outs: put_counts(outs, change(counts_of(30)), **more))


def _positions(column: str, value: object) -> Callable[[Path], list[str]]:
    return _spoilt(lambda outs: edit_positions(outs, **{column: first_of(column, value)}))


def _list(content: bytes) -> Callable[[Path], list[str]]:
    return _spoilt(lambda outs: (outs / LIST).write_bytes(content))


def _three(spoil: Callable[[Path], Any]) -> Callable[[Path], list[str]]:
    return _spoilt(lambda outs: as_three_files(outs, packed=False, legacy=False) or spoil(outs / THREE))


def _hd(spoil: Callable[[Path], Any], bin_size: int = 16) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        spoil(visium_hd(folder / "hd") / "binned_outputs/square_016um/spatial/tissue_positions.parquet")
        return ["ingest", "--id", "S1", "--spaceranger-dir", str(folder / "hd"), "--bin-size", str(bin_size)]

    return make


def _not_zarr(folder: Path) -> list[str]:
    (folder / "s.zarr").mkdir()
    (folder / "s.zarr/zarr.json").write_text("{}")
    return ["ingest", "--id", "S1", "--spatialdata", str(folder / "s.zarr")]


def _h5ad(change: Callable[[ad.AnnData], Any], *more: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        rng = np.random.default_rng(0)
        adata = ad.AnnData(
            sparse.csr_matrix(rng.poisson(2.0, (N, 5)).astype(np.float32)),
            obs=pd.DataFrame(index=[f"cell{k}" for k in range(N)]),
            var=pd.DataFrame(index=["Gapdh", "Actb", "mt-Co1", "Rps3", "Hbb-bs"]),
            obsm={"spatial": rng.random((N, 2)) * 100},
        )
        changed = change(adata)
        (changed if isinstance(changed, ad.AnnData) else adata).write_h5ad(folder / "s.h5ad")
        return ["ingest", "--id", "S1", "--h5ad", str(folder / "s.h5ad"), *more]

    return make


def _other_tissue(outs: Path) -> None:
    put_counts(outs, counts_of(30)[:20], hexagonal()["barcode"][:20])
    edit_positions(outs, in_tissue=[0, 0] + [1] * 28)


def _archive_of_something_else(folder: Path) -> list[str]:
    (folder / "notes").mkdir()
    (folder / "notes/a.txt").write_text("notes")
    shutil.make_archive(str(folder / "outs"), "gztar", folder / "notes")
    return ["ingest", "--id", "S1", "--spaceranger-dir", str(folder / "outs.tar.gz")]


def _cells_of_others(folder: Path) -> list[str]:
    cells = segmented(folder / "segmented_outputs")
    (cells / "cell_segmentations.geojson").write_text(json.dumps(cell_outlines([98, 99])))
    return ["ingest", "--id", "S1", "--spaceranger-dir", str(cells)]


def _cells_cut(folder: Path) -> list[str]:
    cells = segmented(folder / "segmented_outputs")
    cut(cells / "cell_segmentations.geojson")
    return ["ingest", "--id", "S1", "--spaceranger-dir", str(cells)]


def _dense(adata: ad.AnnData, change: Callable[[Any], Any]) -> None:
    adata.X = change(adata.X.toarray())


def _array_row(adata: ad.AnnData, rows: list[float]) -> None:
    adata.obs["array_row"], adata.obs["array_col"] = rows, 1


CASES = (
    Case("HDF5 of AnnData for a matrix", _spoilt(lambda o: ad.AnnData(np.ones((3, 2))).write_h5ad(o / MATRIX))),
    Case("a matrix without spots", _spoilt(lambda o: write_h5_v3(o / MATRIX, counts_of(0), []))),
    Case("counts that are all 0", _counts(lambda counts: counts * 0)),
    Case("counts that are no whole numbers", _counts(lambda counts: counts * 0.5)),
    Case("negative counts", _counts(lambda counts: counts * -1)),
    Case("counts that are NaN", _counts(lambda counts: counts * np.nan)),
    Case("no gene expression", _counts(lambda counts: counts, types=["CRISPR Guide Capture"] * 6)),
    Case("a barcode twice in the matrix", _counts(lambda counts: counts, barcodes=["A-1"] * 30)),
    Case(
        "barcodes of another section in the positions",
        _counts(lambda counts: counts, barcodes=[f"spot{k}" for k in range(30)]),
    ),
    Case("a single spot", _counts(lambda counts: counts[:1], barcodes=hexagonal()["barcode"][:1])),
    Case("three files without barcodes", _three(lambda m: (m / "barcodes.tsv").write_text(""))),
    Case("three files that do not belong together", _three(lambda m: (m / "barcodes.tsv").write_text("A-1\n"))),
    Case("a text matrix cut short", _three(lambda m: cut(m / "matrix.mtx"))),
    Case("empty positions", _list(b"")),
    Case("positions with spaces", _list(b"a 1 2 3 4 5\n")),
    Case("positions with a column too many", _list(b"0,AAA-1,1,0,0,5,5\n")),
    Case("a tissue that is not that of the matrix", _spoilt(_other_tissue)),
    Case("positions without columns that are needed", _list(b"barcode,in_tissue,row\nA,1,2\n")),
    Case("positions that are no text", _list(b"\xff\xfe\x00,1,1,1,1,1")),
    Case("positions in Parquet cut short", _hd(cut)),
    Case("positions in Parquet that are empty", _hd(lambda path: path.write_bytes(b""))),
    Case("CSV named Parquet", _hd(lambda path: path.write_bytes(b"barcode,in_tissue\n"))),
    Case("an array row in words", _positions("array_row", "x")),
    Case("half in the tissue", _positions("in_tissue", 0.5)),
    Case("twice in the tissue", _positions("in_tissue", 2)),
    Case("a coordinate in words", _positions("pxl_row_in_fullres", "left")),
    Case("a coordinate that is NaN", _positions("pxl_row_in_fullres", "nan")),
    Case("a coordinate that is infinite", _positions("pxl_row_in_fullres", "inf")),
    Case(
        "spots on top of one another", _spoilt(lambda o: edit_positions(o, pxl_row_in_fullres=1, pxl_col_in_fullres=1))
    ),
    Case("a barcode twice in the positions", _spoilt(lambda o: edit_positions(o, barcode=["A-1"] * 30))),
    Case("scale factors cut short", _spoilt(lambda o: (o / "spatial/scalefactors_json.json").write_text("{"))),
    Case("scale factors of another form", _spoilt(lambda o: (o / "spatial/scalefactors_json.json").write_text("[1]"))),
    Case("an image of Space Ranger cut short", _spoilt(lambda o: cut(o / "spatial/tissue_lowres_image.png"))),
    Case("an archive of something else", _archive_of_something_else),
    Case("cells without a polygon of theirs", _cells_of_others),
    Case("polygons cut short", _cells_cut),
    Case("an h5ad without counts", _h5ad(lambda a: delattr(a, "X"))),
    Case("normalised values stated as counts", _h5ad(lambda a: _dense(a, lambda x: x / 2), "--expression", "counts")),
    Case("scaled values stated as counts", _h5ad(lambda a: _dense(a, lambda x: x - 1), "--expression", "counts")),
    Case("an h5ad with infinite counts", _h5ad(lambda a: _dense(a, lambda x: x / 0.0))),
    Case("an h5ad with a spot twice", _h5ad(lambda a: setattr(a, "obs_names", ["a"] * N))),
    Case("SpatialData that cannot be read", _not_zarr),
    Case(
        "an h5ad with three coordinates",
        _h5ad(lambda a: a.obsm.update(spatial=np.random.default_rng(1).random((N, 3)))),
    ),
    Case("an h5ad with the array row of some spots", _h5ad(lambda a: _array_row(a, [1.0] * (N - 1) + [np.nan]))),
    Case("an h5ad of several sections", _h5ad(lambda a: ad.concat([a, a, a, a], index_unique="-"))),
    Case("a pitch that contradicts the scale", _h5ad(lambda a: None, "--pitch-um", "100", "--um-per-px", "1")),
    Case("an h5ad of controls alone", _h5ad(lambda a: setattr(a, "var_names", [f"Blank-{k}" for k in range(5)]))),
    Case("an h5ad without spots", _h5ad(lambda a: a[:0].copy())),
)
