"""Measure time, memory and accuracy of whole runs on simulated sections of growing size.

    make bench-scale INPUT=folder          Visium HD bins of 16 µm, as template of the sections

`scale_data.py` simulates the sections: bins of 8 µm with a whole transcriptome, and cells with a gene panel. Each
section runs through the whole pipeline alone. The number of domains is not given. ``--peers`` names a folder with the
environment ``banksy`` of ``make bench-peers``. BANKSY then gets the same counts and the planted number of domains.

Prints and writes to ``scale.json`` and ``scale.md``: wall seconds, CPU seconds and peak memory by task, their growth
with the number of spots (exponent between the smallest and the largest section of bins), and the adjusted Rand index
with the planted layers.
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

import numpy as np
import pandas as pd
from bench_load import number, run
from scale_data import LAYERS, cells, visium_hd
from scipy.optimize import nnls
from sklearn.metrics import adjusted_rand_score

SIZES = ("bins:34000", "bins:100000", "bins:400000", "cells:100000")
PANEL = 300
"""Number of genes of a section of cells."""

CONFIG = """
process.resourceLimits = [cpus: 2, memory: 16.GB, time: 6.h]
executor.cpus = 2
executor.memory = 20.GB
trace {
    raw    = true
    fields = 'name,status,exit,attempt,realtime,%cpu,peak_rss,memory'
}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="folder square_016um of Space Ranger")
    parser.add_argument("--sizes", nargs="+", default=SIZES, help="kind:spots; kinds are bins and cells")
    parser.add_argument("--peers", type=Path, help="folder that contains the environment banksy")
    parser.add_argument("--peer-sizes", nargs="+", default=("bins:34000", "cells:100000"))
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks"))
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    measured = []
    for size in arguments.sizes:
        measured.append(measure(size, arguments.source, arguments.output_dir / "scale" / size.replace(":", "_")))
        if arguments.peers and size in arguments.peer_sizes:
            measured[-1]["peer"] = peer(measured[-1], arguments.peers, arguments.output_dir / "scale")
        result = {"date": date.today().isoformat(), "cores": os.cpu_count(), "sections": measured}
        (arguments.output_dir / "scale.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    text = as_markdown(result)
    (arguments.output_dir / "scale.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(any(section["status"] for section in measured))


def measure(size: str, source: Path, folder: Path) -> dict[str, Any]:
    """Run the pipeline on a simulated section, and return the cost of its tasks and the accuracy of its domains."""
    kind, spots = size.split(":")
    folder.mkdir(parents=True, exist_ok=True)
    section_folder = folder / "section"
    if kind == "bins":
        column, (data, truth) = "spaceranger_dir", visium_hd(section_folder, int(spots), source)
    else:
        column, (data, truth) = "h5ad", cells(section_folder, int(spots), PANEL)
    sheet = folder / "samplesheet.csv"
    sheet.write_text(f"sample,{column},truth\nplanted,{data.resolve()},{truth.resolve()}\n", encoding="utf-8")
    print(f"{size}: running in {folder}", flush=True)
    engine = run(sheet, folder, CONFIG, [])
    results = folder / "results"
    trace = pd.read_csv(results / "pipeline_info/execution_trace.txt", sep="\t", dtype=str)
    labels = pd.read_csv(truth, index_col="barcode")["label"]
    domains = pd.read_csv(results / "domains/planted.domains.csv", index_col="barcode", dtype=str)["domain"]
    return {
        "size": size,
        "spots": len(domains),
        "entries": json.loads((results / "qc/planted.qc.json").read_text(encoding="utf-8"))["result"]["n_entries"],
        "status": engine["status"],
        "seconds": engine["seconds"],
        "engine_peak_bytes": engine["engine_peak_bytes"],
        "bytes_left": sum(path.stat().st_size for path in results.rglob("*") if path.is_file()),
        "domains": int(domains.nunique()),
        "ari": float(adjusted_rand_score(labels.loc[domains.index], domains)),
        "tasks": {
            name.split(" ")[0].rpartition(":")[2]: task
            for name, task in zip(trace["name"], trace.apply(task_of, axis=1), strict=True)
        },
        "data": str(data),
        "truth": str(truth),
    }


def task_of(row: pd.Series[str]) -> dict[str, Any]:
    """Return status, time and memory of one task."""
    seconds = number(row["realtime"]) / 1000
    return {
        "status": row["status"],
        "attempt": int(row["attempt"]),
        "seconds": seconds,
        "cpu_seconds": seconds * number(row["%cpu"]) / 100,
        "peak_bytes": number(row["peak_rss"]),
        "asked_bytes": number(row["memory"]),
    }


def peer(section: dict[str, Any], peers: Path, folder: Path) -> dict[str, Any]:
    """Run BANKSY on the counts of a section, and return its cost and the accuracy of its mixture."""
    import anndata as ad

    adata = ad.read_h5ad(folder / section["size"].replace(":", "_") / "results/qc/planted.qc.h5ad")
    labels = pd.read_csv(section["truth"], index_col="barcode")["label"].loc[adata.obs_names]
    given, output = folder / "peer.h5ad", folder / "peer.npz"
    ad.AnnData(adata.X, obs=adata.obs[[]], var=adata.var[[]], obsm={"spatial": adata.obsm["spatial"]}).write_h5ad(given)
    lattice = "square" if section["size"].startswith("bins") else "none"
    start = time.monotonic()
    script = Path(__file__).with_name("peer_banksy.py")
    command = [peers.resolve() / "banksy/bin/python", script, given, output, str(LAYERS), lattice, "mixture"]
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    result: dict[str, Any] = {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": time.monotonic() - start,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_bytes": usage.ru_maxrss * 1024.0,
        "ari": None,
    }
    if not result["status"]:
        result["ari"] = float(adjusted_rand_score(labels, np.load(output)["mixture"]))
    return result


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as Markdown tables: whole runs, tasks, and the peer."""
    sections = result["sections"]
    lines = [
        f"{result['date']}, {result['cores']} cores, not corrected for other load.",
        "",
        "| section | spots | min | CPU min | largest task, GiB | ARI | domains (planted) | results, MB |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for section in sections:
        tasks = section["tasks"].values()
        lines.append(
            f"| {section['size']} | {section['spots']:,} | {section['seconds'] / 60:.1f} | "
            f"{sum(task['cpu_seconds'] for task in tasks) / 60:.1f} | {most_memory(section):.1f} | "
            f"{section['ari']:.3f} | {section['domains']} ({LAYERS}) | {section['bytes_left'] / 1e6:,.0f} |"
        )
    names = list(dict.fromkeys(name for section in sections for name in section["tasks"]))
    lines += [
        "",
        "Brackets show the requested memory. The fit is of the peak in GiB, per 100,000 spots and per 10 million "
        "non-zero counts (non-negative least squares). The exponent is of CPU time with the number of bins.",
    ]
    heads = " | ".join(f"{section['size']}: CPU s, GiB (requested)" for section in sections)
    lines += ["", f"| task | {heads} | fit | exponent |", "|---|" + "---|" * (len(sections) + 2)]
    for name in names:
        cells_of_row = [task_cell(section["tasks"].get(name)) for section in sections]
        lines.append(f"| {name} | {' | '.join(cells_of_row)} | {fit(sections, name)} | {exponent(sections, name)} |")
    peers = [section for section in sections if "peer" in section]
    if peers:
        lines += [
            "",
            "Per 100,000 spots, in one run:",
            "",
            "| section | method | s | CPU s | GiB | ARI |",
            "|---|---|---|---|---|---|",
        ]
    for section in peers:
        scale, other = 1e5 / section["spots"], section["peer"]
        cpu = sum(task["cpu_seconds"] for task in section["tasks"].values())
        ari = "failed" if other["ari"] is None else f"{other['ari']:.3f}"
        lines += [
            f"| {section['size']} | whole pipeline | {section['seconds'] * scale:.0f} | {cpu * scale:.0f} | "
            f"{most_memory(section) * scale:.1f} | {section['ari']:.3f} |",
            f"| | train and domains only | | {embedding_cpu(section) * scale:.0f} | | |",
            f"| | BANKSY, K given, mixture | {other['seconds'] * scale:.0f} | {other['cpu_seconds'] * scale:.0f} | "
            f"{other['peak_bytes'] / 2**30 * scale:.1f} | {ari} |",
        ]
    return "\n".join(lines) + "\n"


def most_memory(section: dict[str, Any]) -> float:
    """Return the peak memory of the largest task in GiB."""
    return float(max(task["peak_bytes"] for task in section["tasks"].values()) / 2**30)


def embedding_cpu(section: dict[str, Any]) -> float:
    """Return the CPU seconds of embedding and domains, the steps of a peer."""
    return float(sum(section["tasks"][name]["cpu_seconds"] for name in ("TRAIN", "DOMAINS")))


def task_cell(task: dict[str, Any] | None) -> str:
    """Return CPU seconds, peak memory and requested memory."""
    if task is None:
        return ""
    return f"{task['cpu_seconds']:.0f}, {task['peak_bytes'] / 2**30:.1f} ({task['asked_bytes'] / 2**30:.0f})"


def fit(sections: list[dict[str, Any]], name: str) -> str:
    """Return the linear fit of a task's peak memory in GiB, or "" for fewer than three sections."""
    known = [section for section in sections if name in section["tasks"]]
    if len(known) < 3:
        return ""
    design = [[1.0, section["spots"] / 1e5, section["entries"] / 1e7] for section in known]
    peaks = [section["tasks"][name]["peak_bytes"] / 2**30 for section in known]
    constant, by_spots, by_entries = nnls(np.array(design), np.array(peaks))[0]
    return f"{constant:.1f} + {by_spots:.2f} + {by_entries:.2f}"


def exponent(sections: list[dict[str, Any]], name: str) -> str:
    """Return the exponent of a task's CPU time between the smallest and the largest section of bins."""
    bins = sorted(
        (s for s in sections if s["size"].startswith("bins") and name in s["tasks"]), key=lambda s: s["spots"]
    )
    if len(bins) < 2:
        return ""
    seconds = [max(section["tasks"][name]["cpu_seconds"], 0.1) for section in (bins[0], bins[-1])]
    return f"{np.log(seconds[1] / seconds[0]) / np.log(bins[-1]['spots'] / bins[0]['spots']):.2f}"


if __name__ == "__main__":
    main()
