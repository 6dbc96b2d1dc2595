"""What each stage's result comes to on the page of a sample: tables and facts with words for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmsrl._palette import natural_order
from mmsrl.page.sample import METRICS
from mmsrl.page.words import brief, show

FILTERS = {
    "in_tissue": "outside tissue",
    "min_counts": "fewer counts than",
    "min_genes": "fewer genes than",
    "max_pct_mt": "mitochondrial % above",
    "min_spots": "detected in fewer spots than",
}


SCORES = {
    "homogeneity": "Homogeneity",
    "completeness": "Completeness",
    "V": "V-measure",
    "purity": "Purity",
    "pseudotime_order": "Order of pseudotime (labels)",
    "pseudotime_order_spots": "Order of pseudotime (spots)",
}
"""Titles of scores that are not their names."""


def qc_filters(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a filter: of what it removed how much, and why.

    Parameters
    ----------
    result
        Of ``<sample>.qc.json``; may be empty.
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
        rows.append({"what": "spots", "reason": "no counts in the genes that are left", "removed": removed})
    return rows


def qc_quantiles(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return median and 5-95 % range of every metric before and after the filters; metrics that vary only."""
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
    """Return which image was described at what resolution and how; empty where none was."""
    image = result.get("image")
    if not image or not result.get("descriptor"):
        return {}
    predicted = result.get("expression")
    tiles = {tile["pitches"]: tile for tile in result["tiles"]}
    return {
        "Image": f"{image['name']}, {show(image['width'])} × {show(image['height'])} px",
        "Resolution": f"{brief(result['px_per_pitch'])} px from spot to spot",
        "Tiles around a spot": ", ".join(f"{show(tile['pitches'])}" for tile in tiles.values()) + " spot pitches",
        "Descriptor": f"{result['descriptor'].replace('+', ' + ')}, {show(result['columns'])} columns",
        "Background": result["stain"]["background"],
        "Components kept": f"{show(result['components'])}, {100 * result['explained_variance']:.0f} % of variance",
        "Spots outside the image": show(result["spots_outside"]),
        "Expression predicted": f"{_percent(max(predicted['r2'], 0))} of its first {predicted['components']} "
        "components, in tissue held out"
        if predicted
        else "not known",
    }


def _percent(share: float | None) -> str | None:
    return None if share is None else f"{100 * share:.0f} %"


def train_facts(result: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, str]:
    """Return what was trained and how long it took; empty where there is no summary."""
    shown = {
        "Preset": parameters.get("preset"),
        "Seed": parameters.get("seed"),
        "Epochs": result.get("epochs") or None,
        "Genes modelled": result.get("n_genes"),
        "Image components": result.get("n_image_features"),
        "Weight of the image": _percent((result.get("image") or {}).get("mean_weight")),
        "Weights of the model": result.get("n_weights") or None,
        "Graph entries a spot": brief(result.get("graph_entries_per_spot")),
        "Device": result.get("device"),
        "Seconds": brief(result.get("seconds")),
        "Sections around a spot (iLISI)": brief(result.get("section_mixing", {}).get("ilisi")),
    }
    return {title: show(value) for title, value in shown.items() if value not in (None, "–")}


def confusion_rows(facts: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return the confusion table by domain: spots with each label, and how dark to draw the cell.

    Parameters
    ----------
    facts
        One sample's part of ``<unit>.evaluate.json``; ``None`` where it has no labels.
    """
    if not facts:
        return []
    return [
        {
            "domain": domain,
            "matched": facts["matched"].get(domain),
            "cells": [{"n": count, "share": count / max(sum(counts), 1)} for count in counts],
        }
        for domain, counts in zip(facts["domains"], facts["confusion"], strict=True)
    ]


def choice_points(result: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[float]] | None:
    """Return numbers of domains and how stable each is, where the number was chosen by the pipeline."""
    chosen = result.get("chosen")
    if not chosen or len(chosen["curve"]) < 2:
        return None
    return [point["n_domains"] for point in chosen["curve"]], [point["stability"] for point in chosen["curve"]]


def covariate_facts(result: Mapping[str, Any], train: Mapping[str, Any]) -> dict[str, str]:
    """Return how far domains and components follow depth, and domains the sections.

    Parameters
    ----------
    result, train
        Of ``<unit>.domains.json`` and ``<unit>.train.json``; may be empty.
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
    """Return the shares of a section's spots in the domains of a reference, and of those like none of them.

    Parameters
    ----------
    result
        Of ``<sample>.map.json``; ``None`` is returned where it is empty.
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


def section_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row a section with the share of its spots in every domain; empty where there is one section."""
    spots = result.get("spots", {})
    if len(spots) < 2:
        return []
    return [
        {"section": name, "shares": {domain: n / max(sum(row.values()), 1) for domain, n in row.items()}}
        for name, row in spots.items()
    ]
