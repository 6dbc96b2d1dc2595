"""Measure memory and time of ``default`` from a file to the embedding, with counts in memory and on disk.

``make bench-train`` runs this benchmark. Each measurement is a separate process, like ``mmsrl-train``. The section has
18,000 genes, of which each bin has 300. Writes ``bench_from_disk.json`` and ``bench_from_disk.md`` to ``--output-dir``.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl import _keys
from mmsrl.train.api import train
from mmsrl.train.files import read_sections

GENES, GENES_PER_BIN, DOMAINS = 18_000, 300, 7
SIZES = (34_000, 100_000, 300_000)


def write_section(path: Path, n: int) -> None:
    """Write a square section of bins after quality control, with bands that have different genes."""
    rng = np.random.default_rng(0)
    side = int(np.ceil(np.sqrt(n)))
    row, column = np.divmod(np.arange(n), side)
    base = rng.lognormal(0.0, 1.5, (DOMAINS, GENES)) * rng.lognormal(0.0, 0.5, (1, GENES))
    genes_of_band = [rng.choice(GENES, (2_000, GENES_PER_BIN), p=rates / rates.sum()) for rates in base]
    genes = np.empty((n, GENES_PER_BIN), np.int32)
    for band, pool in enumerate(genes_of_band):
        here = np.flatnonzero(row * DOMAINS // side == band)
        genes[here] = pool[rng.integers(len(pool), size=len(here))]
    starts = np.arange(n + 1, dtype=np.int64) * GENES_PER_BIN
    counts = sp.csr_matrix((np.ones(genes.size, np.float32), genes.ravel(), starts), shape=(n, GENES))
    counts.sum_duplicates()
    adata = ad.AnnData(
        counts,
        obs=pd.DataFrame(index=[f"bin{i}" for i in range(n)]),
        var=pd.DataFrame(index=[f"gene{g}" for g in range(GENES)]),
        obsm={_keys.SPATIAL: np.column_stack([column, row]) * 10.0},
        uns={
            _keys.UNS_SPATIAL: {},
            _keys.UNS: {_keys.SAMPLE: "s", _keys.PLATFORM: "visium_hd", _keys.PITCH_PX: 10.0, _keys.PITCH_UM: 8.0},
        },
    )
    adata.write_h5ad(path, compression="gzip")


def measure(path: Path, backed: bool) -> dict[str, Any]:
    """Train in this process, and return time and peak memory."""
    began = time.perf_counter()
    sections = read_sections([path], [], backed="r" if backed else None)
    result = train(sections, device="cpu", show_progress=False)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return {
        "counts": "on disk" if backed else "in memory",
        "spots": len(result.unit.section),
        "entries": int(result.unit.counts.nnz),
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time(),
        "peak": peak,
    }


def table(report: dict[str, Any]) -> str:
    lines = [f"- {key}: {value}" for key, value in report["machine"].items()]
    lines += ["", "| bins | counts | s | CPU s | peak GiB |", "|---|---|---|---|---|"]
    for r in report["results"]:
        cells = [f"{r['spots']:,}", r["counts"], f"{r['seconds']:.0f}", f"{r['cpu_seconds']:.0f}"]
        cells.append(f"{r['peak'] / 2**30:.2f}")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    for name in ("--write", "--measure"):
        parser.add_argument(name, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--backed", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.write:
        write_section(arguments.write, arguments.sizes[0])
        return
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.backed)))
        return
    machine = {"date": date.today().isoformat(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    report: dict[str, Any] = {"machine": machine, "results": []}
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for n in arguments.sizes:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "s.qc.h5ad"
            subprocess.run([sys.executable, __file__, "--write", path, "--sizes", str(n)], check=True)
            for backed in ([], ["--backed"]):
                command = [sys.executable, __file__, "--measure", path, *backed]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                report["results"].append(json.loads(done.stdout.splitlines()[-1]))
        (arguments.output_dir / "bench_from_disk.json").write_text(json.dumps(report, indent=2) + "\n")
        (arguments.output_dir / "bench_from_disk.md").write_text(table(report))
    print(table(report))


if __name__ == "__main__":
    main()
