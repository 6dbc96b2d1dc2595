"""What markers, trajectory and enhancement come to on the page of a sample: genes, rows and facts for people."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmsrl import _keys
from mmsrl.enhance.verdict import BETTER, UNDECIDED, WORSE
from mmsrl.page.series import FEW
from mmsrl.page.words import brief, show

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


def marker_note(result: Mapping[str, Any]) -> str:
    """Say how markers were found, what was corrected for, and what makes a gene one; empty where there are none."""
    if not result.get("markers"):
        return ""
    allowed = {"library": "the library of each spot", "section": "the level of each section"}
    corrected = " and ".join(allowed[name] for name in result.get("corrected_for", []))
    specific = (
        "A specific marker also has 1.4 times as many as the domain that has most after it; these are named first."
    )
    if result.get("expression") == _keys.NORMALISED:
        return (
            "Expression was normalised before, so that nothing could be held out and genes have no p-value. A marker "
            "is 0.5 standard deviations higher than elsewhere in its section by the lower end of its 95 % interval, "
            "which is told from blocks of the tissue and does not allow for how domains were found. A specific marker "
            "is also 0.5 standard deviations above the domain that has most after it; these are named first."
        )
    if not result.get("found_anew"):
        return (
            "These domains were found in the same counts, so that genes have no p-value. A marker has, allowing for "
            f"{corrected}, 1.4 times as many molecules as elsewhere (log2 of 0.5) by the lower end of its 95 % "
            f"interval, which does not allow for how domains were found. {specific}"
        )
    return (
        "Domains were found anew in half of the molecules, as in all of them, and genes tested in the other half. "
        "“Found again” is how far the two agree (1: the same spots); below a third the domain is not tested. The test "
        f"allows for {corrected}. A marker has 1.4 times as many molecules as elsewhere or more (log2 of 0.5), and an "
        f"adjusted p below 0.05{_over_samples(result)}. {specific}"
    )


def _over_samples(result: Mapping[str, Any]) -> str:
    """Say which domains' markers are tested over samples as well, as the end of a sentence."""
    tested = result.get("pseudobulk", {}).get("domains", [])
    if not tested:
        return ""
    those = "" if len(tested) == len(result["markers"]) else f" in domain {', '.join(tested)}"
    return f", over samples too{those} (molecules summed by sample, {result['pseudobulk']['sections']} or more)"


def spatial_words(result: Mapping[str, Any]) -> str:
    """Say what Moran's I is of."""
    if result.get("expression") == _keys.NORMALISED:
        return "Moran’s I of their values"
    return "Moran’s I of molecules beyond those that each spot’s library lets expect"


def spatial_genes(result: Mapping[str, Any], sample: str) -> str:
    """Return the genes of a sample that follow the tissue most, with Moran's I."""
    rows = result.get("spatial", {}).get(sample, [])
    return ", ".join(f"{row['gene']} ({brief(row['morans_i'])})" for row in rows[:SHOWN])


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
        "known": result["root"]["direction_known"],
        "domain": result["root"]["domain"],
        "end": result["root"]["end"]["domain"],
        "agreement": order
        and {
            "members": order["members"],
            "correlation": order["median_correlation"],
            "unsure": [
                f"domain {pair['first']} comes before domain {pair['then']} in only "
                f"{pair['share'] * order['members']:.0f} of {order['members']}"
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


def enhancement_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the verdicts in a sentence, and a row an estimate compared with; empty where the stage did not run."""
    if not result:
        return {}
    if "skipped" in result:
        return {"headline": f"De-noised expression was {result['skipped']}.", "rows": []}
    genes = result["n_judged"]
    least = f"at least {result['min_held_out']} held-out molecules"
    share = {verdict: f"{100 * number / genes:.0f} %" for verdict, number in result["verdicts"].items() if genes}
    return {
        "headline": f"De-noising is better for {share[BETTER]}, worse for {share[WORSE]} and undecided for "
        f"{share[UNDECIDED]} of the {show(genes)} genes with {least}."
        if genes
        else f"No gene has {least} in enough places: nothing is said of any.",
        "genes": result["n_genes"],
        "rows": [
            {"estimate": words, "ratio": result["median_ratio"][name]} for name, words in ESTIMATES.items() if genes
        ],
    }


def gene_words(denoised: Mapping[str, bool], judged: Mapping[str, tuple[float, float, str]]) -> dict[str, str]:
    """Say of each gene whether de-noising it helps.

    Parameters
    ----------
    denoised
        Whether there is de-noised expression of the gene.
    judged
        What de-noising gains over the better of two simpler estimates, as a share of the deviance of held-out
        molecules, its standard error, and the verdict (:func:`mmsrl.page.series.judged_genes`), of the genes of which
        any were held out.
    """
    verdicts = {
        BETTER: "De-noising {} is better",
        WORSE: "De-noising {} is worse",
        UNDECIDED: "Whether de-noising {} helps is undecided",
    }
    words = {}
    for gene, written in denoised.items():
        gain, error, verdict = judged.get(gene, (0.0, 0.0, FEW if written else ""))
        if not verdict:
            words[gene] = f"{gene} was not de-noised: it is not among the genes that were modelled."
        elif verdict == FEW:
            words[gene] = f"Too few molecules of {gene} were held out to say whether de-noising helps."
        else:
            words[gene] = (
                f"{verdicts[verdict].format(gene)}: it saves {100 * gain:.1f} % of the deviance on molecules held out "
                f"(standard error {100 * error:.1f}), compared with the better of counts by library and counts of the "
                "neighbourhood."
            )
        if verdict and not written:
            words[gene] += " Its de-noised values were not written."
    return words
