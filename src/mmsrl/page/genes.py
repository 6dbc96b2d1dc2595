"""Genes, tables and sentences on the page of a sample, from markers, trajectory and enhancement."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmsrl import _keys
from mmsrl.enhance.verdict import BETTER, UNDECIDED, WORSE
from mmsrl.page.series import FEW
from mmsrl.page.words import brief, show

SHOWN = 12
"""Maximum number of genes in a cell of a table."""

MOST_GENES = 36
"""Maximum number of genes that the tissue figure offers besides requested genes."""

BY_DOMAIN = 2
BY_GAIN = 6

OF_PROFILE = 6
"""Maximum number of marker genes in the table of domains."""

ASKED, MARKERS, GAINS = "Requested", "Markers of domains", "Largest gain by de-noising"
"""Reasons to offer a gene in the tissue figure."""

ESTIMATES = {
    "raw": "raw counts",
    "normalised": "library-normalised counts",
    "smoothed": "counts of the neighbourhood",
    "mean": "the gene’s mean",
}


def listed_genes(
    wanted: Iterable[str], markers: Mapping[str, Any], enhancement: Mapping[str, Any]
) -> dict[str, list[str]]:
    """Choose the genes that the tissue figure offers, each under the first reason that applies.

    These are the requested genes, the top two markers of each domain (specific markers first), and the genes with the
    largest gain by de-noising.

    Parameters
    ----------
    wanted
        Requested genes.
    markers, enhancement
        Results of the stages for the unit, possibly empty.
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
    """Sort markers of a domain so that specific markers come first; the order by significance is kept."""
    return sorted(rows, key=lambda row: not row["specific"])


def marker_rows(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the number of markers and the top genes of each domain; empty if the stage did not run."""
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


def domain_profiles(result: Mapping[str, Any], domains: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the top marker genes and the most significant gene set of each domain.

    Parameters
    ----------
    result
        Result of ``markers`` for the unit, possibly empty.
    domains
        All domains of the unit.

    Returns
    -------
    By domain: ``genes``, specific markers first, and ``gene_set``, a row of the table of gene sets or ``None``.
    """
    best: dict[str, Mapping[str, Any]] = {}
    for row in sorted(result.get("gene_sets", []), key=lambda row: row["p_adjusted"]):
        best.setdefault(row["domain"], row)
    markers = result.get("markers", {})
    return {
        domain: {
            "genes": [row["gene"] for row in specific_first(markers.get(domain, []))[:OF_PROFILE]],
            "gene_set": best.get(domain),
        }
        for domain in domains
    }


def marker_note(result: Mapping[str, Any]) -> str:
    """Describe the test of markers, its corrections and the definition of a marker; empty without markers."""
    if not result.get("markers"):
        return ""
    covariates = {"library": "the library size of each spot", "section": "the level of each section"}
    corrected = " and ".join(covariates[name] for name in result.get("corrected_for", []))
    specific = (
        "A specific marker also has 1.4 times as many molecules as in the domain with the next highest level. Specific "
        "markers are listed first."
    )
    if result.get("expression") == _keys.NORMALISED:
        return (
            "Expression was normalised before, so no molecules could be held out and genes have no p-value. A marker "
            "is at least 0.5 standard deviations higher than elsewhere in its section, by the lower end of its 95 % "
            "confidence interval. The interval comes from blocks of tissue and ignores that domains were found in the "
            "same values. A specific marker is also 0.5 standard deviations above the domain with the next highest "
            "level. Specific markers are listed first."
        )
    if not result.get("found_anew"):
        return (
            "Domains were found in the same counts, so genes have no p-value. A marker has at least 1.4 times as many "
            "molecules as elsewhere (log2 fold change of 0.5), by the lower end of its 95 % confidence interval. The "
            f"estimate is adjusted for {corrected}. The interval ignores that domains were found in the same counts. "
            f"{specific}"
        )
    return (
        "Domains were found again in one half of the molecules, and genes were tested in the other half. “Agreement of "
        "the halves” compares the new domain with the original one (1: the same spots). A domain with an agreement "
        f"below one third is not tested. The test is adjusted for {corrected}. A marker has at least 1.4 times as many "
        f"molecules as elsewhere (log2 fold change of 0.5) and an adjusted p-value below 0.05{_over_samples(result)}. "
        f"{specific}"
    )


def _over_samples(result: Mapping[str, Any]) -> str:
    """Name the domains whose markers are tested over samples as well, as the end of a sentence."""
    tested = result.get("pseudobulk", {}).get("domains", [])
    if not tested:
        return ""
    domains = "" if len(tested) == len(result["markers"]) else f" in domain {', '.join(tested)}"
    return f", also over samples{domains} (pseudobulk of at least {result['pseudobulk']['sections']} samples)"


def spatial_words(result: Mapping[str, Any]) -> str:
    """Name the values of Moran's I."""
    if result.get("expression") == _keys.NORMALISED:
        return "Moran’s I of the values"
    return "Moran’s I of observed minus expected molecules, given the library size of each spot"


def spatial_genes(result: Mapping[str, Any], sample: str) -> str:
    """Return the top spatially variable genes of a sample with their Moran's I."""
    rows = result.get("spatial", {}).get(sample, [])
    return ", ".join(f"{row['gene']} ({brief(row['morans_i'])})" for row in rows[:SHOWN])


def trajectory_facts(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return root, order and connectivity of the domains, and top genes; empty if the stage did not run."""
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
            "uncertain": [
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
    """Return a sentence with the verdicts, and one row per other estimate; empty if the stage did not run."""
    if not result:
        return {}
    if "skipped" in result:
        return {"headline": f"De-noised expression was {result['skipped']}.", "rows": []}
    genes = result["n_judged"]
    minimum = f"at least {result['min_held_out']} held-out molecules"
    share = {verdict: f"{100 * number / genes:.0f} %" for verdict, number in result["verdicts"].items() if genes}
    return {
        "headline": f"De-noising is better for {share[BETTER]}, worse for {share[WORSE]} and undecided for "
        f"{share[UNDECIDED]} of the {show(genes)} genes with {minimum}."
        if genes
        else f"No gene has {minimum} in enough places, so no gene was judged.",
        "genes": result["n_genes"],
        "rows": [
            {"estimate": words, "ratio": result["median_ratio"][name]} for name, words in ESTIMATES.items() if genes
        ],
    }


def gene_words(denoised: Mapping[str, bool], judged: Mapping[str, tuple[float, float, str]]) -> dict[str, str]:
    """Return a sentence on the gain by de-noising of each gene.

    Parameters
    ----------
    denoised
        Whether de-noised expression of the gene is available.
    judged
        Gain over the better of two simpler estimates (share of the deviance of held-out molecules), its standard
        error and the verdict of each gene with held-out molecules (:func:`mmsrl.page.series.judged_genes`).
    """
    verdicts = {
        BETTER: "De-noising improves {}",
        WORSE: "De-noising worsens {}",
        UNDECIDED: "The gain of de-noising {} is undecided",
    }
    words = {}
    for gene, written in denoised.items():
        gain, error, verdict = judged.get(gene, (0.0, 0.0, FEW if written else ""))
        if not verdict:
            words[gene] = f"{gene} was not de-noised because it is not one of the modelled genes."
        elif verdict == FEW:
            words[gene] = f"Too few molecules of {gene} were held out to judge de-noising."
        else:
            words[gene] = (
                f"{verdicts[verdict].format(gene)}: it saves {100 * gain:.1f} % of the held-out deviance "
                f"(standard error {100 * error:.1f} %) over the better of "
                "library-normalised counts and counts of the neighbourhood."
            )
        if verdict and not written:
            words[gene] += " Its de-noised values were not written to the files."
    return words
