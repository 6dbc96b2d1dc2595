"""Output folders of instruments with the vendors' file names: 30 cells, 4 genes and a control."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import geopandas
import h5py
import numpy as np
import pandas as pd
import shapely
from scipy import io as sio
from scipy import sparse
from spaceranger import write_h5_v3

from mmsrl.ingest.api import Ingested

N = 30
GENES = ("Gapdh", "Actb", "Rps3", "Hbb-bs")
PLACES = np.column_stack([np.arange(N) * 10.0 + 100, 50 + 20 * np.sin(np.arange(N))])
"""Coordinates x, y in µm, (N, 2)."""
COUNTS = np.random.default_rng(0).poisson(3.0, (N, len(GENES) + 1)) + 1
"""Counts of four genes and a control, (N, 5)."""
SIDE = 6.0
"""Side of the square outlines of cells in µm."""

CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * SIDE / 2


def vertices(places: np.ndarray, scale: float = 1.0) -> np.ndarray:
    """Return the corners of the cells, (4 N, 2)."""
    return ((places[:, None] + CORNERS) * scale).reshape(-1, 2)


def xenium(folder: Path, *, ids: list[object] | None = None, cells: str = "cells.parquet", prefix: str = "") -> Path:
    """Write a folder of Xenium; ``cells`` names the table of cells, ``prefix`` precedes every file name."""
    folder.mkdir(parents=True)
    ids = ids or [f"aaaa{'abcdefghijklmnop'[k // 16]}{'abcdefghijklmnop'[k % 16]}cg-1" for k in range(N)]
    names = [name.decode() if isinstance(name, bytes) else str(name) for name in ids]
    write_h5_v3(
        folder / f"{prefix}cell_feature_matrix.h5",
        COUNTS,
        names,
        genes=[*((f"ENSG{k}", gene) for k, gene in enumerate(GENES)), ("NegControlProbe_1", "NegControlProbe_1")],
        types=["Gene Expression"] * len(GENES) + ["Negative Control Probe"],
    )
    table = pd.DataFrame(
        {
            "cell_id": ids,
            "x_centroid": PLACES[:, 0],
            "y_centroid": PLACES[:, 1],
            "cell_area": SIDE**2,
            "nucleus_area": 9.0,
        }
    )
    save(table, folder / f"{prefix}{cells}")
    if not prefix:
        (folder / "experiment.xenium").write_text(json.dumps({"pixel_size": 0.2125}))
    return folder


def save(table: pd.DataFrame, path: Path) -> None:
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_csv(path, index=False)


def xenium_outlines(folder: Path, name: str = "cell_boundaries.parquet") -> None:
    cells = pd.read_parquet(folder / "cells.parquet")["cell_id"]
    corners = vertices(PLACES)
    table = pd.DataFrame({"cell_id": np.repeat(cells, 4), "vertex_x": corners[:, 0], "vertex_y": corners[:, 1]})
    save(table[4:], folder / name)  # the first cell has none


def as_mex(folder: Path) -> None:
    """Replace the HDF5 matrix of Xenium by three text files."""
    (folder / "cell_feature_matrix.h5").unlink()
    matrix = folder / "cell_feature_matrix"
    matrix.mkdir()
    with open(matrix / "matrix.mtx", "wb") as handle:
        sio.mmwrite(handle, sparse.coo_matrix(COUNTS.T), field="integer")
    cells = pd.read_parquet(folder / "cells.parquet")["cell_id"]
    (matrix / "barcodes.tsv").write_text("".join(f"{cell}\n" for cell in cells))
    types = ["Gene Expression"] * len(GENES) + ["Negative Control Probe"]
    names = [*GENES, "NegControlProbe_1"]
    (matrix / "features.tsv").write_text("".join(f"{n}\t{n}\t{t}\n" for n, t in zip(names, types, strict=True)))


def cosmx(folder: Path, *, packed: bool = True, pixel_um: float = 0.12028, atomx: bool = False) -> Path:
    """Write flat files of CosMx: two fields of view, each with cells from 1 and the background as cell 0."""
    folder.mkdir(parents=True)
    ending = ".csv.gz" if packed else ".csv"
    fov, cell = np.arange(N) // 15 + 1, np.arange(N) % 15 + 1
    genes = [*GENES, "Negative01" if atomx else "NegPrb01"]
    counts = pd.DataFrame(COUNTS, columns=genes)
    counts.insert(0, "fov", fov)
    counts.insert(1, "cell_ID", cell)
    background = pd.DataFrame([[1, 0, *[99] * len(genes)], [2, 0, *[99] * len(genes)]], columns=counts.columns)
    pd.concat([background, counts]).to_csv(folder / f"S0_exprMat_file{ending}", index=False)
    pixels = PLACES / pixel_um
    table = {"fov": fov, "cell_ID": cell, "Area": SIDE**2 / pixel_um**2}
    table |= {"CenterX_local_px": pixels[:, 0] % 4000, "CenterY_local_px": pixels[:, 1]}
    table |= {"CenterX_global_px": pixels[:, 0], "CenterY_global_px": pixels[:, 1], "Mean.DAPI": 5}
    if atomx:
        table |= {"cell": [f"c_1_{f}_{c}" for f, c in zip(fov, cell, strict=True)], "Area.um2": SIDE**2}
    pd.DataFrame(table).to_csv(folder / f"S0_metadata_file{ending}", index=False)
    corners = vertices(PLACES, 1 / pixel_um)
    outlines = {"fov": np.repeat(fov, 4), "cellID": np.repeat(cell, 4), "x_local_px": 0.0, "y_local_px": 0.0}
    outlines |= {"x_global_px": corners[:, 0], "y_global_px": corners[:, 1]}
    pd.DataFrame(outlines).to_csv(folder / f"S0-polygons{ending}", index=False)
    return folder


MERSCOPE_IDS = [str(110883424764611924400 + 17 * k) for k in range(N)]
"""Cell names of 21 digits, which exceed 64-bit integers."""


def merscope(folder: Path, *, id_column: str = "cell", suffix: str = "", ids: list[str] = MERSCOPE_IDS) -> Path:
    """Write a region of MERSCOPE without images."""
    folder.mkdir(parents=True)
    counts = pd.DataFrame(COUNTS.astype(float), columns=[*GENES, "Blank-1"])
    counts.insert(0, id_column, ids)
    counts.to_csv(folder / f"cell_by_gene{suffix}.csv", index=False)
    cells = pd.DataFrame(
        {"EntityID": ids, "fov": 0, "volume": 99.5, "center_x": PLACES[:, 0], "center_y": PLACES[:, 1]}
    )
    cells.to_csv(folder / f"cell_metadata{suffix}.csv", index=False)
    return folder


def merscope_outlines(folder: Path) -> None:
    """Write outlines in two planes, of which the upper is smaller, with 64-bit integers as names."""
    ids = pd.read_csv(folder / "cell_metadata.csv", dtype=str)["EntityID"].astype("int64")
    planes = []
    for z, shrink in ((1, 0.5), (0, 1.0)):
        shapes = [shapely.MultiPolygon([shapely.Polygon(place + CORNERS * shrink)]) for place in PLACES]
        planes.append(geopandas.GeoDataFrame({"EntityID": ids, "ZIndex": z}, geometry=shapes))
    pd.concat(planes).rename_geometry("Geometry").to_parquet(folder / "cell_boundaries.parquet")


def seqfish(folder: Path, roi: str = "Roi1") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    labels = pd.Index(np.arange(1, N + 1), name=None)
    pd.DataFrame(COUNTS[:, :4], columns=list(GENES), index=labels).to_csv(folder / f"{roi}_CellxGene.csv")
    places = {"label": labels, "area": SIDE**2, "center_x": PLACES[:, 0], "center_y": PLACES[:, 1]}
    pd.DataFrame(places).to_csv(folder / f"{roi}_CellCoordinates.csv", index=False)
    return folder


def stereoseq(folder: Path, *, nm: int = 500, old: bool = False) -> Path:
    """Write the folder of SAW: cells with outlines, and spots of the chip; ``old`` omits gene ids."""
    (folder / "feature_expression").mkdir(parents=True)
    spots = np.round(PLACES * 1000 / nm).astype(int)
    cellbin = folder / "feature_expression/SS200000135TL_D1.cellbin.gef"
    with h5py.File(cellbin, "w") as file:
        file.attrs["resolution"] = np.array([nm], np.uint32)
        n_genes = COUNTS.shape[1]
        cells = np.zeros(
            N, [("id", "u4"), ("x", "i4"), ("y", "i4"), ("offset", "u4"), ("geneCount", "u2"), ("area", "u2")]
        )
        cells["id"], cells["x"], cells["y"] = np.arange(N) + 7, spots[:, 0], spots[:, 1]
        cells["offset"], cells["geneCount"] = np.arange(N) * n_genes, n_genes
        cells["area"] = round((SIDE * 1000 / nm) ** 2)
        file["cellBin/cell"] = cells
        expressed = np.zeros(COUNTS.size, [("geneID", "u4"), ("count", "u2")])
        expressed["geneID"], expressed["count"] = np.tile(np.arange(n_genes), N), COUNTS.ravel()
        file["cellBin/cellExp"] = expressed
        file["cellBin/gene"] = genes_of(old, "cellCount", [N] * n_genes)
        borders = np.full((N, 32, 2), 32767, np.int16)
        borders[1:, :4] = CORNERS * 1000 / nm  # the first cell has none
        file["cellBin/cellBorder"] = borders
    with h5py.File(folder / "feature_expression/SS200000135TL_D1.tissue.gef", "w") as file:
        records = np.zeros(2 * COUNTS.size, [("x", "i4"), ("y", "i4"), ("count", "u1")])
        # Each molecule count twice, at the cell and five spots to the right of it, gene by gene.
        x = np.concatenate([np.concatenate([spots[:, 0], spots[:, 0] + 5])] * n_genes)
        records["x"], records["y"] = x, np.tile(spots[:, 1], 2 * n_genes)
        records["count"] = np.concatenate([np.tile(COUNTS[:, gene], 2) for gene in range(n_genes)])
        expression = file.create_dataset("geneExp/bin1/expression", data=records)
        expression.attrs["resolution"] = np.array([nm], np.uint32)
        file["geneExp/bin1/gene"] = genes_of(old, "count", [2 * N] * n_genes)
    return folder


def genes_of(old: bool, counted: str, counts: list[int]) -> np.ndarray:
    names = [*GENES, "ERCC-00002"]
    fields = (
        [("gene" if counted == "count" else "geneName", "S64")] if old else [("geneID", "S64"), ("geneName", "S64")]
    )
    genes = np.zeros(len(names), [*fields, ("offset", "u4"), (counted, "u4")])
    genes[fields[-1][0]] = names
    if not old:
        genes["geneID"] = [f"ENSG{k}" for k in range(len(names))]
    genes[counted] = counts
    genes["offset"] = np.concatenate([[0], np.cumsum(counts)[:-1]])
    return genes


def curio(folder: Path) -> Path:
    folder.mkdir(parents=True)
    adata = ad.AnnData(
        sparse.csr_matrix(COUNTS.astype(np.float32)),
        obs=pd.DataFrame(index=["".join("ACGT"[(k >> 2 * i) & 3] for i in range(14)) for k in range(N)]),
        var=pd.DataFrame(index=[*GENES, "mt-Co1"]),
        obsm={"spatial": PLACES, "X_spatial": PLACES},
    )
    adata.write_h5ad(folder / "Mouse_hippocampus_anndata.h5ad")
    (folder / "Mouse_hippocampus_Metrics.csv").write_text("Metric,Value,Category\nReads,1,Sequencing\n")
    return folder


def dbit(folder: Path) -> Path:
    """Write DBiT-seq: six by five pixels, named by the barcodes of both directions."""
    folder.mkdir(parents=True)
    letters = ["".join("ACGT"[(k >> 2 * i) & 3] for i in range(8)) for k in range(6)]
    row, col = (index.ravel() for index in np.mgrid[:6, :5])
    ad.AnnData(
        sparse.csr_matrix(COUNTS.astype(np.float32)),
        obs=pd.DataFrame(index=[letters[b] + letters[a] for a, b in zip(row, col, strict=True)]),
        var=pd.DataFrame(index=[*GENES, "mt-Co1"]),
    ).write_h5ad(folder / "GSM4364242_E11-1L.h5ad")
    lines = [f"{side}{k + 1}\t{barcode}" for side in "AB" for k, barcode in enumerate(letters)]
    (folder / "barcode_list.txt").write_text("\n".join(lines) + "\n")
    return folder


def assert_read(ingested: Ingested, platform: str, *, names: list[str] | None = None) -> None:
    """Assert that every cell has its counts of the four genes, its coordinates and the scale."""
    adata = ingested.adata
    about = adata.uns["mmsrl"]
    assert about["platform"] == platform
    assert list(adata.var_names) == list(GENES)
    np.testing.assert_array_equal(adata.X.toarray(), COUNTS[:, :4])
    np.testing.assert_allclose(adata.obsm["spatial"] * about["um_per_px"], PLACES, atol=0.5)
    if names is not None:
        assert list(adata.obs_names) == names
