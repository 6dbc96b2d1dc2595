"""Train sections jointly with every preset, and score their agreement with the labels and their mixing.

``python benchmarks/bench_joint.py samplesheet.csv`` takes a samplesheet of the pipeline with ``truth`` and
``n_domains``. It trains every preset on all sections and reads out the domains. It also measures how well principal
components mix the sections, standardised in each section or over all, before and after Harmony. Labels serve only for
the scores. Writes ``bench_joint.json`` and ``bench_joint.md`` to ``--output-dir``.
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
from bench_features import read_section
from sklearn.metrics import adjusted_rand_score

from mmsrl import _keys
from mmsrl.domains.readouts import read_out, reduce
from mmsrl.evaluate.truth import read_truth
from mmsrl.features.api import image_features
from mmsrl.normalisation import standard_components
from mmsrl.train.api import stack, train
from mmsrl.train.presets import PRESETS, PUBLISHED
from mmsrl.train.sections import harmonise, section_mixing
from mmsrl.train.unit import Unit

Rows = list[dict[str, str]]


def measure(sections: list[ad.AnnData], rows: Rows, sheet: Path, arguments: argparse.Namespace, preset: str) -> Any:
    """Train one preset, read out jointly and score by section; published presets as published for several slices."""
    changes: dict[str, Any] = {"epochs": arguments.epochs} if preset in PUBLISHED else {}
    if preset == "stmmr":
        changes["hidden_dim"] = arguments.n_top_genes  # as published: as wide as the number of genes (3,000)
    result = train(
        sections,
        preset=preset,
        seed=arguments.seed,
        device=arguments.device,
        n_top_genes=arguments.n_top_genes,
        batch_correction=True,
        **changes,
    )
    n_domains = max(int(row["n_domains"]) for row in rows)
    domains = read_out(reduce(result.embedding), n_domains, "gmm", arguments.seed).argmax(axis=1)
    facts = result.facts
    return {
        "preset": preset,
        "epochs": facts["epochs"],
        "seconds_per_epoch": facts["seconds_per_epoch"],
        "ari": ari_by_sample(result.unit, domains, rows, sheet),
        **facts["section_mixing"],
        "n_spots": facts["n_spots"],
        "n_genes": facts["n_genes"],
    }


def ari_by_sample(unit: Unit, domains: np.ndarray, rows: Rows, sheet: Path) -> dict[str, float]:
    """Return the adjusted Rand index of each sample over its labelled spots."""
    barcodes = np.array(unit.barcodes)
    scores = {}
    for row in rows:
        in_sample = unit.section == unit.samples.index(row["sample"])
        truth = read_truth(sheet.parent / row["truth"], sample=row["sample"]).reindex(barcodes[in_sample]).fillna("")
        labelled = (truth != "").to_numpy()
        scores[row["sample"]] = float(adjusted_rand_score(truth[labelled], domains[in_sample][labelled]))
    return scores


def with_image(adata: ad.AnnData, row: dict[str, str], folder: Path, device: str) -> ad.AnnData:
    """Add the image features to a section."""
    image = folder / row["image"] if row.get("image") else None
    features = image_features(adata, image, device=device).features
    adata.obsm[_keys.IMAGE] = np.asarray(features.obsm[_keys.IMAGE])
    return adata


def components_mix(sections: list[ad.AnnData], arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Return how well principal components mix the sections: by standardisation, with and without Harmony."""
    unit = stack(sections, arguments.n_top_genes)
    mixing = []
    for standardised, section in (("over all", np.zeros_like(unit.section)), ("in each", unit.section)):
        scores, _ = standard_components(unit.expression, section, PRESETS["default"].components, arguments.seed)
        corrected = harmonise(scores, unit.section, arguments.seed)
        for harmony, values in ((False, scores), (True, corrected)):
            mixing.append({"standardised": standardised, "harmony": harmony, **section_mixing(values, unit.section)})
    return mixing


def table(results: list[dict[str, Any]], mixing: list[dict[str, Any]], machine: dict[str, str]) -> str:
    """Return the results as Markdown tables."""
    samples = list(results[0]["ari"])
    heads = ["preset", "epochs", "s/epoch", *(f"ARI {sample}" for sample in samples), "iLISI", "scaled"]
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in results:
        trained = [str(r["epochs"]), f"{r['seconds_per_epoch']:.2f}"] if r["epochs"] else ["", ""]
        cells = [r["preset"], *trained]
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
    parser.add_argument("--epochs", type=int, help="epochs of the published presets; default: 300, as published")
    parser.add_argument("--n-top-genes", type=int, default=3000)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    arguments = parser.parse_args()
    sheet = arguments.samplesheet.resolve()
    with sheet.open(newline="", encoding="utf-8-sig") as lines:
        rows = list(csv.DictReader(lines))
    folder = sheet.parent
    sections = [with_image(read_section(row, folder), row, folder, arguments.device) for row in rows]
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
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
