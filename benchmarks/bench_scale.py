"""Whole runs of the pipeline on planted sections of growing size: time and peak memory of every task, and accuracy.

    make bench-scale INPUT=folder          Visium HD bins of 16 µm, whose statistics the sections have

Sections are made by `scale_data.py`: bins of 8 µm of a whole transcriptome, and cells with a panel of genes. Each goes
through the whole pipeline, alone; the number of domains is not given. With ``--peers``, a folder with the environment
``banksy`` of ``make bench-peers``, BANKSY gets the same counts and the planted number of domains. Prints and writes to
``scale.json`` and ``scale.md``: seconds, CPU seconds and peak memory by task, how they grow with the number of spots
(exponent between the smallest and the largest section of bins), and the adjusted Rand index with the plan.
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
"""Genes of a section of cells."""

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
    parser.add_argument("--peers", type=Path, help="folder with the environment banksy")
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
    """Run the pipeline on a planted section; return what its tasks took, and how near its domains are to the plan."""
    kind, spots = size.split(":")
    folder.mkdir(parents=True, exist_ok=True)
    made = folder / "section"
    if kind == "bins":
        column, (data, truth) = "spaceranger_dir", visium_hd(made, int(spots), source)
    else:
        column, (data, truth) = "h5ad", cells(made, int(spots), PANEL)
    sheet = folder / "samplesheet.csv"
    sheet.write_text(f"sample,{column},truth\nplanted,{data.resolve()},{truth.resolve()}\n", encoding="utf-8")
    print(f"{size}: running in {folder}", flush=True)
    engine = run(sheet, folder, CONFIG, [])
    results = folder / "results"
    trace = pd.read_csv(results / "pipeline_info/execution_trace.txt", sep="\t", dtype=str)
    labels = pd.read_csv(truth, index_col="barcode")["label"]
    found = pd.read_csv(results / "domains/planted.domains.csv", index_col="barcode", dtype=str)["domain"]
    return {
        "size": size,
        "spots": len(found),
        "entries": json.loads((results / "qc/planted.qc.json").read_text(encoding="utf-8"))["result"]["n_entries"],
        "status": engine["status"],
        "seconds": engine["seconds"],
        "engine_peak_bytes": engine["engine_peak_bytes"],
        "bytes_left": sum(path.stat().st_size for path in results.rglob("*") if path.is_file()),
        "domains": int(found.nunique()),
        "ari": float(adjusted_rand_score(labels.loc[found.index], found)),
        "tasks": {
            name.split(" ")[0].rpartition(":")[2]: task
            for name, task in zip(trace["name"], trace.apply(task_of, axis=1), strict=True)
        },
        "data": str(data),
        "truth": str(truth),
    }


def task_of(row: pd.Series[str]) -> dict[str, Any]:
    """Return what one task took."""
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
    """Give the counts of a section to BANKSY and return what it took, and how near the plan its mixture is."""
    import anndata as ad

    kept = ad.read_h5ad(folder / section["size"].replace(":", "_") / "results/qc/planted.qc.h5ad")
    labels = pd.read_csv(section["truth"], index_col="barcode")["label"].loc[kept.obs_names]
    given, made = folder / "peer.h5ad", folder / "peer.npz"
    ad.AnnData(kept.X, obs=kept.obs[[]], var=kept.var[[]], obsm={"spatial": kept.obsm["spatial"]}).write_h5ad(given)
    lattice = "square" if section["size"].startswith("bins") else "none"
    start = time.monotonic()
    script = Path(__file__).with_name("peer_banksy.py")
    command = [peers.resolve() / "banksy/bin/python", script, given, made, str(LAYERS), lattice, "mixture"]
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
        result["ari"] = float(adjusted_rand_score(labels, np.load(made)["mixture"]))
    return result


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as tables: whole runs, tasks, and the peer."""
    sections = result["sections"]
    lines = [
        f"{result['date']}, {result['cores']} cores, load of other work not taken off.",
        "",
        "| section | spots | min | CPU min | largest task GiB | ARI | domains (planted) | MB left |",
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
        "Memory by task: peak and, in brackets, what was asked for. The fit is of GiB, by 100,000 spots and by 10 "
        "million counts other than 0 (least squares, none below 0); the exponent of CPU time with spots, of bins.",
    ]
    heads = " | ".join(f"{section['size']}: CPU s, GiB (asked)" for section in sections)
    lines += ["", f"| task | {heads} | fit | exponent |", "|---|" + "---|" * (len(sections) + 2)]
    for name in names:
        cells_of_row = [task_cell(section["tasks"].get(name)) for section in sections]
        lines.append(f"| {name} | {' | '.join(cells_of_row)} | {fit(sections, name)} | {exponent(sections, name)} |")
    peers = [section for section in sections if "peer" in section]
    if peers:
        lines += [
            "",
            "Of 100,000 spots, in one run:",
            "",
            "| section | | s | CPU s | GiB | ARI |",
            "|---|---|---|---|---|---|",
        ]
    for section in peers:
        scale, other = 1e5 / section["spots"], section["peer"]
        cpu = sum(task["cpu_seconds"] for task in section["tasks"].values())
        ari = "failed" if other["ari"] is None else f"{other['ari']:.3f}"
        lines += [
            f"| {section['size']} | whole pipeline | {section['seconds'] * scale:.0f} | {cpu * scale:.0f} | "
            f"{most_memory(section) * scale:.1f} | {section['ari']:.3f} |",
            f"| | train and domains alone | | {embedding_cpu(section) * scale:.0f} | | |",
            f"| | BANKSY, K given, mixture | {other['seconds'] * scale:.0f} | {other['cpu_seconds'] * scale:.0f} | "
            f"{other['peak_bytes'] / 2**30 * scale:.1f} | {ari} |",
        ]
    return "\n".join(lines) + "\n"


def most_memory(section: dict[str, Any]) -> float:
    """Return the memory of the largest task in GiB."""
    return float(max(task["peak_bytes"] for task in section["tasks"].values()) / 2**30)


def embedding_cpu(section: dict[str, Any]) -> float:
    """Return the CPU seconds of what a peer does: embedding and domains."""
    return float(sum(section["tasks"][name]["cpu_seconds"] for name in ("TRAIN", "DOMAINS")))


def task_cell(task: dict[str, Any] | None) -> str:
    """Return CPU seconds, peak memory and the memory that was asked for."""
    if task is None:
        return ""
    return f"{task['cpu_seconds']:.0f}, {task['peak_bytes'] / 2**30:.1f} ({task['asked_bytes'] / 2**30:.0f})"


def fit(sections: list[dict[str, Any]], name: str) -> str:
    """Return the line of a task's peak memory, in GiB, over spots and counts; empty of fewer than three sections."""
    known = [section for section in sections if name in section["tasks"]]
    if len(known) < 3:
        return ""
    design = [[1.0, section["spots"] / 1e5, section["entries"] / 1e7] for section in known]
    peaks = [section["tasks"][name]["peak_bytes"] / 2**30 for section in known]
    constant, by_spots, by_entries = nnls(np.array(design), np.array(peaks))[0]
    return f"{constant:.1f} + {by_spots:.2f} + {by_entries:.2f}"


def exponent(sections: list[dict[str, Any]], name: str) -> str:
    """Return by which power of the spots a task's CPU time grows, from the smallest to the largest section of bins."""
    bins = sorted(
        (s for s in sections if s["size"].startswith("bins") and name in s["tasks"]), key=lambda s: s["spots"]
    )
    if len(bins) < 2:
        return ""
    seconds = [max(section["tasks"][name]["cpu_seconds"], 0.1) for section in (bins[0], bins[-1])]
    return f"{np.log(seconds[1] / seconds[0]) / np.log(bins[-1]['spots'] / bins[0]['spots']):.2f}"


if __name__ == "__main__":
    main()
