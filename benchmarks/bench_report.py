"""Measure time, memory and file sizes of the commands that write the final files of a large section.

The section is simulated: ``--cells`` cells at irregular positions, six adjacent domains in tissue with an irregular
border, ``--genes`` genes of which some follow the domains, an image, and the output of all stages before ``assemble``.
``mmsrl-assemble``, ``mmsrl-page``, ``mmsrl-figures`` and ``mmsrl-report`` then run in separate processes. With
``--outlines``, every cell has an outline of 20 corners. Results go to ``report.json`` and ``report.md`` in
``--output-dir``, next to the files.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

SAMPLE = "cells"
SIDE_UM = 7_000.0
UM_PER_PX = 0.2125
"""Pixel size of Xenium."""
DOMAINS = 6
SHOWN_GENES = 12


def smooth_fields(generator: np.random.Generator, n: int, places: np.ndarray, width: float) -> np.ndarray:
    """Return ``n`` smooth random fields at positions in the unit square, (n_places, n)."""
    grid = np.stack([gaussian_filter(generator.normal(size=(200, 200)), width, mode="wrap") for _ in range(n)], axis=2)
    row, column = (np.clip(places * 200, 0, 199).astype(int)).T
    fields = grid[row, column]
    return (fields - fields.mean(axis=0)) / fields.std(axis=0)


def cells(n: int, n_genes: int, seed: int = 0) -> tuple[ad.AnnData, np.ndarray, np.ndarray]:
    """Simulate counts of cells, their domains, (n,) from 0, and smooth fields as latent representation, (n, 15)."""
    generator = np.random.default_rng(seed)
    places = generator.random((2 * n, 2))
    tissue = smooth_fields(generator, 1, places, 25)[:, 0] - 3 * np.hypot(*(places - 0.5).T) + 1.2
    places = places[np.argsort(-tissue)[:n]]  # the border follows a field, and the cell density is constant
    fields = smooth_fields(generator, DOMAINS, places, 18)
    domain = fields.argmax(axis=1)
    effect = generator.normal(0, 0.8, (DOMAINS, n_genes)) * (generator.random(n_genes) < 0.3)
    level = generator.gamma(0.5, 1.0, n_genes) + 0.02
    depth = generator.lognormal(0, 0.5, n)
    counts = sp.vstack(
        [
            sp.csr_matrix(
                generator.poisson(depth[part, None] * level * np.exp(effect[domain[part]])).astype(np.float32)
            )
            for part in np.array_split(np.arange(n), max(n // 5_000, 1))
        ],
        format="csr",
    )
    total = np.asarray(counts.sum(axis=1)).ravel()
    side = int(SIDE_UM / UM_PER_PX)
    adata = ad.AnnData(
        counts,
        obs=pd.DataFrame(
            {"total_counts": total, "n_genes_by_counts": np.diff(counts.indptr), "pct_counts_mt": 0.0},
            index=[f"aaaa{i:06d}-1" for i in range(n)],
        ),
        var=pd.DataFrame(index=[f"GENE{i}" for i in range(n_genes)]),
        obsm={"spatial": places * side},
        uns={
            "spatial": {SAMPLE: picture(generator, side)},
            "mmsrl": {
                "sample": SAMPLE,
                "platform": "xenium",
                "lattice": "none",
                "pitch_px": 10 / UM_PER_PX,
                "pitch_um": 10.0,
                "um_per_px": UM_PER_PX,
                "spot_diameter_px": float("nan"),
                "species": "human",
            },
        },
    )
    return adata, domain, np.column_stack([fields, smooth_fields(generator, 9, places, 8)])


def picture(generator: np.random.Generator, side: int) -> dict[str, Any]:
    """Return an image of pink tissue with its scale factor, as an entry of ``uns['spatial']``."""
    grey = gaussian_filter(generator.normal(size=(2000, 2000)), 4)
    grey = np.clip(200 + 30 * grey / grey.std(), 0, 255)
    image = np.stack([grey, 0.8 * grey, grey], axis=2).astype(np.uint8)
    return {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 2000 / side}}


def write_stages(folder: Path, n: int, n_genes: int, *, outlined: bool) -> None:
    """Write the output of all stages before ``assemble``."""
    adata, domain, fields = cells(n, n_genes)
    adata.write_h5ad(folder / f"{SAMPLE}.qc.h5ad")
    spots = pd.DataFrame({"sample": SAMPLE, "barcode": adata.obs_names})
    about = {"mmsrl": {"sample": SAMPLE}}
    nothing = np.zeros((n, 0), np.float32)
    described = ad.AnnData(nothing, obs=pd.DataFrame(index=adata.obs_names), obsm={"X_image": nothing}, uns=about)
    described.write_h5ad(folder / f"{SAMPLE}.features.h5ad")
    located = spots.set_index(adata.obs_names)
    embedding = {"X_mmsrl": fields.astype(np.float32), "spatial": adata.obsm["spatial"]}
    ad.AnnData(obs=located, obsm=embedding).write_h5ad(folder / f"{SAMPLE}.embedding.h5ad")
    generator = np.random.default_rng(1)
    rank = pd.Series(fields[:, 0]).rank(pct=True).to_numpy()
    centres = 6 * np.column_stack([np.cos(np.arange(DOMAINS)), np.sin(np.arange(DOMAINS) * 2)])
    layout = centres[domain] + generator.normal(size=(n, 2))
    ordered = ad.AnnData(obs=located.assign(pseudotime=rank, pseudotime_rank=rank), obsm={"X_umap": layout})
    ordered.write_h5ad(folder / f"{SAMPLE}.trajectory.h5ad")
    (folder / "unit").mkdir(exist_ok=True)
    confidence = np.clip(generator.beta(6, 2, n), 0, 1)
    table = spots.assign(domain=(domain + 1).astype(str), domain_confidence=confidence.round(4))
    table.to_csv(folder / "unit" / f"{SAMPLE}.domains.csv", index=False)
    summaries = {
        "domains": {"members": 1},
        "trajectory": {
            "paga": [{"one": str(i), "other": str(i + 1), "connectivity": 0.5} for i in range(1, DOMAINS)],
        },
    }
    for stage, result in summaries.items():
        content = {"stage": stage, "id": SAMPLE, "parameters": {"readout": "gmm"}, "messages": [], "result": result}
        (folder / f"{SAMPLE}.{stage}.json").write_text(json.dumps(content))
    if outlined:
        write_outlines(folder / f"{SAMPLE}.outlines.parquet", adata)


def write_outlines(path: Path, adata: ad.AnnData, corners: int = 20) -> None:
    """Write an irregular outline for every cell."""
    import geopandas
    import shapely

    generator = np.random.default_rng(2)
    angles = 2 * np.pi * np.arange(corners) / corners
    radius = 4 / UM_PER_PX * generator.uniform(0.8, 1.2, (adata.n_obs, corners))
    rings = adata.obsm["spatial"][:, None] + radius[..., None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    frame = geopandas.GeoDataFrame({"barcode": adata.obs_names}, geometry=shapely.polygons(rings))
    frame.to_parquet(path)


def measured(command: list[str]) -> dict[str, float]:
    """Run a command, and return its wall seconds, CPU seconds and peak memory."""
    start = time.monotonic()
    process = subprocess.Popen(command)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{command[0]}: exit status {os.waitstatus_to_exitcode(status)}")
    return {
        "seconds": time.monotonic() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024),
    }


def commands(folder: Path, *, outlined: bool, spatialdata: bool = True) -> dict[str, list[str]]:
    """Return the command lines by name, in the order of execution."""

    def path_of(ending: str) -> str:
        return str(folder / f"{SAMPLE}.{ending}")

    bin_ = Path(sys.executable).parent
    assemble = ["--id", SAMPLE, "--counts", path_of("qc.h5ad"), "--features", path_of("features.h5ad")]
    assemble += ["--embedding", path_of("embedding.h5ad"), "--domains", str(folder / "unit" / f"{SAMPLE}.domains.csv")]
    assemble += ["--trajectory", path_of("trajectory.h5ad"), "--spatialdata", str(spatialdata).lower()]
    assemble += ["--outlines", path_of("outlines.parquet")] if outlined else []
    genes = ",".join(f"GENE{i}" for i in range(SHOWN_GENES))
    report, pages = folder / "report", folder / "report" / "sections"
    pages.mkdir(parents=True, exist_ok=True)
    unit, summaries = ["--id", SAMPLE, "--assembled", path_of("mmsrl.h5ad")], ["--summaries", path_of("domains.json")]
    lines = {
        "assemble": (assemble, folder),
        "page": ([*unit, *summaries, "--report-genes", genes], pages),
        "figures": ([*unit, "--trajectory", path_of("trajectory.json")], folder),
        "report": (["--card", str(pages / f"{SAMPLE}.card.json"), *summaries], report),
    }
    return {
        name: [str(bin_ / f"mmsrl-{name}"), *line, "--output-dir", str(output)]
        for name, (line, output) in lines.items()
    }


def megabytes(folder: Path, pattern: str) -> float:
    """Return the total size of the files and folders that match a pattern."""
    paths = [path for match in folder.glob(pattern) for path in (match.rglob("*") if match.is_dir() else [match])]
    return sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as text and Markdown tables."""
    lines = [
        f"{result['date']}, {result['cores']} cores: {result['cells']:,} cells, {result['genes']} genes, "
        f"{'with' if result['outlines'] else 'without'} outlines.",
        "",
        "| command | s | CPU s | peak GiB |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['seconds']:.1f} | {row['cpu_seconds']:.1f} | {row['peak_bytes'] / 2**30:.2f} |"
        for name, row in result["commands"].items()
    ]
    lines += ["", "| file | MB |", "|---|---|"]
    lines += [f"| {name} | {size:.2f} |" for name, size in result["megabytes"].items()]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=100_000)
    parser.add_argument("--genes", type=int, default=300)
    parser.add_argument("--outlines", action="store_true")
    parser.add_argument("--only", nargs="*", help="commands to run; default: all")
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks/report"))
    arguments = parser.parse_args()
    folder = arguments.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / f"{SAMPLE}.qc.h5ad").exists():
        write_stages(folder, arguments.cells, arguments.genes, outlined=arguments.outlines)
    lines = commands(folder, outlined=arguments.outlines)
    ran = {name: measured(line) for name, line in lines.items() if not arguments.only or name in arguments.only}
    patterns = (
        f"{SAMPLE}.mmsrl.h5ad", "*.geojson", "*.loupe.csv", "*.domains.csv", "*.coordinates.csv.gz",
        "*.spatialdata.zarr", "*.png", "*.pdf", "report/sections/*.html", "report/mmsrl_report.html",
    )  # fmt: skip
    result = {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "cells": arguments.cells,
        "genes": arguments.genes,
        "outlines": arguments.outlines,
        "commands": ran,
        "megabytes": {pattern: megabytes(folder, pattern) for pattern in patterns},
    }
    (folder / "report.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (folder / "report.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
