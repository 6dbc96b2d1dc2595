"""Planted results of markers, trajectory and enhancement, for tests of the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl._palette import domain_colors

DOMAINS = ("1", "2", "10")


GAINING, LOSING, SPARSE, UNDETECTED = "G3", "G5", "G9", "G7"
"""Genes with verdict better, verdict worse, few held-out molecules, and none. All others are undecided."""


def add_to_assembled(path: Path) -> None:
    """Add pseudotime along x, a layout and confidence to an assembled sample; G0 follows x."""
    adata = ad.read_h5ad(path)
    along = _along(adata)
    adata.obs["pseudotime"] = (along**2).astype(np.float32)
    adata.obs["pseudotime_rank"] = along.astype(np.float32)
    adata.obs["domain_confidence"] = (0.5 + along / 2).astype(np.float32)
    adata.obsm["X_umap"] = np.column_stack([along, adata.obsm["spatial"][:, 1] / 400]).astype(np.float32)
    expression = adata.X.toarray()
    expression[:, 0] = along
    adata.X = sp.csr_matrix(expression)
    adata.write_h5ad(path)


def _along(adata: ad.AnnData) -> Any:
    x = adata.obsm["spatial"][:, 0]
    return (x - x.min()) / np.ptp(x)


def write_enhanced(folder: Path, unit: str, samples: tuple[str, ...]) -> None:
    """Write de-noised expression of two genes, 1 + x, for the assembled samples in reverse order."""
    parts = []
    for sample in reversed(samples):
        adata = ad.read_h5ad(folder / f"{sample}.mmsrl.h5ad")
        obs = pd.DataFrame({"sample": sample, "barcode": adata.obs_names}, index=adata.obs_names + f"-{sample}")
        values = np.tile(1 + _along(adata)[:, None], 2).astype(np.float32)
        parts.append(ad.AnnData(values, obs=obs, var=pd.DataFrame(index=[GAINING, LOSING])))
    ad.concat(parts).write_h5ad(folder / f"{unit}.enhanced.h5ad")


def add_biology(folder: Path) -> None:
    """Add markers, trajectory and enhancement to the pair of a small run, and none to the single section."""
    for sample in ("S1", "S2"):
        add_to_assembled(folder / f"{sample}.mmsrl.h5ad")
    write_findings(folder, "pair", ("S1", "S2"))


def write_findings(folder: Path, unit: str, samples: tuple[str, ...], *, seed: int = 0) -> None:
    """Write summaries of markers, trajectory and enhance, and the evaluation of de-noising, for an assembled unit."""
    generator = np.random.default_rng(seed)
    results = {"markers": _markers(samples), "trajectory": _trajectory(samples), "enhance": _enhancement()}
    for stage, result in results.items():
        content = {"stage": stage, "id": unit, "parameters": {"seed": 0}, "messages": [], "result": result}
        (folder / f"{unit}.{stage}.json").write_text(json.dumps(content))
    genes = [f"G{index}" for index in range(40)]
    table = pd.DataFrame({"gene": genes, "held_out": generator.integers(50, 900, 40)}).set_index("gene", drop=False)
    table["written"] = table["gene"].isin([GAINING, LOSING])
    table["deviance_enhanced"] = 100.0
    table["deviance_normalised"] = 110.0
    table["deviance_smoothed"] = 105.0
    table.loc[GAINING, "deviance_smoothed"] = 200.0
    table.loc[LOSING, "deviance_smoothed"] = 80.0
    table.loc[[SPARSE, UNDETECTED], "held_out"] = [49, 0]
    table["gain"] = 1 - 100 / table[["deviance_normalised", "deviance_smoothed"]].min(axis=1)
    table["gain_se"] = 0.02
    table["judged"] = table["held_out"] >= 50
    table["verdict"] = "undecided"
    table.loc[[GAINING, LOSING], "verdict"] = ["better", "worse"]
    write_enhanced(folder, unit, samples)
    table.to_csv(folder / f"{unit}.enhanced_genes.tsv", sep="\t", index=False)


NO_PSEUDOBULK: dict[str, Any] = {"sections": 0, "domains": []}


def _markers(samples: tuple[str, ...]) -> dict[str, Any]:
    def row(domain: str, index: int) -> dict[str, Any]:
        return {
            "gene": f"G{3 * DOMAINS.index(domain) + index}",
            "log2_fold_change": 2.0 - index / 2,
            "log2_fold_change_low": 1.5 - index / 2,
            "log2_fold_change_high": 2.5 - index / 2,
            "log2_fold_change_next": 1.0 - index / 2,
            "share": 0.9,
            "share_elsewhere": 0.25,
            "p_adjusted": [0.0, 1e-9, 0.02][index],
            "p_adjusted_pseudobulk": [0.001, 0.01, 0.04][index] if len(samples) > 2 else None,
            "samples_up": len(samples),
            "specific": index == 1,
        }

    contacts = [
        {"domain": one, "neighbour": other, "contacts": 90 if one == other else 0, "expected": 30.0, "z": 9.5}
        for one in DOMAINS
        for other in DOMAINS
    ]
    return {
        "n_markers": {"1": 31, "2": 3, "10": 3},
        "n_specific": dict.fromkeys(DOMAINS, 1),
        "corrected_for": ["library", "section"],
        "found_anew": True,
        "pseudobulk": {"sections": len(samples), "domains": list(DOMAINS)} if len(samples) > 2 else NO_PSEUDOBULK,
        "recovered": {"1": 0.875, "2": 0.5, "10": 0.5},
        "markers": {domain: [row(domain, index) for index in range(3)] for domain in DOMAINS},
        "spatial": {sample: [{"gene": "G2", "morans_i": 0.625, "p_adjusted": 0.0}] for sample in samples},
        "neighbours": dict.fromkeys(samples, contacts),
        "gene_sets": [
            {
                "domain": "2",
                "gene_set": "<ribosomal>",
                "n_set": 12,
                "n_both": 5,
                "expected": 0.7,
                "p_adjusted": 0.001,
                "genes": "G3,G4",
            }
        ],
    }


def _trajectory(samples: tuple[str, ...]) -> dict[str, Any]:
    grid = np.linspace(0, 1, 25).round(4).tolist()
    curves = {"G0": grid, "G1": grid[::-1], "G2": [1 - abs(2 * t - 1) for t in grid]}
    return {
        "root": {
            "rule": "the spot of domain 1",
            "direction_known": True,
            "domain": "1",
            "sample": samples[0],
            "barcode": "<b>0-1",
            "end": {"domain": "10", "sample": samples[0], "barcode": "1-1"},
        },
        "n_neighbors": 15,
        "components": 1,
        "spots_without": 3,
        "median_pseudotime": {"1": 0.01, "2": 0.25, "10": None},
        "median_rank": {"1": 0.125, "2": 0.5, "10": None},
        "order_agreement": {
            "members": 11,
            "correlation": [0.75] * 11,
            "median_correlation": 0.75,
            "pairs": [{"first": "1", "then": "2", "share": 8 / 11}],
            "unsure": [{"first": "1", "then": "2", "share": 8 / 11}],
        },
        "paga": [{"one": "1", "other": "2", "connectivity": 0.5}, {"one": "2", "other": "10", "connectivity": 0.25}],
        "n_genes_fitted": 19,
        "n_changing": 7,
        "grid": grid,
        "genes": [
            {"gene": gene, "explained": 0.5, "correlation": 0.9 if gene == "G0" else -0.9, "error": 0.1}
            for gene in curves
        ],
        "curves": curves,
    }


def _enhancement() -> dict[str, Any]:
    estimates = ("raw", "normalised", "smoothed", "mean")
    return {
        "n_genes": 40,
        "n_judged": 38,
        "min_held_out": 50,
        "verdicts": {"better": 1, "worse": 1, "undecided": 36},
        "median_ratio": dict.fromkeys(estimates, 0.95),
        "most": [{"gene": GAINING, "gain": 0.5}],
        "least": [{"gene": LOSING, "gain": -0.25}],
    }


def write_cohort(
    folder: Path, *, sections: int = 12, side: int = 50, together: int = 2, domains: Sequence[str] = DOMAINS
) -> tuple[list[list[str]], list[str]]:
    """Write assembled sections with image, results and training log, in groups of ``together``.

    Returns
    -------
    Command lines of mmsrl-page, one per unit, and of mmsrl-report, for a report in ``folder / "report"``.
    """
    generator = np.random.default_rng(0)
    row, column = (index.ravel() for index in np.indices((side, side)))
    domain = np.array(domains)[column * len(domains) // side]
    units: dict[str, list[str]] = {}
    for number in range(sections):
        sample, unit = f"section-{number + 1}", f"donor-{number // together + 1}"
        units.setdefault(unit, []).append(sample)
        counts = generator.poisson(0.4, (side * side, 40)).astype(np.float32)
        smooth = np.add.outer(np.linspace(90, 220, 500), np.linspace(0, 30, 500))[..., None]
        image = np.clip(smooth + generator.normal(0, 12, (500, 500, 3)), 0, 255).astype(np.uint8)
        adata = ad.AnnData(
            sp.csr_matrix(counts),
            obs=pd.DataFrame(
                {
                    "total_counts": counts.sum(axis=1),
                    "n_genes_by_counts": (counts > 0).sum(axis=1),
                    "domain": pd.Categorical(domain, domains),
                },
                index=["".join(letters) + "-1" for letters in generator.choice(list("ACGT"), (side * side, 16))],
            ),
            var=pd.DataFrame(index=[f"G{index}" for index in range(40)]),
            obsm={"spatial": np.column_stack([column, row]) * 20.0 + 10},
            uns={
                "domain_colors": list(domain_colors(domains).values()),
                "spatial": {sample: {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 0.5}}},
                "mmsrl": {
                    "sample": sample,
                    "unit": unit,
                    "platform": "visium",
                    "lattice": "square",
                    "pitch_px": 20.0,
                    "pitch_um": 100.0,
                    "um_per_px": 5.0,
                    "spot_diameter_px": 11.0,
                    "species": "human",
                },
            },
        )
        path = folder / f"{sample}.mmsrl.h5ad"
        adata.write_h5ad(path)
        add_to_assembled(path)
    pages = folder / "report" / "sections"
    pages.mkdir(parents=True)
    lines, report = [], ["--output-dir", str(pages.parent)]
    for unit, samples in units.items():
        write_findings(folder, unit, tuple(samples))
        log = pd.DataFrame({"epoch": range(1, 16), "total": np.geomspace(3, 1, 15)})
        log.to_csv(folder / f"{unit}.training.tsv", sep="\t", index=False)
        line = ["--id", unit, "--output-dir", str(pages)]
        for sample in samples:
            line += ["--assembled", str(folder / f"{sample}.mmsrl.h5ad")]
            report += ["--card", str(pages / f"{sample}.card.json")]
        for stage in ("markers", "trajectory", "enhance"):
            line += ["--summaries", str(folder / f"{unit}.{stage}.json")]
            report += ["--summaries", str(folder / f"{unit}.{stage}.json")]
        for option, ending in {
            "training": "training.tsv",
            "evidence": "enhanced_genes.tsv",
            "enhanced": "enhanced.h5ad",
        }.items():
            line += [f"--{option}", str(folder / f"{unit}.{ending}")]
        lines.append(line)
    return lines, report
