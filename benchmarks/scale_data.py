"""Simulated sections of any size for `bench_scale.py`, with the statistics of a real Visium HD section.

Proportions of genes and depth are those of a Visium HD crop. Layers with specific genes cross the section. Cell types
change every few bins, independent of the layer.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import anndata as ad
import h5py
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

BIN_UM, UM_PER_PX = 8.0, 0.274
HIRES_PX = 2_000
LAYERS, LAYER_GENES, LAYER_FOLD = 7, 80, 3.0
"""Number of layers, number of specific genes of each, and their fold change."""

CELL_TYPES, CELL_TYPE_SD, BINS_PER_CELL = 5, 0.4, 2
CELL_PITCH_UM, CELL_MOLECULES, CELL_GENES_OF_LAYER = 10.0, 150.0, 12
BLOCK = 20_000
"""Number of bins drawn at a time."""


def crop(folder: Path) -> tuple[pd.DataFrame, NDArray[np.float64], float, float]:
    """Return genes, their proportions, and mean and deviation of the log depth of 8 µm bins, from 16 µm bins."""
    with h5py.File(folder / "filtered_feature_bc_matrix.h5") as file:
        matrix = file["matrix"]
        genes = pd.DataFrame({key: matrix["features"][key].asstr()[:] for key in ("id", "name")})
        counts = sp.csc_matrix((matrix["data"][:], matrix["indices"][:], matrix["indptr"][:]), matrix["shape"][:])
    total = np.asarray(counts.sum(axis=1)).ravel() + 0.05  # genes that are absent from the crop get a very low rate
    depth = np.log(np.asarray(counts.sum(axis=0)).ravel() / (16 / BIN_UM) ** 2 + 1)
    return genes, total / total.sum(), float(depth.mean()), float(depth.std())


def layers(places: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the layer, from 0, of positions in the unit square: wavy bands of unequal width."""
    x, y = places.T
    height = y + 0.05 * np.sin(2 * np.pi * x) + 0.02 * np.sin(6 * np.pi * x + 1)
    borders = np.cumsum([0.10, 0.12, 0.20, 0.13, 0.12, 0.15])
    return np.searchsorted(borders, height)


def profiles(
    generator: np.random.Generator, shares: NDArray[np.float64], n_specific: int, sd: float
) -> NDArray[np.float64]:
    """Return proportions of genes by layer and cell type, (layers, types, genes)."""
    expressed = np.argsort(-shares)[: max(len(shares) // 6, LAYERS * n_specific)]
    specific = generator.permutation(expressed)[: LAYERS * n_specific].reshape(LAYERS, n_specific)
    level = shares * np.exp(generator.normal(0, sd, (CELL_TYPES, len(shares))))
    rates = np.repeat(level[None], LAYERS, axis=0)
    for layer in range(LAYERS):
        rates[layer][:, specific[layer]] *= LAYER_FOLD
    return rates / rates.sum(axis=2, keepdims=True)


def blocks(
    generator: np.random.Generator,
    group: NDArray[np.int64],
    depth: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> Iterator[sp.csr_matrix]:
    """Draw counts in blocks: Poisson depths, and genes by the proportions, (groups, genes), of the group of a spot."""
    cumulated = np.cumsum(shares, axis=1)
    cumulated[:, -1] = 1.0
    for first in range(0, len(group), BLOCK):
        part = slice(first, first + BLOCK)
        molecules = generator.poisson(depth[part])
        spot = np.repeat(np.arange(len(molecules)), molecules)
        gene = np.empty(len(spot), dtype=np.int64)
        for one in np.unique(group[part]):
            where = np.flatnonzero(group[part][spot] == one)
            gene[where] = np.searchsorted(cumulated[one], generator.random(len(where)))
        ones = np.ones(len(spot), dtype=np.int32)
        yield sp.csr_matrix((ones, (spot, gene)), shape=(len(molecules), shares.shape[1]))


def visium_hd(folder: Path, n_bins: int, source: Path, seed: int = 0) -> tuple[Path, Path]:
    """Write a square section of about ``n_bins`` bins of 8 µm in the layout of Space Ranger, and its layers."""
    generator = np.random.default_rng(seed)
    side = round(np.sqrt(n_bins))
    row, column = (index.ravel() for index in np.indices((side, side)))
    layer = layers(np.column_stack([column, row]) / side)
    cell = generator.integers(CELL_TYPES, size=(side // BINS_PER_CELL + 1,) * 2)[
        row // BINS_PER_CELL, column // BINS_PER_CELL
    ]
    genes, shares, mean, deviation = crop(source)
    depth = generator.lognormal(mean, deviation, side**2)
    by_group = profiles(generator, shares, LAYER_GENES, CELL_TYPE_SD).reshape(-1, len(genes))
    bins = folder / "binned_outputs/square_008um"
    (bins / "spatial").mkdir(parents=True, exist_ok=True)
    barcodes = np.array([f"s_008um_{r:05d}_{c:05d}-1" for r, c in zip(row, column, strict=True)])
    write_10x(
        bins / "filtered_feature_bc_matrix.h5",
        sp.vstack(list(blocks(generator, layer * CELL_TYPES + cell, depth, by_group)), format="csr"),
        barcodes,
        genes,
    )
    pitch = BIN_UM / UM_PER_PX
    pd.DataFrame(
        {
            "barcode": barcodes,
            "in_tissue": 1,
            "array_row": row,
            "array_col": column,
            "pxl_row_in_fullres": (row + 0.5) * pitch,
            "pxl_col_in_fullres": (column + 0.5) * pitch,
        }
    ).to_parquet(bins / "spatial/tissue_positions.parquet", index=False)
    scale = HIRES_PX / (side * pitch)
    factors = {
        "bin_size_um": BIN_UM,
        "microns_per_pixel": UM_PER_PX,
        "spot_diameter_fullres": pitch,
        "tissue_hires_scalef": scale,
        "tissue_lowres_scalef": scale * 0.3,
    }
    (bins / "spatial/scalefactors_json.json").write_text(json.dumps(factors), encoding="utf-8")
    hires = picture(generator)
    hires.save(bins / "spatial/tissue_hires_image.png")
    hires.resize((HIRES_PX * 3 // 10,) * 2).save(bins / "spatial/tissue_lowres_image.png")
    return folder, truth(folder / "truth.csv", barcodes, layer)


def cells(folder: Path, n_cells: int, n_genes: int, seed: int = 0) -> tuple[Path, Path]:
    """Write cells at irregular positions with a gene panel as ``.h5ad``, and their layers."""
    generator = np.random.default_rng(seed)
    side_um = CELL_PITCH_UM * np.sqrt(n_cells)
    places = generator.random((n_cells, 2))
    layer = layers(places)
    cell = generator.integers(CELL_TYPES, size=n_cells)
    shares = generator.gamma(0.5, 1.0, n_genes) + 0.02
    by_group = profiles(generator, shares / shares.sum(), CELL_GENES_OF_LAYER, 1.0).reshape(-1, n_genes)
    depth = generator.lognormal(np.log(CELL_MOLECULES), 0.5, n_cells)
    counts = sp.vstack(list(blocks(generator, layer * CELL_TYPES + cell, depth, by_group)), format="csr")
    names = [f"cell{i:07d}" for i in range(n_cells)]
    adata = ad.AnnData(
        counts.astype(np.float32),
        obs=pd.DataFrame(index=names),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)]),
        obsm={"spatial": places * side_um},
    )
    folder.mkdir(parents=True, exist_ok=True)
    adata.write_h5ad(folder / "cells.h5ad", compression="gzip")
    return folder / "cells.h5ad", truth(folder / "truth.csv", np.array(names), layer)


def write_10x(path: Path, counts: sp.csr_matrix, barcodes: NDArray[np.str_], genes: pd.DataFrame) -> None:
    """Write counts (spots × genes) as a feature-barcode matrix of 10x."""
    with h5py.File(path, "w") as file:
        matrix = file.create_group("matrix")
        options = {"compression": "gzip", "compression_opts": 1, "chunks": True}
        matrix.create_dataset("data", data=counts.data.astype(np.int32), **options)
        matrix.create_dataset("indices", data=counts.indices.astype(np.int64), **options)
        matrix.create_dataset("indptr", data=counts.indptr.astype(np.int64))
        matrix.create_dataset("shape", data=np.array(counts.shape[::-1], dtype=np.int32))
        matrix.create_dataset("barcodes", data=barcodes.astype("S"))
        features = matrix.create_group("features")
        features.create_dataset("_all_tag_keys", data=np.array([b"genome"]))
        features.create_dataset("id", data=genes["id"].to_numpy().astype("S"))
        features.create_dataset("name", data=genes["name"].to_numpy().astype("S"))
        features.create_dataset("feature_type", data=np.full(len(genes), b"Gene Expression"))
        features.create_dataset("genome", data=np.full(len(genes), b"GRCh38"))


def picture(generator: np.random.Generator) -> Image.Image:
    """Return a random image with the colours of haematoxylin and eosin, independent of the layers."""
    field = gaussian_filter(generator.normal(size=(HIRES_PX, HIRES_PX)), 3, mode="wrap")
    share = (field - field.min()) / np.ptp(field)
    colour = (1 - share[..., None]) * np.array([226, 168, 201]) + share[..., None] * np.array([112, 72, 146])
    return Image.fromarray(colour.astype(np.uint8))


def truth(path: Path, barcodes: NDArray[np.str_], layer: NDArray[np.int64]) -> Path:
    """Write the layer of every spot as labels."""
    pd.DataFrame({"barcode": barcodes, "label": [f"L{one}" for one in layer]}).to_csv(path, index=False)
    return path
