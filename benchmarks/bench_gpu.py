"""Measure the published presets on a GPU, and compare its results with the CPU, in eight minutes at most.

    python benchmarks/bench_gpu.py                 on a machine with a GPU (``--device cpu``: test of the script)

Each measurement runs in a separate process with the remaining time, in the order of importance:

1. A training step on the GPU against the same step on the CPU in double precision, without dropout, which each device
   draws differently.
2. Both published presets at growing numbers of spots: seconds per epoch, peak memory, and throughput as a fraction of
   one large matrix product on the card.
3. The ensemble and the de-noising of ``default`` on 400,000 bins, which need no GPU.

Writes ``gpu.json`` and ``gpu.md`` to ``--output-dir`` after each.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_train import step_inputs, synthetic_unit

from mmsrl.train.presets import PRESETS, Published
from mmsrl.train.published import Inputs, PublishedModel

SIZES = (4_000, 16_000, 50_000, 100_000)
BINS = 400_000
TOLERANCE = 1e-8
"""Largest relative difference of gradients in double precision due to rounding."""

LEAST_S = 20.0
"""Least remaining seconds for a measurement to start."""


def equality(device: torch.device, n: int = 500) -> dict[str, Any]:
    """Compare a training step of each preset on the device and on the CPU, in double precision."""
    unit, adjacency, smooth = step_inputs(n)
    x = unit.expression.astype(np.float64)
    errors = {}
    for preset in ("mmsrl", "stmmr"):
        settings = PRESETS[preset]
        assert isinstance(settings, Published)
        settings = dataclasses.replace(settings, attention_dropout=0.0, mlp_dropout=0.0)
        steps = []
        for place in (torch.device("cpu"), device):
            torch.manual_seed(0)
            model = PublishedModel(Inputs(x, smooth[0], smooth[1], adjacency), settings, block=512, device=place)
            torch.manual_seed(1)
            loss = model.losses()["total"]
            torch.autograd.backward(loss)
            gradients = [p.grad.double().cpu().flatten() for p in model.parameters() if p.grad is not None]
            steps.append((float(loss.detach()), torch.cat(gradients)))
        (loss_cpu, gradient_cpu), (loss_device, gradient_device) = steps
        errors[preset] = {
            "loss": abs(loss_device - loss_cpu) / abs(loss_cpu),
            "gradient": float((gradient_device - gradient_cpu).norm() / gradient_cpu.norm()),
        }
    worst = max(value for by_quantity in errors.values() for value in by_quantity.values())
    return {"errors": errors, "equal": worst <= TOLERANCE}


def default_at(n: int, what: str) -> dict[str, Any]:
    """Time the ensemble of ``default``, or its de-noising, on ``n`` bins with few molecules."""
    import anndata as ad
    import scipy.sparse as sp

    from mmsrl.enhance.api import enhance
    from mmsrl.train.api import as_anndata, train

    unit = synthetic_unit(n)
    random = np.random.default_rng(0)
    thinned = sp.csr_matrix(
        (random.binomial(unit.counts.data.astype(np.int64), 0.1), unit.counts.indices, unit.counts.indptr),
        unit.counts.shape,
    )
    thinned.eliminate_zeros()
    adata = ad.AnnData(thinned.astype(np.float32), obsm={"spatial": unit.coordinates[0]})
    adata.obs_names, adata.var_names = unit.barcodes, unit.genes
    adata.uns["mmsrl"] = {"sample": "bins", "pitch_px": 1.0, "pitch_um": 8.0, "platform": "visium_hd"}
    began, began_cpu = time.perf_counter(), time.process_time()
    trained = train(adata, show_progress=False)
    if what == "enhance":
        adata.obsm["X_mmsrl"] = as_anndata(trained).obsm["X_mmsrl"]
        began, began_cpu = time.perf_counter(), time.process_time()
        enhance(adata, trained.model)
    return {"wall": time.perf_counter() - began, "cpu": time.process_time() - began_cpu}


def measured(command: list[str], seconds: float) -> dict[str, Any]:
    """Run a measurement in a separate process and return its result, or the reason of its failure."""
    try:
        done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        return {"failed": f"not done in the remaining {seconds:.0f} s"}
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]}
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def as_markdown(report: dict[str, Any]) -> str:
    """Return the measurements as text and a Markdown table."""
    lines = [f"- {key}: {value}" for key, value in report["machine"].items()]
    lines.append(f"- difference of a step in double precision from the CPU: {json.dumps(report['equality'])}")
    lines += ["", "| measurement | spots | s | GPU peak GiB | fraction of one large product |", "|---|---|---|---|---|"]
    for row in report["rows"]:
        if "failed" in row:
            lines.append(f"| {row['what']} | {row['n']:,} | {row['failed']} | | |")
            continue
        share = f"{row['flops'] / row['matmul_flops']:.0%}" if "flops" in row else ""
        memory = f"{row['gpu_peak'] / 2**30:.1f}" if "gpu_peak" in row else ""
        lines.append(f"| {row['what']} | {row['n']:,} | {row['wall']:.2f} | {memory} | {share} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    parser.add_argument("--minutes", type=float, default=8.0)
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES)
    parser.add_argument("--bins", type=int, default=BINS)
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("--measure", choices=("equality", "ensemble", "enhance"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.measure == "equality":
        print(json.dumps(equality(device)))
        return
    if arguments.measure:
        print(json.dumps(default_at(arguments.bins, arguments.measure)))
        return
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit("no GPU found")
    end = time.monotonic() + 60 * arguments.minutes
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    report: dict[str, Any] = {
        "machine": {
            "date": date.today().isoformat(),
            "machine": f"{platform.machine()}, {os.cpu_count()} cores",
            "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
            "versions": f"Python {platform.python_version()}, torch {torch.__version__}",
        },
        "rows": [],
    }
    script, train_script = str(Path(__file__).resolve()), str(Path(__file__).resolve().with_name("bench_train.py"))
    report["equality"] = measured(
        [script, "--device", arguments.device, "--measure", "equality"], end - time.monotonic()
    )
    block = "4096" if arguments.device == "cuda" else "512"
    todo = [
        (f"{preset}, one epoch", n, [train_script, "--measure", preset, "--n", str(n), "--block", block])
        for n in arguments.sizes
        for preset in ("mmsrl", "stmmr")
    ]
    todo += [
        (f"default: {what}", arguments.bins, [script, "--measure", what, "--bins", str(arguments.bins)])
        for what in ("ensemble", "enhance")
    ]
    for what, n, command in todo:
        remaining_s = end - time.monotonic()
        row = {"failed": "no time left"}
        if remaining_s > LEAST_S:
            row = measured([*command, "--device", arguments.device], remaining_s)
        report["rows"].append({"what": what, "n": n, **row})
        print(report["rows"][-1], flush=True)
        (arguments.output_dir / "gpu.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
        (arguments.output_dir / "gpu.md").write_text(as_markdown(report), encoding="utf-8")
    print(as_markdown(report))
    sys.exit(not report["equality"].get("equal", False))


if __name__ == "__main__":
    main()
