"""p-values mean what they say where there is nothing to find: a small part of ``make bench-calibration``."""

from __future__ import annotations

import runpy
from itertools import product
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp

import mmsrl.tl
from mmsrl.markers.api import Markers, markers

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/bench_calibration.py"))
SIDE = 24


@pytest.mark.parametrize(
    ("null", "test"),
    [
        *product(
            ["flat", "depth 16x", "sections 80/20, 20/80", "few molecules, 16x", "overdispersed 2, 16x"],
            ["markers", "spatial genes"],
        ),
        ("not in proportion, 16x", "markers"),
    ],
)
def test_so_many_p_values_are_below_a_level_as_it_says(null: str, test: str) -> None:
    drawn = [BENCH["draw"](BENCH["NULLS"][null], 1_200, seed) for seed in (0, 1)]
    p = np.concatenate([BENCH["TESTS"][test](found, 0).ravel() for found in drawn])
    p = p[np.isfinite(p)]
    assert len(p) > 800
    assert 0.75 < (p <= 0.05).mean() / 0.05 < 1.25
    # Of 1,000 values one is expected below .001: what is to be seen is that there are not many times as many.
    assert (p <= 0.001).sum() <= 0.001 * len(p) + 4 * np.sqrt(0.001 * len(p))


def section(name: str, rate: Any, depth: Any, random: np.random.Generator) -> ad.AnnData:
    """A square lattice of Poisson counts; ``rate`` (n, genes) up to a factor, ``depth`` (n,) molecules."""
    y, x = np.mgrid[:SIDE, :SIDE]
    counts = random.poisson(depth[:, None] * rate / rate.sum(axis=1, keepdims=True))
    about = {"sample": name, "pitch_px": 1.0, "lattice": "square"}
    places = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    adata = ad.AnnData(sp.csr_matrix(counts, dtype=np.float32), obsm={"spatial": places}, uns={"mmsrl": about})
    adata.obs_names = [f"{name}{i}" for i in range(adata.n_obs)]
    adata.var_names = [f"gene{g}" for g in range(adata.n_vars)]
    return adata


def with_p(found: Markers) -> Any:
    return found.genes[found.genes["p_value"].notna()]


def test_domains_that_are_found_where_there_are_none_have_no_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Depth rises 16 times from left to right; all domains are tested, also those not found again."""
    monkeypatch.setattr("mmsrl.markers.api.RECOVERED", 0.0)
    random = np.random.default_rng(0)
    rate = np.tile(random.lognormal(0.0, 1.0, 600), (SIDE**2, 1))
    depth = 1_000.0 * 16.0 ** (np.arange(SIDE**2) % SIDE / (SIDE - 1) - 0.5)
    adata = section("S", rate, depth, random)
    mmsrl.tl.domains(adata, 4, readout="kmeans", kernel_width=1.0, show_progress=False)
    found = markers(adata, readout="kmeans", kernel_width=1.0)
    assert len(with_p(found)) > 1_000 and not found.genes["marker"].any()
    assert found.facts["depth_alone"] and all("depth alone" in m["text"] for m in found.messages[-1:])
    assert (with_p(found)["p_adjusted"] < 0.05).mean() <= 0.01
    assert (found.spatial["p_adjusted"] < 0.05).mean() <= 0.01


def test_what_differs_between_sections_is_no_marker_of_domains_that_they_share_unequally() -> None:
    """The first domain has 80 % of one section and 20 % of the other; 40 of 500 genes are of a domain."""
    random = np.random.default_rng(1)
    base = random.lognormal(0.0, 1.0, 500)
    sections = []
    for name, share in (("A", 0.8), ("B", 0.2)):
        domain = (np.arange(SIDE**2) // SIDE >= share * SIDE).astype(int)
        rate = np.tile(base * np.exp(random.normal(0.0, 0.7, 500)), (SIDE**2, 1))
        rate[domain == 0, :20] *= 3.0
        rate[domain == 1, 20:40] *= 3.0
        adata = section(name, rate, 1_000.0 * random.lognormal(0.0, 0.3, SIDE**2), random)
        adata.obs["domain"] = (domain + 1).astype(str)
        sections.append(adata)
    found = markers(sections, readout="kmeans", kernel_width=1.0)
    assert min(found.facts["recovered"].values()) > 0.9
    number = found.genes["gene"].str.removeprefix("gene").astype(int)
    null = with_p(found)["gene"].str.removeprefix("gene").astype(int) >= 40
    assert (with_p(found)["p_adjusted"][null] < 0.05).mean() <= 0.05
    assert found.genes["marker"][number >= 40].mean() <= 0.01
    own = found.genes[(found.genes["domain"] == "1") & (number < 20)]
    assert own["marker"].mean() > 0.9 and (own["samples_up"] == 2).mean() > 0.8
