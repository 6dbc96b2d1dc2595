"""What training costs: the plain dense restatement, the exact presets and the default, side by side.

``python benchmarks/bench_train.py`` writes ``bench_train.json`` and ``bench_train.md`` to ``--output-dir``. Every
measurement is a process of its own: peak memory is that of one form at one size, imports included. Before any time is
taken, the dense and the exact form are asserted to make the same step. Synthetic sections: a Visium lattice, counts
negative binomial around bands of planted domains.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import dense

from mmsrl.train import graph
from mmsrl.train.fit import fit
from mmsrl.train.presets import PRESETS, Published
from mmsrl.train.published import Inputs, PublishedModel
from mmsrl.train.unit import Unit, build

GENES, IMAGE_FEATURES, DOMAINS = 3000, 128, 7
SIDE_BY_SIDE = (1_000, 2_000, 4_000)
LARGE = (8_000, 34_000, 100_000)
HUGE = (640_000,)
"""Only with a GPU."""


def synthetic_unit(n: int, seed: int = 0) -> Unit:
    """Make a section of about ``n`` spots: a hexagonal lattice with horizontal bands as domains."""
    rng = np.random.default_rng(seed)
    rows = max(int(np.sqrt(n)), DOMAINS)
    cols = -(-n // rows)
    index = np.arange(n)
    row, col = index // cols, 2 * (index % cols) + (index // cols) % 2
    domain = row * DOMAINS // rows
    base = rng.lognormal(-2.2, 1.2, GENES)
    profile = base * np.exp(0.6 * rng.standard_normal((DOMAINS, GENES)) * (rng.random((DOMAINS, GENES)) < 0.1))
    depth = rng.lognormal(0.0, 0.4, n)
    parts = []
    for start in range(0, n, 4096):  # a block at a time: the dense rates of all spots would not fit
        part = slice(start, start + 4096)
        rate = depth[part, None] * profile[domain[part]]
        parts.append(sp.csr_matrix(rng.negative_binomial(3.0, 3.0 / (3.0 + rate)).astype(np.float32)))
    counts = sp.vstack(parts, format="csr")
    library = np.asarray(counts.sum(axis=1)).ravel()
    expression = sp.csr_matrix(sp.diags(np.median(library) / np.maximum(library, 1.0)) @ counts).log1p()
    image = rng.standard_normal((DOMAINS, IMAGE_FEATURES))[domain] + rng.standard_normal((n, IMAGE_FEATURES))
    array = np.column_stack([row, col]).astype(np.float64)
    return Unit(
        samples=["synthetic"],
        section=np.zeros(n, np.int64),
        barcodes=[str(i) for i in range(n)],
        genes=[f"gene{g}" for g in range(GENES)],
        all_expression=sp.csr_matrix(expression, dtype=np.float32),
        variable=np.arange(GENES),
        counts=counts,
        coordinates=[array * [3**0.5 / 2, 0.5]],
        array_coordinates=[array],
        image=image.astype(np.float32),
        fine_bins=False,
        messages=[],
    )


def measure_dense(n: int, epochs: int) -> dict[str, Any]:
    """Time the published model, MMSRL, as plain dense matrices and autograd, denormals and all."""
    unit, settings = synthetic_unit(n), PRESETS["mmsrl"]
    assert isinstance(settings, Published)
    model = build(unit, settings, seed=0, correct=False, block=512, device=torch.device("cpu")).model
    assert isinstance(model, PublishedModel)
    parameters = {name: p.detach().clone().requires_grad_() for name, p in model.named_parameters()}
    hidden, fraction = model.projection.out_features, settings.mask_fraction
    del model
    x = torch.as_tensor(unit.all_expression.toarray())
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

    epoch()
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(epochs):
        epoch()
    return {"wall": (time.perf_counter() - wall) / epochs, "cpu": (time.process_time() - cpu) / epochs}


def measure_preset(preset: str, n: int, epochs: int, device: torch.device, block: int) -> dict[str, Any]:
    """Time a preset: an epoch after the first, and for the default all there is from arrays to embedding."""
    settings = PRESETS[preset]
    unit = synthetic_unit(n)
    began, began_cpu = time.perf_counter(), time.process_time()
    built = build(unit, settings, seed=0, correct=False, block=block, device=device)
    options = {"learning_rate": settings.learning_rate, "weight_decay": settings.weight_decay, "seed": 0}
    count = settings.epochs if preset == "default" else epochs + 1
    marks: list[float] = []
    steps = built.model.steps

    def timed() -> Any:
        marks.append(time.process_time())
        return steps()

    built.model.steps = timed  # type: ignore[method-assign]
    history = fit(built.model, epochs=count, show_progress=False, **options)
    marks.append(time.process_time())
    result: dict[str, Any] = {"epochs": len(history)}
    later = [row["seconds"] for row in history[1:]]
    result["wall"], result["cpu"] = float(np.mean(later)), float(np.diff(marks)[1:].mean())
    if preset == "default":
        built.model.embedding().cpu()
        result["total_wall"] = time.perf_counter() - began
        result["total_cpu"] = time.process_time() - began_cpu
    if device.type == "cuda":
        result["gpu_peak"] = torch.cuda.max_memory_allocated()
        result["gpu"] = torch.cuda.get_device_name()
        if preset != "default":
            done = epoch_operations(n, GENES, IMAGE_FEATURES, GENES)
            result["flops"] = done / result["wall"]
            result["matmul_flops"] = matmul_rate(device)
    return result


def epoch_operations(n: int, genes: int, features: int, hidden: int) -> float:
    """Return the multiplications and additions of an epoch's matrix products in the exact form, n > 1.75 hidden."""
    spot = 2.0 * n * hidden * hidden
    # Encoder 2 (its input needs no gradient), projections of expression 3, joint layer 2·3, decoder 3, consistency 7.
    linear = 2 * n * genes * hidden * 2 + spot * (3 + 6 + 3 + 7) + 2 * n * hidden * genes * 9
    weights = 2 * hidden**3 * 2 * 3
    pairs = 2.0 * n * n * (hidden * (1.5 + 3.5) + features * 5.0 + hidden * 1.5)  # attention, its image, regulariser
    return linear + weights + pairs


def matmul_rate(device: torch.device, size: int = 8192) -> float:
    """Return what the card reaches in one large product at the precision in use."""
    a = torch.randn(size, size, device=device)
    a @ a
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(10):
        a @ a
    torch.cuda.synchronize()
    return 10 * 2 * size**3 / (time.perf_counter() - began)


def assert_equal_steps(n: int = 400) -> dict[str, Any]:
    """Assert in double precision that the exact form makes the step of the dense restatement on the same graph."""
    unit = synthetic_unit(n)
    assert unit.array_coordinates is not None
    assert unit.image is not None
    adjacency = graph.gaussian_graph(unit.array_coordinates[0], 2.0)
    x, image = unit.all_expression.astype(np.float64), unit.image.astype(np.float64)
    smooth = [torch.as_tensor(graph.smooth(adjacency, values, 2)) for values in (x, image)]
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
    del errors["decoder.bias"]  # before BatchNorm: 0 but for rounding
    far = max(errors.values())
    if max(worst, far) > 1e-8:
        raise SystemExit(f"the exact and the dense form differ: losses by {worst:.1e}, gradients by {far:.1e}")
    return {"loss_error": worst, "gradient_error": far}


def measure(form: str, n: int, epochs: int, device: torch.device, block: int) -> dict[str, Any]:
    """Measure in this process."""
    if form == "equal":
        return assert_equal_steps()
    if form == "dense":
        result = measure_dense(n, epochs)
    else:
        result = measure_preset(form, n, epochs, device, block)
    # Kilobytes on Linux, bytes on macOS.
    unit = 1 if sys.platform == "darwin" else 1024
    return {"form": form, "n": n, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit, **result}


def run(form: str, n: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure in a process of its own."""
    command = [sys.executable, __file__, "--measure", form, "--n", str(n), "--epochs", str(arguments.epochs)]
    command += ["--device", arguments.device, "--block", str(arguments.block)] + ["--tf32"] * arguments.tf32
    print(f"{form} at {n:,} spots", end=" … ", flush=True)
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"status {done.returncode}"
        print(reason)
        return {"form": form, "n": n, "failed": reason}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"{result.get('wall', 0):.2f} s an epoch" if form != "equal" else "yes", flush=True)
    return result


def growth(results: list[dict[str, Any]], form: str, value: str) -> float | None:
    """Return the exponent of a power law through a form's measurements."""
    points = [(r["n"], r[value]) for r in results if r["form"] == form and value in r]
    if len(points) < 2:
        return None
    x, y = np.log(np.array(points, dtype=float)).T
    return float(np.polyfit(x, y, 1)[0])


def table(results: list[dict[str, Any]], machine: dict[str, Any]) -> str:
    """Write the measurements as a Markdown table."""
    dense_at = {r["n"]: r for r in results if r["form"] == "dense" and "wall" in r}
    lines = [f"{key}: {value}  " for key, value in machine.items()]
    lines += [
        "",
        "| form | spots | s/epoch | CPU s/epoch | peak GiB | dense/this CPU | this/dense memory | all s | GPU |",
    ]
    lines += ["|---|---|---|---|---|---|---|---|---|"]
    for r in results:
        if "failed" in r:
            lines.append(f"| {r['form']} | {r['n']:,} | {r['failed']} | | | | | | |")
            continue
        base = dense_at.get(r["n"])
        ratio = f"{base['cpu'] / r['cpu']:.1f}" if base else ""
        memory = f"{r['peak'] / base['peak']:.2f}" if base else ""
        total = f"{r['total_wall']:.0f}" if "total_wall" in r else ""
        gpu = f"{r['gpu_peak'] / 2**30:.2f} GiB" if "gpu_peak" in r else ""
        if "flops" in r:
            gpu += f", {r['flops'] / 1e12:.1f} of {r['matmul_flops'] / 1e12:.1f} TFLOP/s"
        lines.append(
            f"| {r['form']} | {r['n']:,} | {r['wall']:.2f} | {r['cpu']:.2f} | {r['peak'] / 2**30:.2f} "
            f"| {ratio} | {memory} | {total} | {gpu} |"
        )
    lines.append("")
    for form, value in itertools.product(dict.fromkeys(r["form"] for r in results), ("cpu", "peak")):
        exponent = growth(results, form, value)
        if exponent is not None:
            lines.append(f"- {form}: {'CPU time' if value == 'cpu' else 'memory'} grows as N^{exponent:.2f}")
    return "\n".join(lines) + "\n"


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--epochs", type=int, default=2, help="epochs to time, after one that is not")
    parser.add_argument("--block", type=int, default=0, help="rows of a block; 0: 512, on a GPU 4096")
    parser.add_argument("--forms", nargs="+", default=["dense", "mmsrl", "stmmr", "default"])
    parser.add_argument("--sizes", nargs="+", type=int, help="other sizes than those of the issue")
    parser.add_argument("--largest-exact", type=int, default=8_000, help="largest size for the published presets")
    parser.add_argument("--tf32", action="store_true", help="let a GPU multiply in TF32")
    parser.add_argument("--output-dir", type=Path, default=Path("."))
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    parser.add_argument("--n", type=int, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    arguments = parse()
    arguments.block = arguments.block or (4096 if arguments.device == "cuda" else 512)
    if arguments.tf32:
        torch.set_float32_matmul_precision("high")
    if arguments.measure:
        device = torch.device(arguments.device)
        print(json.dumps(measure(arguments.measure, arguments.n, arguments.epochs, device, arguments.block)))
        return
    machine = {
        "date": date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads",
        "versions": f"Python {platform.python_version()}, torch {torch.__version__}, numpy {np.__version__}",
        "device": torch.cuda.get_device_name() if arguments.device == "cuda" else "cpu",
        "precision": "TF32" if arguments.tf32 else "float32",
        "sizes": f"{GENES} genes, {IMAGE_FEATURES} image features, hidden width {GENES}",
    }
    equal = run("equal", 400, arguments)
    if "failed" in equal:
        sys.exit(1)
    sizes = arguments.sizes or [*SIDE_BY_SIDE, *LARGE, *(HUGE if arguments.device == "cuda" else ())]
    largest = {"dense": 0 if arguments.device == "cuda" else SIDE_BY_SIDE[-1], "default": max(sizes)}
    wanted = [(f, n) for f in arguments.forms for n in sizes if n <= largest.get(f, arguments.largest_exact)]
    results = [run(form, n, arguments) for form, n in wanted]
    report = {"machine": machine, "equal": equal, "results": results}
    for result in results:
        result["bytes_a_spot"] = result["peak"] / result["n"] if "peak" in result else None
    (arguments.output_dir / "bench_train.json").write_text(json.dumps(report, indent=2) + "\n")
    text = table(results, machine)
    (arguments.output_dir / "bench_train.md").write_text(text)
    print(f"\n{text}")


if __name__ == "__main__":
    main()
