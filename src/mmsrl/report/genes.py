"""What markers, trajectory and enhancement come to on the page of a sample: genes, rows and facts for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmsrl.report.content import show
from mmsrl.report.series import FLAT

SHOWN = 12
"""Genes named in a cell."""

MOST_GENES = 36
"""Genes that can be looked at on the tissue besides those asked for."""

BY_DOMAIN = 2
BY_GAIN = 6

ASKED, MARKERS, GAINS = "Asked for", "Markers of domains", "De-noising helps most"
"""Why a gene can be looked at on the tissue."""

ESTIMATES = {
    "raw": "raw counts",
    "normalised": "counts by library",
    "smoothed": "counts of the neighbourhood",
    "mean": "the gene's mean",
}


def listed_genes(
    wanted: Iterable[str], markers: Mapping[str, Any], enhancement: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Choose the genes that can be looked at on the tissue, each under the first reason that holds.

    Besides those asked for: of each domain the first two markers that are specific to it, or the first two where none
    is; and those for which de-noising gains most.

    Parameters
    ----------
    wanted
        Genes asked for.
    markers, enhancement
        Results of the stages for the unit; may be empty.
    """
    chosen: dict[str, list[str]] = {ASKED: list(dict.fromkeys(wanted)), MARKERS: [], GAINS: []}
    by_domain = markers.get("markers", {}).values()
    each = max(min(BY_DOMAIN, (MOST_GENES - BY_GAIN) // max(len(by_domain), 1)), 1)
    for rows in by_domain:
        chosen[MARKERS] += [row["gene"] for row in specific_first(rows)[:each]]
    chosen[GAINS] = [row["gene"] for row in enhancement.get("most", [])[:BY_GAIN]]
    seen: set[str] = set()
    for reason, genes in chosen.items():
        chosen[reason] = [gene for gene in dict.fromkeys(genes) if gene not in seen][:MOST_GENES]
        seen |= set(chosen[reason])
    return {reason: genes for reason, genes in chosen.items() if genes}


def specific_first(rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return markers of a domain, those specific to it before the others, each by significance, as they come."""
    return sorted(rows, key=lambda row: not row["specific"])


def marker_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row a domain: how many markers it has and the first of them; empty where the stage did not run."""
    return [
        {
            "domain": domain,
            "markers": result["n_markers"][domain],
            "specific": result["n_specific"][domain],
            "recovered": result.get("recovered", {}).get(domain),
            "genes": ", ".join(row["gene"] for row in specific_first(genes)[:SHOWN]) or "–",
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
    medians = {name: value for name, value in result["median_rank"].items() if value is not None}
    order = result["order_agreement"]
    rising = [row["gene"] for row in result["genes"] if row["correlation"] > 0]
    falling = [row["gene"] for row in result["genes"] if row["correlation"] <= 0]
    return {
        "rule": result["root"]["rule"],
        "domain": result["root"]["domain"],
        "end": result["root"]["end"]["domain"],
        "agreement": order
        and {
            "members": order["members"],
            "correlation": order["median_correlation"],
            "unsure": [
                f"{pair['share'] * order['members']:.0f} have domain {pair['first']} before domain {pair['then']}"
                for pair in order["unsure"][:SHOWN]
            ],
        },
        "order": [(name, medians[name]) for name in sorted(medians, key=lambda name: medians[name])],
        "edges": [(edge["one"], edge["other"], edge["connectivity"]) for edge in result["paga"]],
        "changing": result["n_changing"],
        "fitted": result["n_genes_fitted"],
        "rising": ", ".join(rising[:SHOWN]) or "–",
        "falling": ", ".join(falling[:SHOWN]) or "–",
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


def gene_words(denoised: Mapping[str, bool], judged: Mapping[str, tuple[float, str]]) -> dict[str, str]:
    """Say of each gene whether de-noising it helps.

    Parameters
    ----------
    denoised
        Whether there is de-noised expression of the gene.
    judged
        What de-noising gains over the better of two simpler estimates, as a share of the deviance of held-out
        molecules, and the verdict (:func:`mmsrl.report.series.judged_genes`), of the genes of which any were held out.
    """
    words = {}
    for gene, written in denoised.items():
        gain, verdict = judged.get(gene, (None, ""))
        if not written:
            words[gene] = f"{gene} was not de-noised here: it is not among the genes that were modelled and written."
        elif gain is None:
            words[gene] = f"No molecules of {gene} were held out to judge de-noising by."
        elif verdict == FLAT:
            words[gene] = (
                f"No pattern of {gene} is seen: its mean predicts molecules held out as well as its de-noised "
                "expression does."
            )
        else:
            verb = "saves" if gain > 0 else "does not help: it adds"
            words[gene] = (
                f"De-noising {gene} {verb} {abs(100 * gain):.1f} % of the deviance on molecules held out, compared "
                "with the better of counts by library and counts of the neighbourhood."
            )
    return words


def not_found(asked: Iterable[str], samples: Mapping[str, Sequence[str]]) -> list[str]:
    """Say which of the genes asked for which samples lack, a sentence a gene.

    Parameters
    ----------
    asked
        Genes asked for.
    samples
        Genes found, by sample.
    """
    lacking = {gene: [name for name, found in samples.items() if gene not in found] for gene in dict.fromkeys(asked)}
    return [
        f"gene {gene} is in no sample: none has a gene of this name left after quality control"
        if len(names) == len(samples)
        else f"gene {gene} is not in {', '.join(names)}"
        for gene, names in lacking.items()
        if names
    ]
