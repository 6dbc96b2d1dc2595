"""Measure the calibration and power of the tests of the pipeline on simulated sections.

For each null and test, the benchmark prints the fraction of p-values below .05 and .001 as a multiple of the level (1
is calibrated), with the 95 % binomial confidence interval. It compares with scanpy's Wilcoxon test and squidpy's
Moran's I. It then prints the power for planted effects at flat depth, where all tests are valid, and the fraction of
spots in the correct domain by their confidence. ``--quick`` draws few genes. Each test is one function of TESTS.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from scipy.stats import beta, false_discovery_control

import mmsrl.tl
from mmsrl._sections import in_pitches
from mmsrl.domains.average import matching
from mmsrl.ingest.api import read_spaceranger
from mmsrl.markers.api import markers
from mmsrl.markers.lattice import adjacency
from mmsrl.markers.offset import enrichment, sums
from mmsrl.markers.over_representation import over_represented
from mmsrl.markers.pseudobulk import over_sections
from mmsrl.markers.spatial import morans_i
from mmsrl.normalisation import log_normalised
from mmsrl.residuals import beyond_depth, residual_components, robust
from mmsrl.train.bandwidth import structure_p

SIDE = 40
COMPARED = 3_000
"""Number of genes for scanpy and squidpy, which are slower."""


class Kind(NamedTuple):
    """Parameters of a null."""

    gradient: float = 1.0
    """Ratio of the depth at the right edge to the left edge."""
    dispersion: float = 0.0
    rates: tuple[float, float] = (0.003, 1.0)
    """Molecules per spot of the rarest and the most abundant gene."""
    genes: int | None = None
    """Number of genes of a panel, which make up the whole library; ``None`` for a transcriptome."""
    sections: int = 1
    interaction: float = 0.0
    """Standard deviation between sections of the log fold change of a domain, which is 0 on average."""
    spread: float = 0.0
    """Standard deviation of the log of ``interaction`` between genes."""
    shares: tuple[float, float] = (0.8, 0.2)
    """Fractions of spots in the first domain, for alternating sections."""
    cells: bool = False
    """Whether positions are irregular instead of a lattice."""
    slope: float = 0.0
    """Standard deviation between genes of the exponent of depth, around 1. No test models it."""


NULLS = {
    "flat": Kind(),
    "depth 4x": Kind(gradient=4.0),
    "depth 16x": Kind(gradient=16.0),
    "sections 80/20, 20/80": Kind(sections=2),
    "few molecules": Kind(rates=(0.003, 0.03)),
    "few molecules, 16x": Kind(gradient=16.0, rates=(0.003, 0.03)),
    "155 genes, 16x": Kind(gradient=16.0, rates=(0.01, 3.0), genes=155),
    "irregular cells": Kind(cells=True),
    "overdispersed .5": Kind(dispersion=0.5, rates=(0.003, 10.0)),
    "overdispersed 2, 16x": Kind(gradient=16.0, dispersion=2.0, rates=(0.003, 10.0)),
    "not in proportion, 16x": Kind(gradient=16.0, slope=0.1),
}

OVER_SECTIONS = {
    "the same in all": Kind(sections=4),
    "N(0, .1)": Kind(sections=4, interaction=0.1),
    "N(0, .3), 3 sections": Kind(sections=3, interaction=0.3),
    "N(0, .3)": Kind(sections=4, interaction=0.3),
    "N(0, .3), 6 sections": Kind(sections=6, interaction=0.3),
    "N(0, .3), depth 16x": Kind(sections=4, interaction=0.3, gradient=16.0),
    "N(0, .3), irregular cells": Kind(sections=4, interaction=0.3, cells=True),
    "N(0, .3), few molecules": Kind(sections=4, interaction=0.3, rates=(0.003, 0.03)),
    "N(0, .3), overdispersed .5": Kind(sections=4, interaction=0.3, dispersion=0.5),
    "N(0, .3 · exp N(0, .5))": Kind(sections=4, interaction=0.3, spread=0.5),
    "N(0, .3), a domain of 2.5 %": Kind(sections=4, interaction=0.3, shares=(0.96, 0.96)),
    "N(0, .6)": Kind(sections=4, interaction=0.6),
    "N(0, .3), not in proportion, 16x": Kind(sections=4, interaction=0.3, gradient=16.0, slope=0.1),
}
"""Distribution of the log fold change of a domain between sections, 0 on average. Four sections unless stated."""


class Draw(NamedTuple):
    """Unit without structure, and domains that depend only on the position."""

    counts: sp.csr_matrix
    library: Any
    places: list[Any]
    section: Any
    domain: Any
    cells: bool


def draw(kind: Kind, genes: int, seed: int, fold: Any = None) -> Draw:
    """Draw counts of ``genes`` genes; ``fold``, (genes,), is their fold change in the second domain."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    lattice = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    places = [random.uniform(0, SIDE, lattice.shape) if kind.cells else lattice for _ in range(kind.sections)]
    section = np.repeat(np.arange(kind.sections), SIDE**2)
    across = np.concatenate(places)[:, 0] / SIDE
    if kind.sections > 1:
        domain = (across >= np.resize(kind.shares, kind.sections)[section]).astype(int)
    else:
        domain = np.searchsorted([0.1, 0.5], across, side="right")
    depth = kind.gradient ** (across - 0.5) * random.lognormal(0.0, 0.3, len(across))
    rate = np.exp(random.uniform(*np.log(kind.rates), genes))
    effect = np.exp(random.normal(0.0, 0.7, (kind.sections, genes)) * (kind.sections > 1))
    slope = random.normal(1.0, kind.slope, genes)
    by_section = None
    if kind.interaction:
        deviation = kind.interaction * np.exp(random.normal(0.0, kind.spread, genes))
        by_section = np.exp(deviation * random.normal(0.0, 1.0, (kind.sections, genes)))
    blocks = []
    for block in np.array_split(np.arange(genes), max(genes // 1000, 1)):
        mean = depth[:, None] ** slope[block] * rate[block] * effect[section][:, block]
        if fold is not None:
            mean = np.where(domain[:, None] == 1, mean * fold[block], mean)
        if by_section is not None:
            mean = np.where(domain[:, None] == 1, mean * by_section[section][:, block], mean)
        if kind.dispersion:
            mean = mean * random.gamma(1.0 / kind.dispersion, kind.dispersion, mean.shape)
        blocks.append(sp.csr_matrix(random.poisson(mean).astype(np.float32)))
    counts = sp.csr_matrix(sp.hstack(blocks, format="csr"))
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    if kind.genes is None:  # the library includes the rest of the transcriptome
        library = library + random.poisson(2_000.0 * depth)
    return Draw(counts, library, places, section, domain, kind.cells)


def permuted(folder: Path, seed: int) -> Draw:
    """Return a real section with permuted spots, which has real counts and no spatial structure."""
    adata = read_spaceranger(folder, "S").adata
    random = np.random.default_rng(seed)
    counts = sp.csr_matrix(adata.X)
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    places = in_pitches(adata)[library > 0]
    order = random.permutation(np.flatnonzero(library > 0))
    domain = np.searchsorted(np.quantile(places[:, 0], [0.1, 0.5]), places[:, 0], side="right")
    counts = sp.csr_matrix(counts[order][:, counts.getnnz(axis=0) > 0])
    cells = adata.uns["mmsrl"]["lattice"] == "none"
    return Draw(counts, library[order], [places], np.zeros(len(order), dtype=int), domain, cells)


def marker_p(unit: Draw, seed: int) -> Any:
    k = int(unit.domain.max()) + 1
    return enrichment(sums(unit.counts, unit.library, unit.section, unit.domain, k)).p_value


def spatial_p(unit: Draw, seed: int) -> Any:
    in_first = unit.section == 0
    graph = adjacency(unit.places[0], lattice=not unit.cells)
    return morans_i(sp.csr_matrix(unit.counts[in_first]), unit.library[in_first], graph).p_value


def set_p(unit: Draw, seed: int) -> Any:
    """Return p-values of random gene sets against random markers."""
    random, genes = np.random.default_rng(seed), [f"g{g}" for g in range(min(unit.counts.shape[1], 4_000))]
    p = []
    for _ in range(10):
        chosen = random.choice(genes, len(genes) // 10, replace=False)
        sizes = random.integers(10, max(len(genes) // 10, 20), 100)
        sets = {str(i): random.choice(genes, size, replace=False) for i, size in enumerate(sizes)}
        p.append(over_represented(chosen, genes, sets)["p_value"])
    return np.concatenate(p)


def wilcoxon_p(unit: Draw, seed: int) -> Any:
    """Return one-sided p-values of scanpy's Wilcoxon test."""
    adata = _normalised(unit)
    groups = [str(k) for k in range(int(unit.domain.max()) + 1)]
    adata.obs["domain"] = pd.Categorical(unit.domain.astype(str), groups)
    sc.tl.rank_genes_groups(adata, "domain", method="wilcoxon", tie_correct=True)
    table = sc.get.rank_genes_groups_df(adata, None)
    table["p"] = np.where(table["scores"] > 0, table["pvals"] / 2, 1 - table["pvals"] / 2)
    return table.pivot(index="group", columns="names", values="p").loc[groups, adata.var_names].to_numpy()


def squidpy_p(unit: Draw, seed: int) -> Any:
    import squidpy as sq

    adata = _normalised(unit)[unit.section == 0].copy()
    adata.obsp["spatial_connectivities"] = adjacency(unit.places[0], lattice=not unit.cells)
    table = sq.gr.spatial_autocorr(adata, mode="moran", two_tailed=False, copy=True, show_progress_bar=False)
    return table.loc[adata.var_names, "pval_norm"].to_numpy()


def _normalised(unit: Draw) -> ad.AnnData:
    counts = sp.csr_matrix(unit.counts[:, : min(COMPARED, unit.counts.shape[1])])
    adata = ad.AnnData(log_normalised(counts, unit.library))
    adata.var_names = [f"g{g}" for g in range(adata.n_vars)]
    adata.obs_names = [f"s{i}" for i in range(adata.n_obs)]
    return adata


TESTS: dict[str, Callable[[Draw, int], Any]] = {
    "markers": marker_p,
    "spatial genes": spatial_p,
    "scanpy Wilcoxon": wilcoxon_p,
    "squidpy Moran's I": squidpy_p,
}


def pipeline_p(kind: Kind, genes: int, seed: int) -> Any:
    """Return marker p-values of domains that the pipeline finds on a null."""
    unit = draw(kind, genes, seed)
    sections = []
    for s, places in enumerate(unit.places):
        counts = sp.csr_matrix(unit.counts[unit.section == s])
        about = {"sample": f"s{s}", "pitch_px": 1.0, "lattice": "none" if kind.cells else "square"}
        adata = ad.AnnData(counts, obsm={"spatial": places}, uns={"mmsrl": about})
        adata.obs_names, adata.var_names = (
            [f"{name}{i}" for i in range(n)] for name, n in (("spot", adata.n_obs), ("gene", adata.n_vars))
        )
        sections.append(adata)
    mmsrl.tl.domains(sections, 4, show_progress=False)
    return markers(sections).genes["p_value"].to_numpy()


def structure(kind: Kind, seed: int) -> float:
    unit = draw(kind, 300, seed)
    detected = unit.counts[:, unit.counts.getnnz(axis=0) > 0]
    scores = robust(
        beyond_depth(residual_components(sp.csr_matrix(detected), 30, seed).scores, unit.library, unit.section)
    )
    return structure_p(
        scores, unit.places, seed + 1_000_000
    )  # the random numbers of the permutations must differ from the draw's


def line(null: str, test: str, p: Any) -> str:
    p = np.asarray(p, dtype=float).ravel()
    p = p[np.isfinite(p)]
    cells = []
    for level in (0.05, 0.001):
        if len(p) * level < 3:
            cells.append("too few")
            continue
        below = int((p <= level).sum())
        low = beta.ppf(0.025, below, len(p) - below + 1) if below else 0.0
        high = beta.ppf(0.975, below + 1, len(p) - below)
        cells.append(f"{below / len(p) / level:.2f} ({low / level:.2f}–{high / level:.2f})")
    return f"| {null} | {test} | {len(p):,} | {cells[0]} | {cells[1]} |"


def power(genes: int, draws: int) -> list[str]:
    """Return the fraction of planted genes with p <= .001, by fold change, at flat depth.

    One gene of fifteen is planted. More planted genes would change the library size, and with it all other genes.
    """
    lines, planted = [], np.arange(genes) < genes // 15
    for dispersion in (0.0, 0.5):
        for fold in (1.25, 1.5, 2.0):
            kind = Kind(dispersion=dispersion, rates=(0.01, 3.0))
            drawn = [draw(kind, genes, seed, np.where(planted, fold, 1.0)) for seed in range(draws)]
            shares = []
            for name in ("markers", "scanpy Wilcoxon", "spatial genes", "squidpy Moran's I"):
                p = np.concatenate([np.atleast_2d(TESTS[name](unit, 0))[:2][-1][planted] for unit in drawn])
                shares.append(f"{np.mean(np.nan_to_num(p, nan=1.0) <= 0.001):.3f}")
            lines.append(f"| {fold:g} | {dispersion:g} | " + " | ".join(shares) + " |")
    return lines


def tests_of(unit: Draw) -> tuple[Any, Any]:
    """Return p-values over spots and over sections, of the second domain only, so that no gene counts twice."""
    added = sums(unit.counts, unit.library, unit.section, unit.domain, 2)
    return enrichment(added).p_value[1], over_sections(added, np.array([False, True])).p_value[1]


def over_sections_lines(genes: int, draws: int) -> list[str]:
    """Return the calibration of both tests on genes whose domain effect varies between sections."""
    lines = []
    for name, kind in OVER_SECTIONS.items():
        p = np.array([tests_of(draw(kind, genes, seed)) for seed in range(draws)])
        lines += [line(name, "spots", p[:, 0]), line(name, "sections", p[:, 1])]
    return lines


def over_sections_power(genes: int, draws: int) -> list[str]:
    """Return the fraction of planted genes with an adjusted p-value below .05, and the false discovery proportion."""
    lines, planted = [], np.arange(genes) < genes // 15
    for interaction in (0.0, 0.3):
        for fold in (1.5, 2.0, 3.0):
            cells = []
            for n in (3, 4, 6):
                kind = Kind(sections=n, interaction=interaction, rates=(0.01, 3.0))
                power, false = [], []
                for seed in range(draws):
                    drawn = draw(kind, genes, seed, np.where(planted, fold, 1.0))
                    called = [false_discovery_control(np.nan_to_num(p, nan=1.0)) < 0.05 for p in tests_of(drawn)]
                    power.append([significant[planted].mean() for significant in called])
                    false.append([significant[~planted].sum() / max(significant.sum(), 1) for significant in called])
                cells += [f"{a:.2f} ({b:.2f})" for a, b in zip(np.mean(power, 0), np.mean(false, 0), strict=True)]
            lines.append(f"| {interaction:g} | {fold:g} | " + " | ".join(cells) + " |")
    return lines


def confidence_of(cells: bool, fold: float, seed: int) -> pd.DataFrame:
    """Return the confidence and correctness of the domain of every spot, on a section of four planted layers."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    places = np.column_stack([x.ravel(), y.ravel()]).astype(float)
    if cells:
        places = random.uniform(0, SIDE, places.shape)
    edges = SIDE * np.array([0.1, 0.35, 0.7])
    layer = np.searchsorted(edges, places[:, 1] + 2.0 * np.sin(places[:, 0] / 5.0), side="right")
    profiles = np.tile(random.lognormal(-3.0, 1.0, 500), (4, 1))
    for profile in profiles:
        profile[random.choice(500, 40, replace=False)] *= fold
    depth = 4.0 ** (places[:, 0] / SIDE - 0.5) * random.lognormal(0.0, 0.3, len(places))
    counts = sp.csr_matrix(random.poisson(depth[:, None] * profiles[layer]).astype(np.float32))
    about = {"sample": "S", "pitch_px": 1.0, "lattice": "none" if cells else "square"}
    adata = ad.AnnData(counts, obsm={"spatial": places}, uns={"mmsrl": about})
    adata.obs_names, adata.var_names = [f"s{i}" for i in range(len(layer))], [f"g{g}" for g in range(500)]
    table = mmsrl.tl.domains(adata[:, counts.getnnz(axis=0) > 0], 4, show_progress=False, copy=True).obs
    domain = table["domain"].astype(int).to_numpy() - 1
    domain_of_layer = matching(np.eye(4)[layer], np.eye(4)[domain])
    correct = domain == domain_of_layer[layer]
    return pd.DataFrame({"confidence": table["domain_confidence"].to_numpy(), "correct": correct})


def confidence_lines(draws: int) -> list[str]:
    """Return the fraction of spots in the correct domain by confidence, on easy and hard planted sections."""
    lines = []
    for cells in (False, True):
        for fold in (1.3, 1.5, 2.0):
            table = pd.concat([confidence_of(cells, fold, seed) for seed in range(draws)])
            bins = pd.cut(table["confidence"], [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
            parts = [
                f"{spots['correct'].mean():.2f} ({len(spots):,})" if len(spots) else "–"
                for _, spots in table.groupby(bins, observed=False)
            ]
            lines.append(
                f"| {'cells' if cells else 'spots'} | {fold:g} | {table['correct'].mean():.2f} | {' | '.join(parts)} |"
            )
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="use few genes and draws, within a minute")
    parser.add_argument("--only", help="draw only nulls whose name contains this text")
    parser.add_argument(
        "--real", type=Path, nargs="*", default=[], help="folders of real sections, whose spots are permuted"
    )
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    genes, draws, tissues = (1_000, 1, 0) if arguments.quick else (10_000, 4, 100)
    start = time.perf_counter()
    print("| null | test | p-values | below .05, times .05 | below .001, times .001 |\n|---|---|---|---|---|")
    for null, kind in NULLS.items():
        if arguments.only and arguments.only not in null:
            continue
        panel = genes // 155 * draws if kind.genes else draws
        drawn = [draw(kind, kind.genes or genes, seed) for seed in range(panel)]
        for name, test in TESTS.items():
            common = name.startswith(("scanpy", "squidpy"))
            few = drawn[: max(COMPARED // 155, 1) if kind.genes else 1] if common else drawn
            print(line(null, name, np.concatenate([test(unit, i).ravel() for i, unit in enumerate(few)])), flush=True)
        if tissues and kind.sections == 1:
            print(line(null, "structure", [structure(kind, seed) for seed in range(tissues)]), flush=True)
    print(line("random sets", "gene sets", np.concatenate([set_p(drawn[0], seed) for seed in range(draws)])))
    for folder in arguments.real:
        drawn = [permuted(folder, seed) for seed in range(2 * draws)]
        for name in ("markers", "spatial genes"):
            p = np.concatenate([TESTS[name](unit, 0).ravel() for unit in drawn])
            print(line(f"{folder.name}, permuted", name, p), flush=True)
    for null in () if arguments.quick or arguments.only else ("depth 16x", "overdispersed 2, 16x"):
        p = np.concatenate([pipeline_p(NULLS[null], 1_500, seed) for seed in range(3)])
        print(line(null, "markers of domains found", p), flush=True)
    print("\n| fold change | dispersion | markers | scanpy Wilcoxon | spatial genes | squidpy Moran's I |")
    print("|---|---|---|---|---|---|")
    print("\n".join(power(genes=1_000 if arguments.quick else COMPARED, draws=draws)))
    if not arguments.only:
        print("\n| effect of the domain by section | over | p-values | below .05, times .05 | below .001, times .001 |")
        print("|" + "---|" * 5)
        print("\n".join(over_sections_lines(genes // 4, 1 if arguments.quick else 3)))
        print("\n| deviation | fold change | 3: spots | sections | 4: spots | sections | 6: spots | sections |")
        print("|" + "---|" * 8)
        print("\n".join(over_sections_power(genes // 4, 1)))
        print("\n| layers of | fold change | all | ≤ .5 | .5–.6 | .6–.7 | .7–.8 | .8–.9 | .9–1 |")
        print("|" + "---|" * 9)
        print("\n".join(confidence_lines(1 if arguments.quick else 5)))
    print(f"\n{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
