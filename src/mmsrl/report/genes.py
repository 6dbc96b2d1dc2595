"""What markers, trajectory and enhancement come to on the page of a sample: rows and facts with words for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmsrl.report.content import show

SHOWN = 12
"""Genes named in a cell."""

ESTIMATES = {
    "raw": "raw counts",
    "normalised": "counts by library",
    "smoothed": "counts of the neighbourhood",
    "mean": "the gene's mean",
}


def marker_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a domain: how many markers it has and the first of them; empty where the stage did not run."""
    return [
        {
            "domain": domain,
            "markers": result["n_markers"][domain],
            "specific": result["n_specific"][domain],
            "recovered": result.get("recovered", {}).get(domain),
            "genes": ", ".join(row["gene"] for row in genes[:SHOWN]) or "–",
        }
        for domain, genes in result.get("markers", {}).items()
    ]


def spatial_genes(result: Mapping[str, Any], sample: str) -> str:
    """Return the genes of a sample that follow the tissue most, with Moran's I."""
    rows = result.get("spatial", {}).get(sample, [])
    return ", ".join(f"{row['gene']} ({show(row['morans_i'])})" for row in rows[:SHOWN])


def trajectory_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return root, order of the domains, connections and the genes that change most; empty if the stage did not run."""
    if not result:
        return {}
    medians = {name: value for name, value in result["median_pseudotime"].items() if value is not None}
    genes = result["genes"][:SHOWN]
    return {
        "rule": result["root"]["rule"],
        "domain": result["root"]["domain"],
        "order": [(name, medians[name]) for name in sorted(medians, key=lambda name: medians[name])],
        "edges": [(edge["one"], edge["other"], edge["connectivity"]) for edge in result["paga"]],
        "changing": result["n_changing"],
        "tested": result["n_genes_tested"],
        "rising": ", ".join(row["gene"] for row in genes if row["correlation"] > 0) or "–",
        "falling": ", ".join(row["gene"] for row in genes if row["correlation"] <= 0) or "–",
        "without": result["spots_without"],
    }


def enhancement_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row an estimate that enhanced expression was compared with; empty where the stage did not run."""
    return [
        {
            "estimate": words,
            "better": f"{100 * result['better_than'][name]:.0f} %",
            "ratio": result["median_ratio"][name],
        }
        for name, words in ESTIMATES.items()
        if result
    ]
