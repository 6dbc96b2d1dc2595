"""Compare Gaussian smoothing and the bilateral filter of the default on simulated sections.

    make bench-smoothing

Sections have layers or patches with different genes, at two sequencing depths. Prints the adjusted Rand index of the
consensus with both graphs, and writes it to ``bench_smoothing.json`` in ``--output-dir``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits

from mmsrl import graph
from mmsrl.domains.average import consensus
from mmsrl.domains.readouts import read_out, reduce
from mmsrl.normalisation import log_normalised, standard_components

Array = npt.NDArray[Any]

SIDE, GENES, DOMAINS, PATCHES = 52, 1_000, 7, 30
SHARE_CHANGED, FOLD = 0.3, 0.35
"""Fraction of genes that differ in a domain, and the standard deviation of their log fold changes."""

SPOT_NOISE = 0.3
"""Standard deviation of the log fold changes of single spots."""

MEMBERS = ((1.0, 30), (0.75, 30), (1.5, 30), (0.75, 20), (1.5, 20))
"""Bandwidth and number of components of the members."""


def simulate(kind: str, depth: float, seed: int) -> tuple[Array, Array, sp.csr_matrix]:
    """Simulate coordinates (n, 2) in pitches of a hexagonal lattice, domains (n,) and counts (n, G)."""
    rng = np.random.default_rng(seed)
    row, column = np.mgrid[:SIDE, :SIDE]
    places = np.column_stack([(column + 0.5 * (row % 2)).ravel(), (row * 3**0.5 / 2).ravel()])
    if kind == "layers":
        angle = rng.uniform(0, np.pi)
        depths = places @ [np.cos(angle), np.sin(angle)] + 3 * np.sin(places @ [-np.sin(angle), np.cos(angle)] / 10)
        borders = np.cumsum(rng.dirichlet(np.full(DOMAINS, 4)))[:-1]
        domain = np.searchsorted(borders, (depths - depths.min()) / np.ptp(depths))
    else:
        centres = rng.uniform(0, 1, (PATCHES, 2)) * places.max(axis=0)
        nearest = ((places[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        domain = rng.integers(0, DOMAINS, PATCHES)[nearest]
    log_rate = np.tile(rng.normal(0, 1.3, GENES), (DOMAINS, 1))
    log_rate += np.where(rng.random((DOMAINS, GENES)) < SHARE_CHANGED, rng.normal(0, FOLD, (DOMAINS, GENES)), 0)
    rate = np.exp(log_rate[domain] + SPOT_NOISE * rng.standard_normal((len(places), GENES)))
    library = depth * rng.lognormal(0, 0.35, len(places))
    return places, domain, sp.csr_matrix(rng.poisson(library[:, None] * rate / rate.sum(axis=1, keepdims=True)))


def score(places: Array, domain: Array, counts: sp.csr_matrix) -> dict[str, float]:
    """Return the adjusted Rand index of the consensus of the members, by graph."""
    values = log_normalised(counts.astype(np.float32), np.asarray(counts.sum(axis=1)).ravel())
    posteriors: dict[str, list[Array]] = {"gaussian": [], "edge_preserving": []}
    for seed, (width, components) in enumerate(MEMBERS):
        scores, _ = standard_components(values, np.zeros(len(places), np.int64), components, seed)
        graphs = {
            "gaussian": graph.plain_graph(places, width),
            "edge_preserving": graph.edge_preserving_graph([places], scores, width),
        }
        for name, adjacency in graphs.items():
            points = reduce(graph.smooth(adjacency, scores, 1))
            posteriors[name].append(read_out(points, len(np.unique(domain)), "gmm", seed))
    return {
        name: float(adjusted_rand_score(domain, consensus(found).argmax(axis=1))) for name, found in posteriors.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output-dir", type=Path, default=Path("results/bench_smoothing"))
    parser.add_argument("--seeds", type=int, default=3, help="number of sections of each kind and depth")
    arguments = parser.parse_args()
    results: list[dict[str, Any]] = []
    with threadpool_limits(1):
        for kind in ("layers", "patches"):
            for depth in (600, 3000):
                for seed in range(arguments.seeds):
                    found = score(*simulate(kind, depth, seed))
                    results.append({"kind": kind, "molecules": depth, "seed": seed, **found})
                    print(f"{kind}, {depth} molecules, seed {seed}: {json.dumps(found)}", flush=True)
    gain = np.array([row["edge_preserving"] - row["gaussian"] for row in results])
    plain, ours = (np.mean([row[name] for row in results]) for name in ("gaussian", "edge_preserving"))
    print(f"mean {plain:.3f} and {ours:.3f}; difference from {gain.min():+.3f} to {gain.max():+.3f}")
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    (arguments.output_dir / "bench_smoothing.json").write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
