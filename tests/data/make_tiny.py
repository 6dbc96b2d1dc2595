"""Make the tiny sections of this folder from the crops that come with staple (see README.md).

    git clone https://github.com/break-through-cancer/staple && git -C staple checkout d5f80970f475
    python tests/data/make_tiny.py staple/tests/data/visium staple/tests/data/hdvisium

Spots are all of the crops'; genes are chosen by their counts alone; images are cut to the spots, and pixel coordinates
shifted accordingly.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
from PIL import Image

from mmsrl.ingest.matrix import Counts, read_10x_h5
from mmsrl.ingest.positions import COLUMNS, read_positions

HERE = Path(__file__).parent
MARGIN = 12
"""Pixels of the image kept around the spots."""


def choose_genes(counts: Counts, n_variable: int, n_rare: int) -> np.ndarray:
    """Return the most variable genes for their mean, all mitochondrial and haemoglobin ones, and some rare ones."""
    symbols = counts.features["symbol"]
    mean = np.asarray(counts.matrix.mean(axis=0)).ravel()
    variance = np.asarray(counts.matrix.power(2).mean(axis=0)).ravel() - mean**2
    excess = np.where(mean > 0, variance / np.maximum(mean, 1e-9), 0)
    chosen = set(np.argsort(-excess, kind="stable")[:n_variable])
    chosen |= set(np.flatnonzero(symbols.str.match(r"MT-|HB[AB]\d?$")))
    seen = counts.matrix.getnnz(axis=0)
    chosen |= set(np.flatnonzero((seen > 0) & (seen < 3))[:n_rare]) | set(np.flatnonzero(seen == 0)[:n_rare])
    return np.array(sorted(chosen))


def write_h5(path: Path, counts: Counts, genes: np.ndarray, attributes: dict[str, object]) -> None:
    """Write a version 3 feature-barcode matrix."""
    matrix, features = counts.matrix[:, genes].tocsr(), counts.features.iloc[genes]
    packed = {"compression": "gzip", "compression_opts": 9, "shuffle": True}
    with h5py.File(path, "w") as file:
        file.attrs.update(attributes)
        group = file.create_group("matrix")
        group["barcodes"] = counts.barcodes.astype("S")
        group.create_dataset("data", data=matrix.data.astype(np.int32), **packed)
        group.create_dataset("indices", data=matrix.indices.astype(np.int64), **packed)
        group.create_dataset("indptr", data=matrix.indptr.astype(np.int64), **packed)
        group["shape"] = np.array(matrix.shape[::-1], dtype=np.int32)
        columns = {"id": "gene_ids", "name": "symbol", "feature_type": "feature_types", "genome": "genome"}
        for name, column in columns.items():
            group.create_dataset(f"features/{name}", data=features[column].to_numpy(dtype="S"), **packed)
        group["features/_all_tag_keys"] = np.array([b"genome"])


def make(source: Path, target: Path, n_variable: int) -> pd.DataFrame:
    """Write one tiny section; return its positions."""
    spatial = target / "spatial"
    spatial.mkdir(parents=True, exist_ok=True)
    with h5py.File(source / "filtered_feature_bc_matrix.h5") as file:
        attributes = {name: file.attrs[name] for name in ("filetype", "version", "chemistry_description")}
    counts = read_10x_h5(source / "filtered_feature_bc_matrix.h5")
    write_h5(target / "filtered_feature_bc_matrix.h5", counts, choose_genes(counts, n_variable, 20), attributes)

    scalefactors = (source / "spatial" / "scalefactors_json.json").read_text()
    (spatial / "scalefactors_json.json").write_text(scalefactors)
    scale = json.loads(scalefactors)["tissue_lowres_scalef"]
    original = next((source / "spatial").glob("tissue_positions*"))
    positions = read_positions(original)
    pixels = ["pxl_col_in_fullres", "pxl_row_in_fullres"]
    corner = np.floor(positions[pixels].min() * scale).to_numpy() - MARGIN
    opposite = np.ceil(positions[pixels].max() * scale).to_numpy() + MARGIN
    with Image.open(source / "spatial" / "tissue_lowres_image.png") as image:
        image.crop((*corner.astype(int), *opposite.astype(int))).save(
            spatial / "tissue_lowres_image.png", optimize=True
        )
    positions[pixels] -= corner / scale
    table = positions.reset_index()[list(COLUMNS)]
    if original.suffix == ".parquet":
        table.to_parquet(spatial / original.name, index=False)
    else:
        table[pixels] = table[pixels].round().astype(int)
        table.to_csv(spatial / original.name, index=False, header=False)
    return positions


def main() -> None:
    """Write `tiny`, with a made-up truth, and `tiny_hd`."""
    visium, hd = map(Path, sys.argv[1:3])
    positions = make(visium, HERE / "tiny", 1000)
    bins = Path("binned_outputs") / "square_016um"
    make(hd / bins, HERE / "tiny_hd" / bins, 700)

    third = np.digitize(positions["array_row"], np.quantile(positions["array_row"], [1 / 3, 2 / 3]))
    with (HERE / "tiny" / "truth.csv").open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["barcode", "label"])
        for number, (barcode, part) in enumerate(zip(positions.index, third, strict=True)):
            writer.writerow([barcode, "" if number % 50 == 0 else f"made_up_{part + 1}"])


if __name__ == "__main__":
    main()
