"""Markers of the domains of a unit."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from mmsrl import _keys
from mmsrl._sections import graph_places, in_pitches, sample_names, section_index, stacked_counts, stacked_domains
from mmsrl._thinning import split_counts
from mmsrl.expression import MIN_SPOTS as SEEN_SPOTS
from mmsrl.expression import log_normalised, variable_genes
from mmsrl.markers.expression import by_domain
from mmsrl.markers.gene_sets import over_represented
from mmsrl.markers.heldout import domains_of, recovered
from mmsrl.markers.lattice import adjacency, contacts, morans_i
from mmsrl.markers.ranks import rank_sums
from mmsrl.train.presets import Default

FDR = 0.05
LEAST_FOLD = 0.5
"""log2 fold change over all other domains from which a significant gene is a marker."""

SPECIFIC_FOLD = 0.5
"""log2 fold change over the next domain from which a marker is specific to its domain."""

MIN_SPOTS = 10
"""Genes seen in fewer spots of the tested half are not tested."""

TESTED_SPOTS = 10_000
"""Spots that genes are tested on, at most: ranks of more would add time and no information that matters."""

RECOVERED = 1 / 3
"""Jaccard index below which a domain is not found again in half of the counts, and its genes cannot be tested."""

LISTED, LISTED_SPECIFIC = 30, 15
"""Genes of each domain, or section, that go into the summary; the first that are specific do, wherever they stand."""


class Markers(NamedTuple):
    """What tells the domains of a unit apart."""

    genes: pd.DataFrame
    """A row a domain and gene: ``domain``, ``gene``, ``score``, ``p_value``, ``p_adjusted``, ``log2_fold_change``,
    ``log2_fold_change_next``, ``rate`` (per 10,000), ``share``, ``share_elsewhere``, ``samples_up``, ``marker``,
    ``specific``."""
    spatial: pd.DataFrame
    """A row a sample and gene: ``sample``, ``gene``, ``morans_i``, ``p_value``, ``p_adjusted``."""
    neighbours: pd.DataFrame
    """A row a sample and pair of domains: ``sample``, ``domain``, ``neighbour``, ``contacts``, ``expected``, ``z``."""
    gene_sets: pd.DataFrame
    """A row a domain and gene set; empty where none were given."""
    facts: dict[str, Any]
    messages: list[dict[str, str]]


def markers(
    data: ad.AnnData | Sequence[ad.AnnData],
    *,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    batch_correction: bool = True,
    seed: int = 0,
) -> Markers:
    """Find the genes of each domain, genes that follow the tissue, gene sets, and which domains adjoin.

    Domains were found from the same counts, and a test that ignores this calls genes significant between groups of pure
    noise. So counts are split: domains are found anew in one half of the molecules, and genes are tested (Wilcoxon rank
    sum, each domain against all others) in the other half.

    Parameters
    ----------
    data
        Sections of one unit: raw counts in ``X``, ``obs['domain']``, ``obsm['spatial']``; in memory.
    gene_sets
        Genes by name of the set.
    batch_correction
        As in the training that the domains are of.
    seed
        Of the split and the permutations.

    Raises
    ------
    InputError
        If a section has no domains or coordinates, or sections share no gene.
    """
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    messages: list[dict[str, str]] = []
    counts, genes = stacked_counts(sections)
    domain, names = stacked_domains(sections)
    section = section_index(sections)
    places = [graph_places(adata) for adata in sections]
    facts: dict[str, Any] = {"n_genes": len(genes), "domains": names}
    table = pd.DataFrame(columns=_COLUMNS)
    if len(names) > 1:
        tested = _test(counts, places, section, domain, names, genes, batch_correction, seed, facts, messages)
        table = _describe(tested, counts, section, domain, names, genes)
    else:
        messages.append({"level": "info", "text": "there is one domain only: it has no markers"})
    spatial, neighbours = [], []
    for i, (name, adata) in enumerate(zip(sample_names(sections), sections, strict=True)):
        graph = _graph(adata)
        spatial.append(_spatial_genes(adata, graph).assign(sample=name))
        neighbours.append(_neighbours(domain[section == i], names, graph, seed).assign(sample=name))
    result = Markers(
        table,
        pd.concat(spatial, ignore_index=True)[["sample", "gene", "morans_i", "p_value", "p_adjusted"]],
        pd.concat(neighbours, ignore_index=True)[["sample", "domain", "neighbour", "contacts", "expected", "z"]],
        _gene_sets(table, gene_sets or {}, messages),
        facts,
        messages,
    )
    facts |= _summarised(result)
    return result


_COLUMNS = [
    "domain",
    "gene",
    "score",
    "p_value",
    "p_adjusted",
    "log2_fold_change",
    "log2_fold_change_next",
    "rate",
    "share",
    "share_elsewhere",
    "samples_up",
    "marker",
    "specific",
]


def _test(
    counts: sp.csr_matrix,
    places: Sequence[NDArray[np.float64]],
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    names: list[str],
    genes: list[str],
    batch_correction: bool,
    seed: int,
    facts: dict[str, Any],
    messages: list[dict[str, str]],
) -> pd.DataFrame:
    """Return ``domain``, ``gene``, ``score``, ``p_value``, ``p_adjusted`` from counts that the domains did not see."""
    one, other = split_counts(counts, (0.5, 0.5), seed)
    variable = _variable(one, section)
    found = domains_of(one, variable, places, section, domain, len(names), seed, batch_correction=batch_correction)
    shares = recovered(domain, found, len(names))
    facts["recovered"] = dict(zip(names, shares, strict=True))
    poor = [name for name, share in facts["recovered"].items() if share < RECOVERED]
    if poor:
        text = f"half of the counts do not show domain {', '.join(poor)} at the same spots: its genes are not tested"
        messages.append({"level": "warning", "text": text})
    rows = _test_spots(found, len(names), seed)
    if len(rows) < len(found):
        text = f"genes are tested on {len(rows):,} of {len(found):,} spots, drawn from every domain in proportion"
        messages.append({"level": "info", "text": text})
    half = sp.csr_matrix(other[rows])
    seen = np.flatnonzero(np.bincount(half.indices, minlength=len(genes)) >= MIN_SPOTS)
    facts["n_genes_tested"], facts["n_spots_tested"] = len(seen), len(rows)
    library = np.maximum(np.asarray(half.sum(axis=1)).ravel(), 1.0)
    score, p = rank_sums(sp.diags(1.0 / library) @ half[:, seen], found[rows], len(names))
    domain_at, gene_at = (index.ravel() for index in np.indices(score.shape))
    table = pd.DataFrame(
        {
            "domain": np.asarray(names)[domain_at],
            "gene": np.asarray(genes)[seen[gene_at]],
            "score": score.ravel(),
            "p_value": p.ravel(),
            "p_adjusted": false_discovery_control(p, axis=1).ravel(),
        }
    )
    table.loc[table["domain"].isin(poor), ["score", "p_value", "p_adjusted"]] = np.nan
    return table


def _variable(counts: sp.csr_matrix, section: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the columns of the highly variable genes, as training takes them; all that are seen where no trend is."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that parts of counts are no whole counts, which they are
        try:
            return variable_genes(counts, Default().n_top_genes, section).columns
        except ValueError:  # too few distinct means for a trend
            return np.flatnonzero(counts.getnnz(axis=0) >= SEEN_SPOTS)


def _test_spots(domain: NDArray[np.int64], n_domains: int, seed: int) -> NDArray[np.int64]:
    """Return the spots that genes are tested on, ascending: of each domain the same share."""
    share = min(1.0, TESTED_SPOTS / len(domain))
    generator = np.random.default_rng(seed)
    drawn = []
    for k in range(n_domains):
        own = np.flatnonzero(domain == k)
        drawn.append(generator.choice(own, min(len(own), int(np.ceil(share * len(own)))), replace=False))
    return np.sort(np.concatenate(drawn))


def _describe(
    tested: pd.DataFrame,
    counts: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    names: list[str],
    genes: list[str],
) -> pd.DataFrame:
    """Add how much of each gene there is in the domain and elsewhere, from all counts."""
    found = by_domain(counts, domain, len(names))
    k = pd.Index(names).get_indexer(pd.Index(tested["domain"].astype(str)))
    g = pd.Index(genes).get_indexer(pd.Index(tested["gene"]))
    up = np.zeros((len(names), len(genes)), dtype=np.int64)
    for s in range(section[-1] + 1):
        here = section == s
        there = np.bincount(domain[here], minlength=len(names))[:, None] > 0
        if there.sum() == 1:
            continue  # nothing else in the section to be higher than
        up += there & (by_domain(counts[here], domain[here], len(names)).fold > 0)
    table = tested.assign(
        log2_fold_change=found.fold[k, g],
        log2_fold_change_next=found.fold_next[k, g],
        rate=found.rate[k, g],
        share=found.share[k, g],
        share_elsewhere=found.share_elsewhere[k, g],
        samples_up=up[k, g],
    )
    table["marker"] = (table["p_adjusted"] < FDR) & (table["score"] > 0) & (table["log2_fold_change"] >= LEAST_FOLD)
    table["specific"] = table["marker"] & (table["log2_fold_change_next"] >= SPECIFIC_FOLD)
    order = np.lexsort((table["gene"], -table["score"].fillna(table["log2_fold_change"]), k))
    return table.iloc[order][_COLUMNS].reset_index(drop=True)


def _graph(adata: ad.AnnData) -> sp.csr_matrix:
    lattice = adata.uns.get(_keys.UNS, {}).get(_keys.LATTICE, "none") != "none"
    return adjacency(in_pitches(adata), lattice=lattice)


def _spatial_genes(adata: ad.AnnData, graph: sp.csr_matrix) -> pd.DataFrame:
    """Return Moran's I of the logarithm of every gene seen in enough spots, the highest first."""
    counts = sp.csr_matrix(adata.X)
    seen = np.flatnonzero(counts.getnnz(axis=0) >= MIN_SPOTS)
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    index, p = morans_i(log_normalised(sp.csr_matrix(counts[:, seen]), library), graph)
    told = np.isfinite(index)
    table = pd.DataFrame({"gene": adata.var_names[seen[told]], "morans_i": index[told], "p_value": p[told]})
    table["p_adjusted"] = false_discovery_control(table["p_value"]) if len(table) else []
    return table.sort_values(["morans_i", "gene"], ascending=[False, True], ignore_index=True)


def _neighbours(domain: NDArray[np.int64], names: list[str], graph: sp.csr_matrix, seed: int) -> pd.DataFrame:
    present, codes = np.unique(domain, return_inverse=True)
    found = contacts(codes, graph, len(present), seed)
    here = np.asarray(names)[present]
    one, other = (index.ravel() for index in np.indices(found.z.shape))
    values = {"contacts": found.observed.ravel(), "expected": found.expected.ravel(), "z": found.z.ravel()}
    return pd.DataFrame({"domain": here[one], "neighbour": here[other], **values})


def _gene_sets(table: pd.DataFrame, sets: Mapping[str, Sequence[str]], messages: list[dict[str, str]]) -> pd.DataFrame:
    found = [
        over_represented(own["gene"][own["marker"]].tolist(), own["gene"].tolist(), sets).assign(domain=domain)
        for domain, own in table.groupby("domain", sort=False)
        if sets
    ]
    columns = ["domain", "gene_set", "n_set", "n_markers", "n_both", "expected", "p_value", "p_adjusted", "genes"]
    result = pd.concat(found, ignore_index=True)[columns] if found else pd.DataFrame(columns=columns)
    if sets and not len(result):
        text = "no gene set has enough genes among those tested: are the sets of the species and naming of the data?"
        messages.append({"level": "warning", "text": text})
    return result


def _first(marked: pd.DataFrame) -> pd.DataFrame:
    """Return the most significant markers of a domain, and of those specific to it the first even if they are not."""
    specific = marked["specific"].astype(bool)
    return marked[(np.arange(len(marked)) < LISTED) | (specific & (specific.cumsum() <= LISTED_SPECIFIC))]


def _summarised(found: Markers) -> dict[str, Any]:
    """Return what the report shows: numbers, and the first genes of each domain and section."""
    genes = found.genes
    columns = ["gene", "log2_fold_change", "log2_fold_change_next", "share", "share_elsewhere", "p_adjusted"]
    columns += ["samples_up", "specific"]
    marked = genes[genes["marker"].astype(bool)]
    return {
        "n_markers": {name: int((marked["domain"] == name).sum()) for name in found.facts["domains"]},
        "n_specific": {
            name: int(marked["specific"][marked["domain"] == name].sum()) for name in found.facts["domains"]
        },
        "markers": {
            name: _first(marked[marked["domain"] == name])[columns].to_dict("records")
            for name in found.facts["domains"]
        },
        "n_spatial": {sample: int((own["p_adjusted"] < FDR).sum()) for sample, own in found.spatial.groupby("sample")},
        "spatial": {
            sample: own[["gene", "morans_i", "p_adjusted"]].head(LISTED).to_dict("records")
            for sample, own in found.spatial.groupby("sample")
        },
        "neighbours": {
            sample: own[["domain", "neighbour", "contacts", "expected", "z"]].to_dict("records")
            for sample, own in found.neighbours.groupby("sample")
        },
        "gene_sets": found.gene_sets[found.gene_sets["p_adjusted"] < FDR]
        .groupby("domain", sort=False)
        .head(10)
        .to_dict("records"),
    }
