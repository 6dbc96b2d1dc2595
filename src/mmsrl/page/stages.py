"""Tables and facts on the page of a sample, from the results of each stage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmsrl._palette import natural_order
from mmsrl.page.matrix import Cell, Heading, Matrix, Row, domain_headings
from mmsrl.page.sample import METRICS
from mmsrl.page.words import brief, show

FILTERS = {
    "in_tissue": "outside the tissue",
    "min_counts": "counts below",
    "min_genes": "detected genes below",
    "max_pct_mt": "mitochondrial % above",
    "min_spots": "detected in fewer spots than",
}


SCORES = {
    "homogeneity": "Homogeneity",
    "completeness": "Completeness",
    "V": "V-measure",
    "purity": "Purity",
    "pseudotime_order": "Pseudotime order (labels)",
    "pseudotime_order_spots": "Pseudotime order (spots)",
}
"""Titles of scores whose name is not a title."""


def qc_filters(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per filter with its reason and the number of removed spots or genes.

    Parameters
    ----------
    result
        Result of ``<sample>.qc.json``, possibly empty.
    """
    rows = []
    for kind in ("spot", "gene"):
        for entry in result.get(f"{kind}_filters", []):
            value = entry.get("threshold", entry.get("value"))
            words = FILTERS.get(entry["filter"], str(entry["filter"]).replace("_", " "))
            bare = entry["filter"] == "in_tissue" or value is None
            reason = words if bare else f"{words} {show(value)}"
            if entry["filter"] == "nmads":
                side = "above" if entry.get("side") == "above" else "below"
                metric = METRICS.get(entry["metric"], str(entry["metric"]).replace("_", " "))
                reason = f"{metric} {side} {show(value)} ({show(entry['value'])} median absolute deviations)"
            rows.append({"what": f"{kind}s", "reason": reason, "removed": entry["removed"]})
    if result.get("spots_without_counts_in_kept_genes"):
        removed = result["spots_without_counts_in_kept_genes"]
        rows.append({"what": "spots", "reason": "no counts in the remaining genes", "removed": removed})
    return rows


def qc_quantiles(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return median and 5-95 % range of each metric that varies, before and after the filters."""
    levels = result.get("quantile_levels", [])
    rows = []
    for metric, title in METRICS.items():
        pair = [result.get(f"quantiles_{when}", {}).get(metric) for when in ("before", "after")]
        if None in pair or pair[0][0] == pair[0][-1]:
            continue
        low, middle, high = (levels.index(level) for level in (0.05, 0.5, 0.95))
        rows.append(
            {
                "title": title,
                "cells": [(brief(values[middle]), f"{brief(values[low])} – {brief(values[high])}") for values in pair],
            }
        )
    return rows


def image_facts(result: Mapping[str, Any]) -> dict[str, str]:
    """Return image, resolution and descriptor; empty if no image was used."""
    image = result.get("image")
    if not image or not result.get("descriptor"):
        return {}
    predicted = result.get("expression")
    tiles = {tile["pitches"]: tile for tile in result["tiles"]}
    return {
        "Image": f"{image['name']}, {show(image['width'])} × {show(image['height'])} px",
        "Resolution": f"{brief(result['px_per_pitch'])} px per spot distance",
        "Tile widths": ", ".join(f"{show(tile['pitches'])}" for tile in tiles.values()) + " spot distances",
        "Descriptor": f"{result['descriptor'].replace('+', ' + ')}, {show(result['columns'])} columns",
        "Background": result["stain"]["background"],
        "Components kept": f"{show(result['components'])}, {100 * result['explained_variance']:.0f} % of variance",
        "Spots outside the image": show(result["spots_outside"]),
        "Expression predicted": f"{_percent(max(predicted['r2'], 0))} of the variance of the first "
        f"{predicted['components']} components, in held-out tissue"
        if predicted
        else "not known",
    }


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f} %"


def train_facts(result: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return facts on the training; empty without a summary."""
    shown = {
        "Preset": parameters.get("preset"),
        "Random seed": parameters.get("seed"),
        "Epochs": result.get("epochs") or None,
        "Genes modelled": result.get("n_genes"),
        "Image components": result.get("n_image_features"),
        "Weight of the image": _percent((result.get("image") or {}).get("mean_weight")),
        "Model parameters": result.get("n_weights") or None,
        "Graph edges per spot": brief(result.get("graph_entries_per_spot")),
        "Device": result.get("device"),
        "Run time (s)": brief(result.get("seconds")),
        "Section mixing (iLISI)": brief(result.get("section_mixing", {}).get("ilisi")),
    }
    return {title: show(value) for title, value in shown.items() if value not in (None, "–")}


def confusion_matrix(facts: Mapping[str, Any], colors: Mapping[str, str], sample: str) -> Matrix | None:
    """Return the number of spots by domain and label, shaded by the share of the domain.

    Parameters
    ----------
    facts
        Part of ``<unit>.evaluate.json`` that belongs to the sample; empty without labels.
    colors
        Colour of each domain.
    sample
        Name of the sample.
    """
    if not facts:
        return None
    rows = [
        Row(
            Heading(domain, colors.get(domain)),
            [Cell(show(count), count / max(sum(counts), 1)) for count in counts],
            show(facts["matched"].get(domain)),
        )
        for domain, counts in zip(facts["domains"], facts["confusion"], strict=True)
    ]
    labels = [Heading(str(label)) for label in facts.get("labels", [])]
    return Matrix(f"Spots by domain and label in {sample}", "Domain", labels, rows, "Matched label")


def choice_points(result: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[float]] | None:
    """Return the candidate numbers of domains and their stability; ``None`` if the number was given."""
    chosen = result.get("chosen")
    if not chosen or len(chosen["curve"]) < 2:
        return None
    return [point["n_domains"] for point in chosen["curve"]], [point["stability"] for point in chosen["curve"]]


def covariate_facts(result: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, str]:
    """Return the association of domains and components with depth, and of domains with sections.

    Parameters
    ----------
    result, train
        Results of ``<unit>.domains.json`` and ``<unit>.train.json``, possibly empty.
    """
    correlations = {
        name: max((abs(value) for value in part["depth_correlation"]), default=0.0)
        for name, part in train.items()
        if isinstance(part, Mapping) and "depth_correlation" in part
    }
    shown = {
        "Variance of log depth explained by domains": _percent(result.get("depth_explained")),
        "Largest correlation of a component with log depth": ", ".join(
            f"{value:.2f} ({name})" for name, value in correlations.items()
        )
        or None,
        "Cramér’s V of domain and section": brief(result.get("section_association")),
    }
    return {title: show(value) for title, value in shown.items() if value not in (None, "–")}


def reference_shares(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the share of spots in each domain of a reference, and of spots unlike every domain.

    Parameters
    ----------
    result
        Result of ``<sample>.map.json``. If it is empty, the function returns ``None``.
    """
    if not result:
        return None
    n_spots = max(sum(result["domains"].values()) + result["unlike"], 1)
    rows = [(name, result["domains"][name]) for name in natural_order(result["domains"])]
    return {
        **{name: result[name] for name in ("reference", "n_genes", "genes_of_model", "median_confidence")},
        "rows": [{"label": name, "n": n, "share": n / n_spots} for name, n in rows],
        "unlike": {"n": result["unlike"], "share": result["unlike"] / n_spots},
    }


def section_matrix(result: Mapping[str, Any], colors: Mapping[str, str], unit: str) -> Matrix | None:
    """Return the share of spots in each domain by section; ``None`` for a single section."""
    spots = result.get("spots", {})
    if len(spots) < 2:
        return None
    rows = []
    for section, counts in spots.items():
        shares = [counts.get(domain, 0) / max(sum(counts.values()), 1) for domain in colors]
        rows.append(Row(Heading(section), [Cell(f"{100 * share:.1f} %", share) for share in shares]))
    return Matrix(f"Share of each domain by section of {unit}", "Section", domain_headings(colors), rows)
