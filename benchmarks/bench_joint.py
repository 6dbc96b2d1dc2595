"""Sections trained jointly in every preset: agreement of each with its labels, and how well the sections mix.

``python benchmarks/bench_joint.py samplesheet.csv`` takes a samplesheet of the pipeline whose rows have ``truth`` and
``n_domains``, prepares them by the console commands, trains, reads domains out, and writes ``bench_joint.json`` and
``bench_joint.md`` to ``--output-dir``. Labels are read for the score alone. Beside it: how well components mix the
sections, standardised in each or over all of them, before Harmony and after.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
from datetime import date
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import torch
from bench_accuracy import Data, labels_of, prepare

from mmsrl.domains.readouts import read_out, reduce
from mmsrl.normalisation import standard_components
from mmsrl.train.api import stack, train
from mmsrl.train.files import read_sections
from mmsrl.train.presets import PRESETS, PUBLISHED
from mmsrl.train.sections import harmonise, section_mixing

Rows = list[dict[str, str]]


def measure(sections: list[ad.AnnData], rows: Rows, sheet: Path, arguments: argparse.Namespace, preset: str) -> Any:
    """Train one preset, the published ones as published for several slices; read out jointly, score by section."""
    changes: dict[str, Any] = {}
    if preset in PUBLISHED:
        changes = {"reconstruction_weight": 100.0, "epochs": arguments.epochs or 300}
    if preset == "stmmr":
        changes["hidden_dim"] = arguments.n_top_genes  # as wide as it has genes: 3,000 of both as published
    result = train(
        sections,
        preset=preset,
        seed=arguments.seed,
        device=arguments.device,
        n_top_genes=arguments.n_top_genes,
        **changes,
    )
    n_domains = max(int(row["n_domains"]) for row in rows)
    data = Data("joint", result.unit, labels_of(rows, sheet), n_domains)
    domains = read_out(reduce(result.embedding), n_domains, "gmm", arguments.seed).argmax(axis=1)
    facts = result.facts
    return {
        "preset": preset,
        "epochs": facts["epochs"],
        "seconds_per_epoch": facts["seconds_per_epoch"],
        "loss": facts["losses"]["total"],
        "ari": {sample: scores["ARI"] for sample, scores in data.score(domains).items()},
        **facts["section_mixing"],
        "n_spots": facts["n_spots"],
        "n_genes": facts["n_genes"],
    }


def components_mix(sections: list[ad.AnnData], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return how well principal components of expression mix the sections, in four forms."""
    unit = stack(sections, arguments.n_top_genes)
    found = []
    for standardised, section in (("over all", np.zeros_like(unit.section)), ("in each", unit.section)):
        scores, _ = standard_components(unit.expression, section, PRESETS["default"].components, arguments.seed)
        corrected = harmonise(scores, unit.section, arguments.seed)
        for harmony, values in ((False, scores), (True, corrected)):
            found.append({"standardised": standardised, "harmony": harmony, **section_mixing(values, unit.section)})
    return found


def table(results: list[dict[str, Any]], mixing: list[dict[str, Any]], machine: dict[str, str]) -> str:
    """Write the results as Markdown tables."""
    samples = list(results[0]["ari"])
    heads = ["preset", "epochs", "s/epoch", *(f"ARI {sample}" for sample in samples), "iLISI", "scaled"]
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in results:
        cells = [r["preset"], str(r["epochs"]), f"{r['seconds_per_epoch']:.2f}"]
        cells += [*(f"{r['ari'][sample]:.3f}" for sample in samples), f"{r['ilisi']:.2f}", f"{r['ilisi_scaled']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "| genes standardised | Harmony | iLISI of components | scaled |", "|---|---|---|---|"]
    for r in mixing:
        harmony = "yes" if r["harmony"] else "no"
        lines.append(f"| {r['standardised']} | {harmony} | {r['ilisi']:.2f} | {r['ilisi_scaled']:.2f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplesheet", type=Path)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--epochs", type=int, help="of the published presets; without it 300, as published")
    parser.add_argument("--n-top-genes", type=int, default=3000)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    arguments = parser.parse_args()
    sheet = arguments.samplesheet.resolve()
    with sheet.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    files = [prepare(row, sheet, arguments.output_dir) for row in rows]
    sections = read_sections([counts for counts, _ in files], [features for _, features in files])
    on_gpu = arguments.device == "cuda"
    machine = {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if on_gpu else f"{torch.get_num_threads()} CPU threads",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
    }
    mixing = components_mix(sections, arguments)
    results = []
    for preset in arguments.presets:
        results.append(measure(sections, rows, sheet, arguments, preset))
        first = results[0]
        machine["data"] = f"{', '.join(first['ari'])}: {first['n_spots']} spots, {first['n_genes']} genes modelled"
        report = json.dumps({"machine": machine, "results": results, "components": mixing}, indent=2)
        (arguments.output_dir / "bench_joint.json").write_text(report + "\n")
        (arguments.output_dir / "bench_joint.md").write_text(table(results, mixing, machine))
    print(f"\n{table(results, mixing, machine)}")


if __name__ == "__main__":
    main()
