"""What markers, trajectory, enhancement and comparison leave behind, planted: for tests of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy import stats

from mmsrl._palette import domain_colors

DOMAINS = ("1", "2", "10")
GAINING, LOSING, SPARSE, UNHEARD = "G3", "G5", "G9", "G7"
"""Genes that de-noising is better and worse for, of which few molecules were held out, and none; all others: undecided.
"""


def add_to_assembled(path: Path) -> None:
    """Give an assembled sample pseudotime along x, a layout and confidence; G0 follows x."""
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
    """Write de-noised expression of the assembled samples, last sample first: of two genes, one more than x."""
    parts = []
    for sample in reversed(samples):
        adata = ad.read_h5ad(folder / f"{sample}.mmsrl.h5ad")
        obs = pd.DataFrame({"sample": sample, "barcode": adata.obs_names}, index=adata.obs_names + f"-{sample}")
        values = np.tile(1 + _along(adata)[:, None], 2).astype(np.float32)
        parts.append(ad.AnnData(values, obs=obs, var=pd.DataFrame(index=[GAINING, LOSING])))
    ad.concat(parts).write_h5ad(folder / f"{unit}.enhanced.h5ad")


def add_biology(folder: Path) -> None:
    """Give the pair of a small run markers, trajectory and enhancement; the section on its own gets none."""
    for sample in ("S1", "S2"):
        add_to_assembled(folder / f"{sample}.mmsrl.h5ad")
    write_findings(folder, "pair", ("S1", "S2"))


def write_findings(folder: Path, unit: str, samples: tuple[str, ...], *, seed: int = 0) -> None:
    """Write the summaries of markers, trajectory and enhance, and what de-noising comes to, of an assembled unit."""
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
    table.loc[[SPARSE, UNHEARD], "held_out"] = [49, 0]
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
    """Write so many assembled sections with image, findings and training log; two by two they are groups.

    Returns
    -------
    Command lines of mmsrl-page, one a unit, and that of mmsrl-report, for a report in ``folder / "report"``.
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


SEVEN = ("1", "2", "3", "4", "5", "6", "10")
GROWN, DIFFERENT, UNTESTED = "3", "5", "10"
"""Domains of a study: of which one condition has more, in which its genes differ, and that is too small for tests."""

RESPONDING = ("Gfap", "C4b", "Serpina3n", "Vim", "Cd74", "Lyz2", "H2-Aa", "Apoe", "Plp1", "Mbp", "Pcp4", "Nrgn")

Study = dict[str, dict[str, Any]]
"""``unit``, ``condition``, ``donor`` and ``covariates`` by section."""


def sections_of_study(
    samples: Sequence[str], conditions: Sequence[str], *, unit: str = "mice", donors: int = 0, sexes: bool = True
) -> Study:
    """Give sections to conditions in equal parts; with donors, each has a section in every condition."""
    each = len(samples) // len(conditions)
    return {
        sample: {
            "unit": unit,
            "condition": conditions[min(index // each, len(conditions) - 1)],
            "donor": f"mouse-{index % donors + 1}" if donors else None,
            "covariates": {"sex": "fm"[index % 2]} if sexes else {},
        }
        for index, sample in enumerate(samples)
    }


def write_study(
    folder: Path, sections: Study, *, domains: Sequence[str] = SEVEN, genes: int = 300, seed: int = 0
) -> list[str]:
    """Write what ``mmsrl-compare`` leaves of a study, with planted differences in the last condition.

    The last section has few counts. The last domain is not tested, and one gene has no p-value.

    Returns
    -------
    Arguments of mmsrl-report.
    """
    generator = np.random.default_rng(seed)
    conditions = list(dict.fromkeys(section["condition"] for section in sections.values()))
    donors = any(section["donor"] for section in sections.values())
    shares = _shares(sections, domains, conditions[-1], generator)
    pairs = [(domain, condition) for condition in conditions[1:] for domain in domains]
    composition = [_share_test(shares, sections, *pair, conditions[0]) for pair in pairs]
    for condition in conditions[1:]:
        own = [row for row in composition if row["condition"] == condition and row["p_value"] is not None]
        adjusted = stats.false_discovery_control([row["p_value"] for row in own])
        for row, value in zip(own, adjusted, strict=True):
            row["p_adjusted"] = float(value)
    tables = {pair: _gene_test(*pair, conditions, genes, generator) for pair in pairs if pair[0] != UNTESTED}
    outlier = list(sections)[-1]
    spots = {sample: int(generator.integers(2600, 3900)) for sample in sections}
    covariates = sorted({name for section in sections.values() for name in section["covariates"]})
    result = {
        "conditions": conditions,
        "control": conditions[0],
        "replicate": "donor" if donors else "section",
        "paired": donors,
        "covariates": covariates,
        "model": "~ " + " + ".join([*(["donor"] if donors else []), *covariates, "condition"]),
        "domains": list(domains),
        "domains_of": next(iter(sections.values()))["unit"],
        "sections": [
            {
                "sample": sample,
                **section,
                "n_spots": spots[sample],
                "shares": shares.loc[sample].to_dict(),
                "outlier": ["Median counts", "Median genes"] if sample == outlier else [],
            }
            for sample, section in sections.items()
        ],
        "quality": _quality_of_study(spots, outlier, generator),
        "composition": composition,
        "expression": [_genes_found(*pair, composition, tables.get(pair)) for pair in pairs],
        "matches": _matches_of_study(sections, domains, generator),
    }
    text = f"section {outlier} is an outlier: median counts 1.31e+03, median of all <6.2e+03>"
    messages = [{"level": "warning", "text": text}, {"level": "info", "text": "no gene sets were tested in domain 10"}]
    parameters = {"control": conditions[0], "gene_sets": None}
    content = {"stage": "compare", "id": "study", "parameters": parameters, "messages": messages, "result": result}
    (folder / "study.compare.json").write_text(json.dumps(content))
    written = {"composition": pd.DataFrame(composition), "expression": pd.concat(tables.values())}
    written["gene_sets"] = _sets_of_study(tables)
    arguments = ["--summaries", str(folder / "study.compare.json")]
    for name, table in written.items():
        path = folder / f"study.{name}.tsv"
        table.to_csv(path, sep="\t", index=False)
        arguments += ["--comparison", str(path)]
    return arguments


def _shares(sections: Study, domains: Sequence[str], grown: str, generator: np.random.Generator) -> pd.DataFrame:
    """Draw shares (sections, domains) around 0.3, 0.2, ... with noise; twice as much of one domain in a condition."""
    usual = np.append(0.75 ** np.arange(len(domains) - 1), 0.01)
    weights = usual * generator.lognormal(0, 0.12, (len(sections), len(domains)))
    shares = pd.DataFrame(weights, index=list(sections), columns=list(domains))
    shares.loc[[name for name, section in sections.items() if section["condition"] == grown], GROWN] *= 2
    return shares.div(shares.sum(axis=1), axis=0)


def _share_test(shares: pd.DataFrame, sections: Study, domain: str, condition: str, control: str) -> dict[str, Any]:
    """Compare logits of shares by a t-test; numbers of the untested domain are missing."""
    one, other = (
        shares.loc[[name for name, section in sections.items() if section["condition"] == arm], domain]
        for arm in (condition, control)
    )
    row: dict[str, Any] = {"domain": domain, "condition": condition, "control": control}
    row |= {"n_condition": len(one), "n_control": len(other)}
    row |= {"share_condition": float(one.mean()), "share_control": float(other.mean())}
    if domain == UNTESTED:
        return row | dict.fromkeys(("odds_ratio", "low", "high", "p_value", "p_adjusted"))
    test = stats.ttest_ind(np.log(one / (1 - one)), np.log(other / (1 - other)))
    interval = test.confidence_interval()
    middle = (interval.low + interval.high) / 2
    ratios = (float(np.exp(value)) for value in (middle, interval.low, interval.high))
    return row | dict(zip(("odds_ratio", "low", "high"), ratios, strict=True)) | {"p_value": float(test.pvalue)}


def _gene_test(
    domain: str, condition: str, conditions: Sequence[str], n_genes: int, generator: np.random.Generator
) -> pd.DataFrame:
    """Draw fold changes around none; those of a dozen genes of one domain are large in the last condition."""
    names = [*RESPONDING, *(f"Gm{10000 + index}" for index in range(n_genes - len(RESPONDING)))]
    mean = np.round(generator.lognormal(4, 1.3, n_genes), 2)
    error = 0.12 + 1.5 / np.sqrt(mean)
    change = generator.normal(0, error)
    if (domain, condition) == (DIFFERENT, conditions[-1]):
        change[: len(RESPONDING)] = np.repeat([1.0, -1.0], [8, 4]) * np.linspace(5.5, 9, len(RESPONDING)) * error[:12]
    p = 2 * stats.norm.sf(np.abs(change) / error)
    table = pd.DataFrame({"domain": domain, "condition": condition, "control": conditions[0], "gene": names})
    table = table.assign(mean=mean, log2_fold_change=change, low=change - 1.96 * error, high=change + 1.96 * error)
    table = table.assign(p_value=p, p_adjusted=stats.false_discovery_control(p)).sort_values("p_value")
    table.iloc[-1, [table.columns.get_loc("p_value"), table.columns.get_loc("p_adjusted")]] = np.nan
    return table


def _genes_found(
    domain: str, condition: str, composition: Sequence[Mapping[str, Any]], table: pd.DataFrame | None
) -> dict[str, Any]:
    of_pair = next(row for row in composition if (row["domain"], row["condition"]) == (domain, condition))
    row = {name: of_pair[name] for name in ("domain", "condition", "n_condition", "n_control")}
    if table is None:
        why = f"1 of the replicates of {condition} has enough, 2 are needed (<10 spots)"
        return row | {"n_condition": 0, "n_control": 0, "n_tested": 0, "n_up": 0, "n_down": 0, "top": [], "why": why}
    found = table[table["p_adjusted"] < 0.05]
    up = int((found["log2_fold_change"] > 0).sum())
    counts = {"n_tested": int(table["p_value"].notna().sum()), "n_up": up, "n_down": len(found) - up}
    return row | counts | {"top": found["gene"].tolist()[:10], "why": None}


def _quality_of_study(
    spots: Mapping[str, int], outlier: str, generator: np.random.Generator
) -> dict[str, dict[str, float | None]]:
    def around(middle: float, least: float) -> dict[str, float | None]:
        return {
            name: least if name == outlier else round(float(middle * generator.normal(1, 0.07)), 1) for name in spots
        }

    return {
        "Spots": dict(spots),
        "Median counts": around(6200, 1310.0),
        "Median genes": around(2700, 905.0),
        "Median mitochondrial %": around(8, 9.5) | {next(iter(spots)): None},
    }


def _matches_of_study(sections: Study, domains: Sequence[str], generator: np.random.Generator) -> list[dict[str, Any]]:
    """Pair domains of all units but the first in another order; the last one has no counterpart."""
    units = list(dict.fromkeys(section["unit"] for section in sections.values()))[1:]
    return [
        {
            "unit": unit,
            "domain": str(number),
            "matched": None if number == len(domains) else matched,
            "similarity": round(float(generator.uniform(0.8, 0.99)), 3),
            "certainty": None if number == len(domains) else round(float(generator.uniform(0.6, 1)), 3),
        }
        for unit in units
        for number, matched in enumerate(generator.permutation(list(domains)), start=1)
    ]


def _sets_of_study(tables: Mapping[tuple[str, str], pd.DataFrame]) -> pd.DataFrame:
    rows = [
        {
            "domain": domain,
            "condition": condition,
            "direction": direction,
            "gene_set": gene_set,
            "n_set": 40,
            "n_both": both,
            "correlation": 0.05,
            "p_value": p,
            "p_adjusted": min(2 * p, 1.0),
            "genes": ",".join(RESPONDING[:both]),
        }
        for domain, condition in tables
        for direction, gene_set, both, p in (
            ("up", "HALLMARK_INTERFERON_GAMMA_RESPONSE", 5, 1e-4),
            ("down", "<myelination>", 2, 0.01),
            ("down", "HALLMARK_HYPOXIA", 0, 0.8),
        )
    ]
    return pd.DataFrame(rows)
