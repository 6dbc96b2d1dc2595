"""Compare own implementations with those of squidpy, scanpy and SciPy on one section.

Prints, for each, the agreement and the time of both. ``docs/calibration.md`` compares the calibration of p-values.

    python benchmarks/bench_libraries.py
"""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from typing import Any

import anndata as ad
import numpy as np
import scipy.sparse as sp
from scipy.interpolate import CubicSpline

from mmsrl import datasets
from mmsrl._sections import in_pitches
from mmsrl.markers.lattice import PERMUTATIONS, adjacency, contacts
from mmsrl.markers.spatial import morans_i
from mmsrl.trajectory.trends import spline_basis


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """Return the result of a call and its time in seconds."""
    started = time.perf_counter()
    return function(), time.perf_counter() - started


def import_seconds(module: str) -> float:
    """Return the time that a fresh interpreter takes to import a module."""
    return timed(lambda: subprocess.run([sys.executable, "-W", "ignore", "-c", f"import {module}"], check=True))[1]


def neighbours(adata: ad.AnnData) -> str:
    import squidpy as sq

    own, own_s = timed(lambda: adjacency(in_pitches(adata), lattice=True))
    _, other_s = timed(lambda: sq.gr.spatial_neighbors(adata, coord_type="grid", n_neighs=6))
    other = sp.csr_matrix(adata.obsp["spatial_connectivities"])
    differing = (own != (other + other.T > 0)).nnz
    return f"spatial neighbours: {differing} of {own.nnz} entries differ; {own_s:.2f} s, squidpy {other_s:.2f} s"


def enrichment(adata: ad.AnnData) -> str:
    import squidpy as sq

    domain = adata.obs["layer"].cat.codes.to_numpy().astype(np.int64)
    graph = adjacency(in_pitches(adata), lattice=True)
    own, own_s = timed(lambda: contacts(domain, graph, int(domain.max()) + 1, 0))
    sq.gr.nhood_enrichment(adata, "layer", n_perms=2, show_progress_bar=False)  # compiles
    _, other_s = timed(
        lambda: sq.gr.nhood_enrichment(adata, "layer", n_perms=PERMUTATIONS, seed=0, show_progress_bar=False)
    )
    z = adata.uns["layer_nhood_enrichment"]["zscore"]
    correlation = np.corrcoef(own.z.ravel(), z.ravel())[0, 1]
    return f"neighbourhood enrichment: z correlate by {correlation:.4f}; {own_s:.2f} s, squidpy {other_s:.2f} s"


def moran(adata: ad.AnnData) -> str:
    """Compare Moran's I of genes that follow the library alone: counts are redrawn with one profile for all spots."""
    import scanpy as sc
    import squidpy as sq

    library = np.asarray(adata.X.sum(axis=1), dtype=np.float64).ravel()
    share = np.asarray(adata.X.sum(axis=0), dtype=np.float64).ravel()
    genes = np.argsort(-share)[:1000]
    # The library doubles from one side of the tissue to the other three times.
    places = in_pitches(adata)[:, 0]
    depth = library.mean() * 8.0 ** (places / np.ptp(places) - 0.5)
    counts = np.random.default_rng(0).poisson(np.outer(depth, share[genes] / share.sum()))
    null = ad.AnnData(sp.csr_matrix(counts.astype(np.float32)), obs=adata.obs[[]], obsm={"spatial": places[:, None]})
    null.obsp["spatial_connectivities"] = graph = adjacency(in_pitches(adata), lattice=True)
    own, own_s = timed(lambda: morans_i(null.X, depth, graph))
    sc.pp.normalize_total(null)
    sc.pp.log1p(null)
    _, other_s = timed(lambda: sq.gr.spatial_autocorr(null, mode="moran", n_perms=None, show_progress_bar=False))
    p = null.uns["moranI"]["pval_norm"]
    return (
        f"Moran's I, genes without a pattern with p < 0.01: {np.nanmean(own.p_value < 0.01):.3f}, "
        f"squidpy {np.mean(p < 0.01):.3f}; {own_s:.2f} s, squidpy {other_s:.2f} s"
    )


def splines() -> str:
    x, knots = np.linspace(0.0, 1.0, 5001), np.array([0.02, 0.34, 0.66, 0.98])
    own, own_s = timed(lambda: spline_basis(x, knots))
    other, other_s = timed(lambda: CubicSpline(knots, np.eye(4), bc_type="natural")(x))

    def apart(rows: np.ndarray) -> float:
        inside = (x >= knots[0]) & (x <= knots[-1])
        fitted = own @ np.linalg.lstsq(own[inside], other[inside], rcond=None)[0]
        return float(np.abs(fitted - other)[rows].max())

    inside = (x >= knots[0]) & (x <= knots[-1])
    return (
        f"natural splines: {apart(inside):.1e} apart between the outer knots, {apart(~inside):.1e} beyond them; "
        f"{own_s * 1e3:.1f} ms, SciPy {other_s * 1e3:.1f} ms"
    )


def main() -> None:
    """Print a line for each implementation."""
    warnings.simplefilter("ignore")
    adata = datasets.demo()
    adata = adata[adata.obs["layer"].notna()].copy()
    for module in ("mmsrl.markers.api", "scanpy", "squidpy"):
        print(f"import {module}: {import_seconds(module):.1f} s", flush=True)
    for compare in (neighbours, enrichment, moran):
        print(compare(adata), flush=True)
    print(splines())


if __name__ == "__main__":
    main()
