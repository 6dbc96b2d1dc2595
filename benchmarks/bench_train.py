"""Measure time and memory of training: dense restatement, exact presets and default.

``python benchmarks/bench_train.py`` writes ``bench_train.json`` and ``bench_train.md`` to ``--output-dir``. Each
measurement is a separate process, whose peak memory includes imports. Before timing, the benchmark asserts that the
dense and the exact form make the same step. Sections are simulated: a Visium lattice with negative binomial counts and
bands as domains.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any, Literal
from unittest import mock

import numpy as np
import scipy.sparse as sp
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import dense

from mmsrl import graph
from mmsrl.train import products
from mmsrl.train.fit import fit, matmul_precision
from mmsrl.train.losses import GRAMS_FROM
from mmsrl.train.networks import build_published
from mmsrl.train.presets import PRESETS, Default, Published
from mmsrl.train.published import Inputs, PublishedModel
from mmsrl.train.unit import Unit, build

GENES, IMAGE_FEATURES, DOMAINS = 3000, 128, 7
DENSE = ("dense", "dense-flushed")
"""Dense restatement, without and with denormal numbers flushed to zero."""

MKL = "mmsrl-mkl"
"""``mmsrl`` with matrix products by MKL on every processor."""

SIDE_BY_SIDE = (1_000, 2_000, 4_000)
LARGE = (8_000, 34_000, 100_000)
HUGE = (640_000,)
"""Sizes that need a GPU."""


def synthetic_unit(n: int, n_genes: int = GENES, seed: int = 0) -> Unit:
    """Simulate a section of ``n`` spots: a hexagonal lattice with horizontal bands as domains.

    Spots take their counts from at most 20,000 different ones of their band: drawing more would take longer than
    training on them.
    """
    rng = np.random.default_rng(seed)
    rows = max(int(np.sqrt(n)), DOMAINS)
    cols = -(-n // rows)
    index = np.arange(n)
    row, col = index // cols, 2 * (index % cols) + (index // cols) % 2
    domain = row * DOMAINS // (index[-1] // cols + 1)
    base = rng.lognormal(-2.2, 1.2, n_genes)
    changed = rng.standard_normal((DOMAINS, n_genes)) * (rng.random((DOMAINS, n_genes)) < 0.1)
    profile = base * np.exp(0.6 * changed)
    different = np.arange(min(n, 20_000)) % DOMAINS
    parts = []
    for band in np.array_split(different, -(-len(different) // 512)):  # a block at a time, for the peak of memory
        rate = rng.lognormal(0.0, 0.4, (len(band), 1)) * profile[band]
        parts.append(sp.csr_matrix(rng.negative_binomial(3.0, 3.0 / (3.0 + rate)).astype(np.float32)))
    taken = rng.integers(len(different) // DOMAINS, size=n) * DOMAINS + domain
    counts = sp.csr_matrix(sp.vstack(parts, format="csr")[taken])
    library = np.asarray(counts.sum(axis=1)).ravel()
    values = counts.data * np.repeat(np.median(library) / np.maximum(library, 1.0), np.diff(counts.indptr))
    expression = sp.csr_matrix((np.log1p(values).astype(np.float32), counts.indices, counts.indptr), shape=counts.shape)
    image = rng.standard_normal((DOMAINS, IMAGE_FEATURES), np.float32)[domain]
    image += rng.standard_normal((n, IMAGE_FEATURES), np.float32)
    array = np.column_stack([row, col]).astype(np.float64)
    return Unit(
        samples=["synthetic"],
        section=np.zeros(n, np.int64),
        barcodes=[str(i) for i in range(n)],
        genes=[f"gene{g}" for g in range(n_genes)],
        expression=expression,
        counts=counts,
        coordinates=[array * [3**0.5 / 2, 0.5]],
        library=np.asarray(counts.sum(axis=1)).ravel(),
        cells=False,
        image_coordinates=[array * [3**0.5 / 2, 0.5]],
        array_coordinates=[array],
        image=image,
        fine_bins=False,
        messages=[],
    )


def measure_dense(n: int, n_genes: int, epochs: int, *, flush: bool) -> dict[str, Any]:
    """Time MMSRL as dense matrices with autograd; ``flush`` sets denormal numbers to zero."""
    unit, settings = synthetic_unit(n, n_genes), PRESETS["mmsrl"]
    assert isinstance(settings, Published)
    model, _ = build_published(unit, settings, block=512, device=torch.device("cpu"))
    parameters = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    hidden, fraction = model.projection.out_features, settings.mask_fraction
    del model
    x = torch.as_tensor(unit.expression.toarray())
    image = torch.as_tensor(unit.image)
    assert unit.array_coordinates is not None
    adjacency = dense.gaussian_graph(unit.array_coordinates[0], 2.0).float()
    optimiser = torch.optim.Adam(parameters.values(), lr=settings.learning_rate, weight_decay=settings.weight_decay)

    def epoch() -> None:
        drop = torch.nn.functional.dropout
        terms = dense.forward(
            parameters,
            x,
            image,
            adjacency,
            settings,
            masked=torch.randperm(n)[: int(fraction * n)],
            attention_masks=(drop(torch.ones(n, n), 0.1), drop(torch.ones(n, n), 0.1)),
            keep_x=drop(torch.ones(n, hidden), 0.1),
            keep_i=drop(torch.ones(n, hidden), 0.1),
        )
        optimiser.zero_grad()
        terms["total"].backward()
        optimiser.step()

    torch.set_flush_denormal(flush)
    epoch()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        epoch()
    return {"wall": (time.perf_counter() - wall) / epochs, "cpu": (time.process_time() - cpu) / epochs}


def measure_preset(
    preset: str, n: int, n_genes: int, epochs: int, device: torch.device, block: int, tf32: bool
) -> dict[str, Any]:
    """Time a preset: one epoch after the first, or for the default, which has no epochs, the whole training."""
    settings = PRESETS[preset]
    unit = synthetic_unit(n, n_genes)
    if device.type == "cuda":
        torch.zeros(1, device=device)  # exclude the start of the device from the time
    began, began_cpu = time.perf_counter(), time.process_time()
    if isinstance(settings, Default):
        build(unit, settings, seed=0, correct=False)
        return {"wall": time.perf_counter() - began, "cpu": time.process_time() - began_cpu}
    model, _ = build_published(unit, settings, block=block, device=device)
    if tf32:
        model.matmul_precision = "high"
    options = {"learning_rate": settings.learning_rate, "weight_decay": settings.weight_decay}
    marks: list[float] = []
    steps = model.steps

    def timed() -> Any:
        marks.append(time.process_time())
        return steps()

    model.steps = timed  # type: ignore[method-assign]
    history = fit(model, epochs=epochs + 1, show_progress=False, **options)
    marks.append(time.process_time())
    result: dict[str, Any] = {"epochs": len(history)}
    later = [row["seconds"] for row in history[1:]]
    result["wall"], result["cpu"] = float(np.mean(later)), float(np.diff(marks)[1:].mean())
    if device.type == "cuda":
        result["gpu_peak"] = torch.cuda.max_memory_allocated()
        result["gpu"] = torch.cuda.get_device_name()
        result["flops"] = epoch_operations(preset, n, n_genes) / result["wall"]
        with matmul_precision(model, device):
            result["matmul_flops"] = matmul_rate(device)
    return result


def epoch_operations(form: str, n: int, genes: int = GENES, features: int = IMAGE_FEATURES) -> float:
    """Return the floating-point operations of the matrix products of an epoch, with as many hidden units as genes."""
    hidden = genes
    pair, spot = 2.0 * n * n * hidden, 2.0 * n * hidden * hidden
    # Both: projection of expression 3, joint layer 2·3, decoder 3, heads 3·3.
    shared = spot * (3 + 6 + 3 + 9)
    if form in DENSE:
        # Convolutions 6 + 4 products by the graph, forward and back, and 6 + 3 by weights; projection of the image 3;
        # two attentions of 6, two Gram matrices of 3, the cosines 3.
        return shared + pair * (4 + 2 + 12 + 6 + 3) + spot * (6 + 3 + 3)
    # Two weights to one and back 3, by the smoothed expression 2 (its input needs no gradient); attention 1 + 4 with
    # symmetric scores, and in the image's columns; the cosines ½ + 1; consistency by pairs of spots 3 or by Grams 7.
    consistency = 3.0 * pair if n <= GRAMS_FROM * hidden else 7.0 * spot
    attention = pair * 5.0 + 2.0 * n * n * features * 5.0
    return shared + 2.0 * genes * hidden * hidden * 3 + spot * 2 + attention + pair * 1.5 + consistency


def matmul_rate(device: torch.device, size: int = 8192) -> float:
    """Return the FLOP/s of the card in one large matrix product at the current precision."""
    a = torch.randn(size, size, device=device)
    a @ a
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(10):
        a @ a
    torch.cuda.synchronize()
    return 10 * 2 * size**3 / (time.perf_counter() - began)


def step_inputs(n: int, n_genes: int = GENES) -> tuple[Unit, sp.csr_matrix, list[torch.Tensor]]:
    """Return a section, its graph, and its smoothed expression and image, in double precision."""
    unit = synthetic_unit(n, n_genes)
    assert unit.array_coordinates is not None
    assert unit.image is not None
    adjacency = graph.gaussian_graph(unit.array_coordinates[0], 2.0)
    values = (unit.expression.astype(np.float64), unit.image.astype(np.float64))
    return unit, adjacency, [torch.as_tensor(graph.smooth(adjacency, one, 2)) for one in values]


def assert_equal_steps(n: int = 600, n_genes: int = 300) -> dict[str, Any]:
    """Assert in double precision that exact and dense form make the same step on the same graph."""
    unit, adjacency, smooth = step_inputs(n, n_genes)
    x, image = unit.expression.astype(np.float64), np.asarray(unit.image, dtype=np.float64)
    settings = PRESETS["mmsrl"]
    assert isinstance(settings, Published)
    model = PublishedModel(Inputs(x, smooth[0], smooth[1], adjacency), settings, block=128)
    torch.manual_seed(1)
    terms = model.losses()
    terms["total"].backward()
    expected, gradients = dense.replay(
        model, torch.as_tensor(x.toarray()), torch.as_tensor(image), torch.as_tensor(adjacency.toarray()), 1
    )
    worst = max(abs(float(terms[name].detach()) - value) / abs(value) for name, value in expected.items())
    ours = {name: p.grad for name, p in model.named_parameters()}
    errors = {name: float((ours[name] - g).norm() / g.norm()) for name, g in gradients.items()}
    del errors["decoder.bias"]  # before BatchNorm: 0 up to rounding
    far = max(errors.values())
    if max(worst, far) > 1e-10:
        raise SystemExit(f"the exact and the dense form differ: losses by {worst:.1e}, gradients by {far:.1e}")
    return {"loss_error": worst, "gradient_error": far}


def precision_errors(device: torch.device, n: int = 2000) -> dict[str, float]:
    """Return relative errors of a gradient in single precision and in TF32 from double precision, on a GPU."""
    unit, adjacency, smooth = step_inputs(n)
    settings = PRESETS["mmsrl"]
    assert isinstance(settings, Published)
    settings = dataclasses.replace(settings, attention_dropout=0.0, mlp_dropout=0.0)  # drawn anew in each precision

    def gradient(dtype: torch.dtype, precision: Literal["highest", "high"]) -> torch.Tensor:
        torch.manual_seed(0)
        inputs = Inputs(unit.expression, smooth[0].to(dtype), smooth[1].to(dtype), adjacency)
        model = PublishedModel(inputs, settings, block=512, device=device)
        model.matmul_precision = precision
        torch.manual_seed(1)
        with matmul_precision(model, device):
            torch.autograd.backward(model.losses()["total"])
        return torch.cat([p.grad.double().flatten() for p in model.parameters() if p.grad is not None])

    exact = gradient(torch.float64, "highest")
    single, tf32 = gradient(torch.float32, "highest"), gradient(torch.float32, "high")
    return {name: float((g - exact).norm() / exact.norm()) for name, g in (("single", single), ("tf32", tf32))}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one measurement in this process."""
    form, n, n_genes, device = arguments.measure, arguments.n, arguments.genes, torch.device(arguments.device)
    if form == "equal":
        return assert_equal_steps()
    if form == "precision":
        return precision_errors(device)
    if form == "imports":
        torch.optim.Adam([torch.zeros(1)])  # imports much of torch when first made
        result: dict[str, Any] = {}
    elif form in DENSE:
        result = measure_dense(n, n_genes, arguments.epochs, flush=form == "dense-flushed")
    else:
        with mock.patch.object(products, "mkl_is_slow", lambda: False) if form == MKL else nullcontext():
            preset = form.removesuffix("-mkl")
            result = measure_preset(preset, n, n_genes, arguments.epochs, device, arguments.block, arguments.tf32)
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "form": form,
        "n": n,
        "genes": n_genes,
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit,
        **result,
    }


def run(form: str, n: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one measurement in a separate process."""
    command = [sys.executable, __file__, "--measure", form, "--n", str(n), "--epochs", str(arguments.epochs)]
    command += ["--genes", str(arguments.genes), "--device", arguments.device, "--block", str(arguments.block)] + [
        "--tf32"
    ] * arguments.tf32
    print(f"{form} at {n:,} spots", end=" … ", flush=True)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"
        print(reason, flush=True)
        return {"form": form, "n": n, "failed": reason}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{result['wall']:.2f} s an epoch" if "wall" in result else "done", flush=True)
    return result


def growth(results: list[dict[str, Any]], form: str, value: str) -> float | None:
    """Return the exponent of a power law, fitted to the measurements of a form."""
    points = [(r["n"], r[value]) for r in results if r["form"] == form and value in r]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points, dtype=float)).T
    return float(np.polyfit(x, y, 1)[0])


def doublings(results: list[dict[str, Any]], form: str) -> dict[str, float]:
    """Return the growth of memory per doubling of the spots, between consecutive sizes."""
    points = sorted((r["n"], r["peak"]) for r in results if r["form"] == form and "peak" in r)
    return {
        f"{n:,} to {m:,}": float((high / low) ** (1.0 / np.log2(m / n)))
        for (n, low), (m, high) in itertools.pairwise(points)
    }


def table(results: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """Return the measurements as a Markdown table."""
    dense_at = {r["n"]: r for r in results if r["form"] == "dense" and "wall" in r}
    on_gpu = any("gpu_peak" in r for r in results)
    heads = ["form", "spots", "s/epoch", "CPU s/epoch", "peak GiB", "epochs"]
    heads += ["TFLOP in products"]
    heads += ["GPU peak GiB", "TFLOP/s of the card's"] if on_gpu else ["CPU: dense/this", "memory: this/dense"]
    lines = [f"- {key}: {value}" for key, value in machine.items()]
    lines += ["", f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for r in results:
        cells = [r["form"], f"{r['n']:,}"]
        if "failed" in r:
            cells.append(r["failed"].replace("|", " "))
        else:
            cells += [f"{r['wall']:.2f}", f"{r['cpu']:.2f}", f"{r['peak'] / 2**30:.2f}", str(r.get("epochs", ""))]
            cells.append(
                "" if r["form"] == "default" else f"{epoch_operations(r['form'], r['n'], r['genes']) / 1e12:.2f}"
            )
            base = dense_at.get(r["n"])
            if on_gpu:
                rate = f"{r['flops'] / 1e12:.1f} of {r['matmul_flops'] / 1e12:.1f}" if "flops" in r else ""
                cells += [f"{r['gpu_peak'] / 2**30:.2f}", rate]
            elif base:
                cells += [f"{base['cpu'] / r['cpu']:.1f}", f"{r['peak'] / base['peak']:.2f}"]
        lines.append(f"| {' | '.join(cells + [''] * (len(heads) - len(cells)))} |")
    lines.append("")
    for form in dict.fromkeys(r["form"] for r in results):
        for value, name in (("cpu", "CPU time an epoch"), ("peak", "memory")):
            exponent = growth(results, form, value)
            if exponent is not None:
                lines.append(f"- {form}: {name} grows as N^{exponent:.2f} over these sizes")
        steps = ", ".join(f"{ratio:.2f} ({sizes})" for sizes, ratio in doublings(results, form).items())
        if steps:
            lines.append(f"- {form}: memory a doubling of N: {steps}")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--epochs", type=int, default=1, help="epochs to time, after one for warming up")
    parser.add_argument("--block", type=int, default=0, help="rows of a block; 0: 512, on a GPU 4096")
    parser.add_argument("--forms", nargs="+", default=[*DENSE, "mmsrl", MKL, "stmmr", "default"])
    parser.add_argument("--genes", type=int, default=GENES)
    parser.add_argument("--sizes", nargs="+", type=int, help="other sizes than 1k, 2k, 4k, 8k, 34k, 100k")
    parser.add_argument("--largest-exact", type=int, default=8_000, help="largest size for the published presets")
    parser.add_argument("--tf32", action="store_true", help="let the published presets multiply in TF32 on a GPU")
    parser.add_argument("--merge", nargs="+", type=Path, help="only merge these JSON files into one table")
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def measure_all(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Measure every form at every size, and yield the report after each."""
    on_gpu = arguments.device == "cuda"
    machine = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "threads": f"{torch.get_num_threads()}, on {len(os.sched_getaffinity(0))} cores",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
        "precision": "TF32 in products" if arguments.tf32 else "float32",
        "model": f"{arguments.genes} genes, as many hidden values, {IMAGE_FEATURES} image features",
        "block": f"{arguments.block} spots",
    }
    equal = run("equal", 600, arguments)
    if "failed" in equal:
        raise SystemExit(f"the exact and the dense form differ: {equal['failed']}")
    errors = f"losses to {equal['loss_error']:.0e}, gradients to {equal['gradient_error']:.0e}"
    machine["agreement"] = f"{errors} of the dense form, at 600 spots and 300 genes in double precision"
    report: dict[str, Any] = {"machine": machine, "equal": equal}
    machine["imports"] = f"{run('imports', 0, arguments)['peak'] / 2**30:.2f} GiB of every peak"
    if on_gpu:
        report["precision"] = run("precision", 2000, arguments)
    sizes = arguments.sizes or [*SIDE_BY_SIDE, *LARGE, *(HUGE if on_gpu else ())]
    largest = {"default": max(sizes), **dict.fromkeys((*DENSE, MKL), 0 if on_gpu else SIDE_BY_SIDE[-1])}
    wanted = [(f, n) for f in arguments.forms for n in sizes if n <= largest.get(f, arguments.largest_exact)]
    report["results"] = []
    for form, n in wanted:
        report["results"].append(run(form, n, arguments))
        yield report


def merged(paths: list[Path]) -> dict[str, Any]:
    """Merge several reports from one machine."""
    reports = [json.loads(path.read_text()) for path in paths]
    results = [result for report in reports for result in report["results"]]
    order = {form: i for i, form in enumerate((*DENSE, MKL, *PRESETS))}
    return {**reports[0], "results": sorted(results, key=lambda r: (order[r["form"]], r["n"]))}


def main() -> None:
    arguments = parse()
    arguments.block = arguments.block or (4096 if arguments.device == "cuda" else 512)
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    for report in [merged(arguments.merge)] if arguments.merge else measure_all(arguments):
        (arguments.output_dir / "bench_train.json").write_text(json.dumps(report, indent=2) + "\n")
        (arguments.output_dir / "bench_train.md").write_text(table(report["results"], report["machine"]))
    print(f"\n{(arguments.output_dir / 'bench_train.md').read_text()}")


if __name__ == "__main__":
    main()
