"""Planted results of the comparison of conditions, for tests of the report."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

SEVEN = ("1", "2", "3", "4", "5", "6", "10")


GROWN, DIFFERENT, UNTESTED = "3", "5", "10"
"""Domains that one condition has more of, whose genes differ, and that is too small for tests."""


RESPONDING = ("Gfap", "C4b", "Serpina3n", "Vim", "Cd74", "Lyz2", "H2-Aa", "Apoe", "Plp1", "Mbp", "Pcp4", "Nrgn")


Study = dict[str, dict[str, Any]]
"""``unit``, ``condition``, ``donor`` and ``covariates`` by section."""


def sections_of_study(
    samples: Sequence[str], conditions: Sequence[str], *, unit: str = "mice", donors: int = 0, sexes: bool = True
) -> Study:
    """Assign equal numbers of sections to the conditions; with donors, each has one section per condition."""
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
    """Write the output of ``mmsrl-compare``, with planted differences in the last condition.

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
    """Draw shares, (sections, domains), around 0.3, 0.2, ...; one domain is doubled in a condition."""
    usual = np.append(0.75 ** np.arange(len(domains) - 1), 0.01)
    weights = usual * generator.lognormal(0, 0.12, (len(sections), len(domains)))
    shares = pd.DataFrame(weights, index=list(sections), columns=list(domains))
    shares.loc[[name for name, section in sections.items() if section["condition"] == grown], GROWN] *= 2
    return shares.div(shares.sum(axis=1), axis=0)


def _share_test(shares: pd.DataFrame, sections: Study, domain: str, condition: str, control: str) -> dict[str, Any]:
    """Compare logits of shares by a t-test; values of the untested domain are missing."""
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
    """Draw fold changes around 1; a dozen genes of one domain have large ones in the last condition."""
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
    """Match domains of all units after the first in another order; the last domain has no counterpart."""
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
