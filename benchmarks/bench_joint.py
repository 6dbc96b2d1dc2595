"""Sections trained jointly in every preset: agreement of each with its labels, and how well the sections mix.

``python benchmarks/bench_joint.py samplesheet.csv`` takes a samplesheet of the pipeline whose rows have
``spaceranger_dir``, ``truth`` and ``n_domains``, prepares them by the console commands, trains, reads domains out, and
writes ``bench_joint.json`` and ``bench_joint.md`` to ``--output-dir``. Labels are read for the score alone.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import adjusted_rand_score

from mmsrl.domains.readouts import read_out, reduce
from mmsrl.train.fit import fit
from mmsrl.train.presets import PRESETS, PUBLISHED, Published
from mmsrl.train.sections import principal_components, section_mixing
from mmsrl.train.unit import Unit, build


def prepare(sheet: Path, folder: Path) -> Unit:
    """Run ingest, qc and features on every row, and stack the sections."""
    from mmsrl.train.api import stack
    from mmsrl.train.files import read_sections

    rows = pd.read_csv(sheet, dtype=str)
    for row in rows.itertuples():
        where = ["--id", row.sample, "--output-dir", str(folder)]
        for command in (
            ["ingest", "--spaceranger-dir", str(sheet.parent / row.spaceranger_dir)],
            ["qc", "--counts", f"{folder / row.sample}.ingest.h5ad"],
            ["features", "--counts", f"{folder / row.sample}.qc.h5ad"],
        ):
            module = f"mmsrl.{command[0]}.cli"
            start = f"from {module} import main; main()"
            subprocess.run([sys.executable, "-c", start, *command[1:], *where], check=True)
    files = [[folder / f"{sample}.{kind}.h5ad" for sample in rows["sample"]] for kind in ("qc", "features")]
    return stack(read_sections(*files), 3000)


def labels_of(sheet: Path, unit: Unit) -> tuple[np.ndarray, int]:
    """Return each spot's label, ``None`` where it has none, and the number of domains."""
    rows = pd.read_csv(sheet, dtype=str).set_index("sample")
    found = np.full(len(unit.section), None, dtype=object)
    barcodes = np.array(unit.barcodes)
    for s, sample in enumerate(unit.samples):
        truth = pd.read_csv(sheet.parent / rows.loc[sample, "truth"], dtype=str).set_index("barcode")["label"]
        here = unit.section == s
        values = truth.reindex(barcodes[here]).to_numpy(dtype=object)
        found[here] = np.where(pd.isna(values), None, values)
    return found, int(rows["n_domains"].astype(int).max())


def train_unit(
    unit: Unit, preset: str, *, seed: int, epochs: int | None, device: torch.device, block: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Train one preset; the published ones as published for several slices: a = 100, 300 epochs."""
    settings = PRESETS[preset]
    if isinstance(settings, Published):
        changes = {"reconstruction_weight": 100.0, "epochs": epochs or 300}
        settings = type(settings)(**{**vars(PUBLISHED[preset]), **changes})
    unit = unit._replace(messages=[])
    model, _ = build(unit, settings, seed=seed, correct=True, block=block, device=device)
    history = fit(
        model,
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        seed=seed,
    )
    z = model.embedding().float().cpu().numpy()
    if isinstance(settings, Published):
        z, _, _ = principal_components(z, settings.components, seed)
    seconds = float(np.median([row["seconds"] for row in history]))
    return z, {"epochs": len(history), "seconds_per_epoch": seconds, "loss": history[-1]["total"]}


def score(z: np.ndarray, unit: Unit, labels: np.ndarray, n_domains: int, seed: int) -> dict[str, Any]:
    """Read out domains jointly and score them section by section."""
    domains = read_out(reduce(z), n_domains, "gmm", seed).argmax(axis=1)
    known = np.array([label is not None for label in labels])
    agreement = {}
    for s, sample in enumerate(unit.samples):
        here = known & (unit.section == s)
        agreement[sample] = float(adjusted_rand_score(labels[here].astype(str), domains[here]))
    return {"ari": agreement, **section_mixing(z, unit.section)}


def table(results: list[dict[str, Any]], machine: dict[str, str]) -> str:
    """Write the results as a Markdown table."""
    samples = list(results[0]["ari"])
    heads = ["preset", "epochs", "s/epoch", *(f"ARI {sample}" for sample in samples), "iLISI", "scaled"]
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in results:
        cells = [r["preset"], str(r["epochs"]), f"{r['seconds_per_epoch']:.2f}"]
        cells += [*(f"{r['ari'][sample]:.3f}" for sample in samples), f"{r['ilisi']:.2f}", f"{r['ilisi_scaled']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("samplesheet", type=Path)
    parser.add_argument("--presets", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    parser.add_argument("--epochs", type=int, help="of the published presets; without it 300, as published")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        unit = prepare(arguments.samplesheet, Path(folder))
    labels, n_domains = labels_of(arguments.samplesheet, unit)
    report(unit, labels, n_domains, arguments)


def report(unit: Unit, labels: np.ndarray, n_domains: int, arguments: argparse.Namespace) -> None:
    """Train every preset and write what came out."""
    device = torch.device(arguments.device)
    block = 4096 if device.type == "cuda" else 512
    machine = {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        "data": f"{', '.join(unit.samples)}: {len(unit.section)} spots, {len(unit.genes)} genes modelled",
    }
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    results = []
    for preset in arguments.presets:
        z, facts = train_unit(unit, preset, seed=arguments.seed, epochs=arguments.epochs, device=device, block=block)
        results.append({"preset": preset, **facts, **score(z, unit, labels, n_domains, arguments.seed)})
        text = table(results, machine)
        (arguments.output_dir / "bench_joint.json").write_text(
            json.dumps({"machine": machine, "results": results}, indent=2) + "\n"
        )
        (arguments.output_dir / "bench_joint.md").write_text(text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
