"""Custom content for MultiQC, which MultiQC finds by its file names without configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mmsrl._palette import PALETTE
from mmsrl.page.card import Card
from mmsrl.page.sample import METRICS
from mmsrl.report.content import STUDY, RunOutputs, package_versions

PARENT = {
    "parent_id": "mmsrl",
    "parent_name": "mmsrl",
    "parent_description": "Spatial domains from gene expression, histology and location.",
}
"""MultiQC module that contains all sections of the report."""

_COLUMNS: dict[str, tuple[str, dict[str, Any], Callable[[Mapping[str, Any]], Any]]] = {
    "spots": (
        "Spots that passed quality control",
        {"title": "Spots", "format": "{:,.0f}", "scale": "Blues", "min": 0},
        lambda facts: facts["qc"].get("n_spots"),
    ),
    "genes": (
        "Genes that passed quality control",
        {"title": "Genes", "format": "{:,.0f}", "scale": "Blues", "min": 0},
        lambda facts: facts["qc"].get("n_genes"),
    ),
    "median_counts": (
        "Median counts (UMIs) per spot",
        {"title": "Counts", "format": "{:,.0f}", "scale": "Greens", "min": 0},
        lambda facts: _median(facts["qc"], "total_counts"),
    ),
    "median_genes": (
        "Median number of detected genes per spot",
        {"title": "Genes per spot", "format": "{:,.0f}", "scale": "Greens", "min": 0},
        lambda facts: _median(facts["qc"], "n_genes_by_counts"),
    ),
    "median_mt": (
        "Median percentage of mitochondrial counts",
        {"title": "MT", "suffix": " %", "format": "{:,.1f}", "scale": "Oranges", "min": 0, "max": 100},
        lambda facts: _median(facts["qc"], "pct_counts_mt") if facts["qc"].get("genes_in_sets", {}).get("mt") else None,
    ),
    "image_r2": (
        "Share of variance of the first expression components that the image predicts in held-out tissue",
        {"title": "Image R²", "format": "{:,.2f}", "scale": "Purples", "max": 1},
        lambda facts: (facts["features"].get("expression") or {}).get("r2"),
    ),
    "domains": (
        "Spatial domains in the section",
        {"title": "Domains", "format": "{:,.0f}", "scale": False},
        lambda facts: facts["domains"],
    ),
    "confidence": (
        "Median confidence of the domain per spot, 0 to 1",
        {"title": "Confidence", "format": "{:,.2f}", "scale": "RdYlGn", "min": 0, "max": 1},
        lambda facts: facts["confidence"],
    ),
    "ARI": (
        "Adjusted Rand index of the domains and the labels of the samplesheet",
        {"title": "ARI", "format": "{:,.2f}", "scale": "RdYlGn", "max": 1},
        lambda facts: facts["scores"].get("ARI"),
    ),
}
"""Columns of the general statistics: description, MultiQC format, and function that returns the value."""


def multiqc_files(outputs: RunOutputs, cards: Sequence[Card]) -> dict[str, dict[str, Any]]:
    """Return the content of the non-empty files ``*_mqc.json`` by file name.

    Parameters
    ----------
    outputs
        Outputs of the run.
    cards
        Cards in the order of the report.
    """
    contents = {
        "mmsrl_general": _general(outputs, cards),
        "mmsrl_spots": _spots(cards),
        "mmsrl_domains": _domains(cards),
        "mmsrl_scores": _scores(cards),
        "mmsrl_composition": _composition(outputs),
    }
    return {f"{name}_mqc.json": {"id": name, **content} for name, content in contents.items() if content["data"]}


def multiqc_versions(outputs: RunOutputs) -> dict[str, dict[str, str]]:
    """Return the content of ``mmsrl_mqc_versions.yml``, the package versions for MultiQC's software table."""
    return {"mmsrl": package_versions(outputs.versions)}


def _general(outputs: RunOutputs, cards: Sequence[Card]) -> dict[str, Any]:
    data = {}
    for card in cards:
        facts = {
            "qc": outputs.result("qc", card.sample, card.unit),
            "features": outputs.result("features", card.sample, card.unit),
            "domains": sum(n > 0 for n in card.domains.values()),
            "confidence": card.medians.get(METRICS["domain_confidence"]),
            "scores": card.scores,
        }
        row = {name: value_of(facts) for name, (_, _, value_of) in _COLUMNS.items()}
        data[card.sample] = {name: value for name, value in row.items() if value is not None}
    headers = [{name: {"description": words, **shown}} for name, (words, shown, _) in _COLUMNS.items()]
    return {"plot_type": "generalstats", "pconfig": headers, "data": data}


def _spots(cards: Sequence[Card]) -> dict[str, Any]:
    data = {}
    for card in cards:
        if card.n_spots_before is not None:
            data[card.sample] = {"kept": card.n_spots, "removed": card.n_spots_before - card.n_spots}
    return {
        **PARENT,
        "section_name": "Quality control",
        "description": "Spots that passed the filters, and spots that were removed.",
        "plot_type": "bargraph",
        "pconfig": {"id": "mmsrl_spots_plot", "title": "mmsrl: spots", "ylab": "Spots"},
        "categories": {
            "kept": {"name": "Kept", "color": PALETTE[0]},
            "removed": {"name": "Removed", "color": PALETTE[5]},
        },
        "data": data,
    }


def _domains(cards: Sequence[Card]) -> dict[str, Any]:
    colors = {label: card.colors[label] for card in cards for label in card.domains}
    return {
        **PARENT,
        "section_name": "Spatial domains",
        "description": "Spots of each domain. Within a group, the same number is the same domain. Numbers of different "
        "groups are unrelated.",
        "plot_type": "bargraph",
        "pconfig": {"id": "mmsrl_domains_plot", "title": "mmsrl: spatial domains", "ylab": "Spots"},
        "categories": {label: {"name": f"Domain {label}", "color": color} for label, color in colors.items()},
        "data": {card.sample: {label: n for label, n in card.domains.items() if n} for card in cards},
    }


def _scores(cards: Sequence[Card]) -> dict[str, Any]:
    data = {card.sample: card.scores for card in cards}
    metrics = dict.fromkeys(metric for scores in data.values() for metric in scores)
    return {
        **PARENT,
        "section_name": "Agreement with labels",
        "description": "Scores of the domains of sections with labels in the samplesheet.",
        "plot_type": "table",
        "pconfig": {"id": "mmsrl_scores_table", "title": "mmsrl: scores"},
        "headers": {metric: {"title": metric, "format": "{:,.3f}", "scale": False} for metric in metrics},
        "data": {name: scores for name, scores in data.items() if scores},
    }


def _composition(outputs: RunOutputs) -> dict[str, Any]:
    result = outputs.summaries.get(("compare", STUDY), {}).get("result", {})
    control = result.get("control")
    shown = {
        "share_condition": {"title": "Share", "description": "Mean over the replicates of the condition"},
        "share_control": {"title": "Share in control", "description": f"Mean over the replicates of {control}"},
        "odds_ratio": {"title": "Odds ratio"},
        "low": {"title": "at least", "description": "Lower end of the 95 % confidence interval of the odds ratio"},
        "high": {"title": "at most", "description": "Upper end of the 95 % confidence interval of the odds ratio"},
        "p_adjusted": {"title": "Adjusted p", "format": "{:,.2g}"},
    }
    return {
        **PARENT,
        "section_name": "Composition by condition",
        "description": f"Shares of domains compared with {control}. Replicates are {result.get('replicate')}s.",
        "plot_type": "table",
        "pconfig": {
            "id": "mmsrl_composition_table",
            "title": "mmsrl: composition by condition",
            "col1_header": "Domain",
        },
        "headers": {name: {"format": "{:,.3f}", "scale": False, **words} for name, words in shown.items()},
        "data": {
            f"Domain {row['domain']}, {row['condition']}": {name: row[name] for name in shown if row[name] is not None}
            for row in result.get("composition", [])
        },
    }


def _median(result: Mapping[str, Any], metric: str) -> float | None:
    """Return the median of a quality metric after filtering, from the summary of ``qc``."""
    values = result.get("quantiles_after", {}).get(metric)
    return None if values is None else float(values[result["quantile_levels"].index(0.5)])
