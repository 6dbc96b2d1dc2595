"""Small simulated sections in the layouts of Space Ranger: 30 spots of Visium, 36 bins of Visium HD."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image
from scipy import io as sio
from scipy import sparse

PITCH = 100.0
GENES = [
    ("ENSG1", "GAPDH"),
    ("ENSG2", "TBCE"),
    ("ENSG3", "TBCE"),
    ("ENSG4", "MT-CO1"),
    ("ENSG5", "NA"),
    ("ENSG6", "ACTB"),
]


def hexagonal(n_rows: int = 6, n_cols: int = 5) -> pd.DataFrame:
    row, half = (index.ravel() for index in np.mgrid[:n_rows, :n_cols])
    col = 2 * half + row % 2
    letters = np.array(list("ACGT"))
    barcodes = ["".join(letters[[(k >> 2 * i) & 3 for i in range(16)]]) + "-1" for k in range(len(row))]
    pixels = {"pxl_row_in_fullres": row * np.sqrt(3) / 2 * PITCH + 300, "pxl_col_in_fullres": col / 2 * PITCH + 200}
    return pd.DataFrame({"barcode": barcodes, "in_tissue": 1, "array_row": row, "array_col": col, **pixels})


def square(n: int = 6, bin_um: int = 16) -> pd.DataFrame:
    row, col = (index.ravel() for index in np.mgrid[:n, :n])
    barcodes = [f"s_{bin_um:03d}um_{r:05d}_{c:05d}-1" for r, c in zip(row, col, strict=True)]
    pixels = {"pxl_row_in_fullres": row * 50.0, "pxl_col_in_fullres": col * 50.0 + 9}
    return pd.DataFrame({"barcode": barcodes, "in_tissue": 1, "array_row": row, "array_col": col, **pixels})


def counts_of(n_spots: int, n_genes: int = len(GENES)) -> sparse.csr_matrix:
    return sparse.csr_matrix(np.random.default_rng(0).poisson(2.0, (n_spots, n_genes)))


def write_h5_v3(path: Path, counts, barcodes, genes=GENES, types=None, genomes=None) -> None:
    counts = sparse.csr_matrix(counts)
    with h5py.File(path, "w") as file:
        group = file.create_group("matrix")
        group["barcodes"] = np.array(barcodes, dtype="S")
        group["data"], group["indices"], group["indptr"] = counts.data, counts.indices, counts.indptr
        group["shape"] = counts.shape[::-1]
        group["features/id"] = np.array([gene for gene, _ in genes], dtype="S")
        group["features/name"] = np.array([symbol for _, symbol in genes], dtype="S")
        group["features/feature_type"] = np.array(types or ["Gene Expression"] * len(genes), dtype="S")
        if genomes is not None:
            group["features/genome"] = np.array(genomes, dtype="S")


def write_spatial(folder: Path, positions: pd.DataFrame, version: str = "v1", factors: dict | None = None) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if version == "v1":
        positions.to_csv(folder / "tissue_positions_list.csv", header=False, index=False)
    elif version == "v2":
        positions.to_csv(folder / "tissue_positions.csv", index=False)
    else:
        positions.to_parquet(folder / "tissue_positions.parquet", index=False)
    factors = factors or {"spot_diameter_fullres": 65.0, "tissue_hires_scalef": 0.2, "tissue_lowres_scalef": 0.05}
    (folder / "scalefactors_json.json").write_text(json.dumps(factors))
    write_image(folder / "tissue_lowres_image.png")


def as_three_files(outs: Path, packed: bool, legacy: bool) -> None:
    (outs / "filtered_feature_bc_matrix.h5").unlink()
    folder = outs / "filtered_feature_bc_matrix"
    folder.mkdir()
    positions = hexagonal()
    buffer = io.BytesIO()
    sio.mmwrite(buffer, counts_of(len(positions)).T.tocoo(), field="integer")
    rows = ["\t".join(gene) + ("" if legacy else "\tGene Expression") for gene in GENES]
    texts = {
        "matrix.mtx": buffer.getvalue(),
        "barcodes.tsv": "\n".join(positions["barcode"]).encode() + b"\n",
        "genes.tsv" if legacy else "features.tsv": "\n".join(rows).encode() + b"\n",
    }
    for name, text in texts.items():
        path = folder / (f"{name}.gz" if packed else name)
        path.write_bytes(gzip.compress(text) if packed else text)


def as_v2_h5(outs: Path) -> None:
    positions, counts = hexagonal(), counts_of(30)
    with h5py.File(outs / "filtered_feature_bc_matrix.h5", "w") as file:
        group = file.create_group("GRCh38")
        group["barcodes"] = np.array(positions["barcode"], dtype="S")
        group["data"], group["indices"], group["indptr"] = counts.data, counts.indices, counts.indptr
        group["shape"] = counts.shape[::-1]
        group["genes"] = np.array([gene for gene, _ in GENES], dtype="S")
        group["gene_names"] = np.array([symbol for _, symbol in GENES], dtype="S")


def visium(folder: Path) -> Path:
    """Write a Visium section in the layout of version 1; ``folder`` is its `outs`."""
    positions = hexagonal()
    write_spatial(folder / "spatial", positions)
    write_h5_v3(folder / "filtered_feature_bc_matrix.h5", counts_of(len(positions)), positions["barcode"])
    return folder


def visium_hd(folder: Path) -> Path:
    """Write a Visium HD section with bins of 8 and 16 µm; ``folder`` is its `outs`."""
    for bin_um in (8, 16):
        bins = folder / "binned_outputs" / f"square_{bin_um:03d}um"
        factors = {"spot_diameter_fullres": 50.0, "bin_size_um": float(bin_um), "microns_per_pixel": bin_um / 50}
        positions = square(bin_um=bin_um)
        write_spatial(bins / "spatial", positions, "hd", factors | {"tissue_lowres_scalef": 0.1})
        write_h5_v3(bins / "filtered_feature_bc_matrix.h5", counts_of(len(positions)), positions["barcode"])
    return folder


def cut(path: Path) -> None:
    """Truncate a file to its first half."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def put_counts(outs: Path, counts, barcodes=None, **more) -> None:
    """Replace the counts of a Visium section."""
    barcodes = hexagonal()["barcode"] if barcodes is None else barcodes
    write_h5_v3(outs / "filtered_feature_bc_matrix.h5", counts, barcodes, **more)


def edit_positions(outs: Path, **columns) -> None:
    """Replace columns of the positions of a Visium section."""
    write_spatial(outs / "spatial", hexagonal().astype(object).assign(**columns))


def first_of(column: str, value) -> list:
    """Return a column of the positions with a different first value."""
    return [value, *hexagonal()[column][1:]]


def cell_outlines(numbers, *, centroids: bool = False, scale: float = 1.0) -> dict:
    """Return GeoJSON of segmented cells: squares of 20 × ``scale`` pixels, positioned by cell number."""
    features = []
    for number in numbers:
        x, y = place_of_cell(number)
        half = 10 * scale
        corners = [(-half, -half), (half, -half), (half, half), (-half, half), (-half, -half)]
        ring = [[x + dx, y + dy] for dx, dy in corners]
        about: dict = {"cell_id": int(number)} | ({"cell_centroid": [x + 1, y + 2]} if centroids else {})
        geometry = {"type": "Polygon", "coordinates": [ring]}
        features.append({"type": "Feature", "properties": about, "geometry": geometry})
    return {"type": "FeatureCollection", "features": features}


def place_of_cell(number: int) -> tuple[float, float]:
    """Return x and y of the centre of a segmented cell, off any lattice."""
    row, col = divmod(int(number), 6)
    shift = np.random.default_rng(int(number)).uniform(-8, 8, 2)
    return float(100 + 40 * col + shift[0]), float(900 + 40 * row + shift[1])


def segmented(folder: Path, *, version: str = "4.0", images: bool = True, prefix: str = "") -> Path:
    """Write segmented cells as Space Ranger 4 does; ``folder`` is `segmented_outputs`.

    There are 36 cells in the raw matrix, 34 polygons in another order, and 33 cells in the filtered matrix, of which
    one, number 5, has no polygon.
    """
    (folder / "spatial").mkdir(parents=True)
    barcodes = [f"cellid_{number:09d}-1" for number in range(1, 37)]
    write_h5_v3(folder / f"{prefix}raw_feature_cell_matrix.h5", counts_of(36), barcodes)
    write_h5_v3(folder / f"{prefix}filtered_feature_cell_matrix.h5", counts_of(36)[:33], barcodes[:33])
    outlines = cell_outlines([n for n in range(36, 0, -1) if n not in (5, 35)], centroids=version == "4.1")
    nuclei = cell_outlines(range(1, 37), scale=0.5)
    (folder / f"{prefix}cell_segmentations.geojson").write_text(json.dumps(outlines))
    (folder / f"{prefix}nucleus_segmentations.geojson").write_text(json.dumps(nuclei))
    factors = {"microns_per_pixel": 0.25, "tissue_hires_scalef": 0.2, "tissue_lowres_scalef": 0.05}
    (folder / "spatial" / f"{prefix}scalefactors_json.json").write_text(json.dumps(factors))
    if images:
        Image.new("RGB", (40, 60), (200, 100, 150)).save(folder / "spatial" / f"{prefix}tissue_lowres_image.png")
    return folder


def write_image(path: Path) -> None:
    Image.new("RGB", (40, 60), (200, 100, 150)).save(path)


def as_geo(outs: Path, folder: Path, prefix: str, *, three_files: bool = False) -> Path:
    """Write a Visium section in the layout of GEO: one folder, a file prefix, and gzip except for HDF5."""
    folder.mkdir(exist_ok=True)
    if three_files:
        as_three_files(outs, packed=False, legacy=False)
    for path in sorted(outs.rglob("*")):
        if path.is_file() and path.suffix == ".h5":
            (folder / f"{prefix}{path.name}").write_bytes(path.read_bytes())
        elif path.is_file():
            (folder / f"{prefix}{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
    return folder
