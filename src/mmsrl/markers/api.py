"""Markers of the domains of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import false_discovery_control

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import (
    all_counted,
    gene_names,
    in_pitches,
    is_counted,
    sample_names,
    section_index,
    stacked_counts,
    stacked_domains,
)
from mmsrl._thinning import split_counts
from mmsrl.domains.api import domains
from mmsrl.domains.average import matching
from mmsrl.domains.readouts import one_hot
from mmsrl.heldout import BLOCK_SIDE, spatial_blocks
from mmsrl.markers import values
from mmsrl.markers.domain_means import by_domain
from mmsrl.markers.folds import fold_changes
from mmsrl.markers.lattice import adjacency, contacts
from mmsrl.markers.offset import Sums, enrichment, sums
from mmsrl.markers.over_representation import over_represented
from mmsrl.markers.pseudobulk import Pseudobulk, over_sections
from mmsrl.markers.spatial import morans_i
from mmsrl.markers.table import COLUMNS, FDR, Found, depth_alone, gene_table
from mmsrl.normalisation import scale_of_values
from mmsrl.train.api import as_anndata, train

RECOVERED = 1 / 3
"""Minimum Jaccard index of a domain between all counts and one half. Below, its genes are not tested."""

LISTED, LISTED_SPECIFIC = 30, 15
"""Number of genes of each domain or section in the summary, and of specific genes at any rank."""


SUMMARISED = (
    *("gene", "effect", "effect_low", "effect_high", "effect_next"),
    *("log2_fold_change", "log2_fold_change_low", "log2_fold_change_high", "log2_fold_change_next"),
    *("share", "share_elsewhere", "p_adjusted", "p_adjusted_pseudobulk", "samples_up", "specific"),
)
"""Columns of the table of genes that the summary contains, if present."""

BLOCKS = 16
"""Approximate number of tissue blocks for standard errors of effects."""


class Markers(NamedTuple):
    """Result of :func:`markers`."""

    genes: pd.DataFrame
    """One row for each domain and gene: :data:`mmsrl.markers.table.COLUMNS`, for normalised values
    :data:`mmsrl.markers.values.COLUMNS`."""
    spatial: pd.DataFrame
    """One row for each sample and gene: ``sample``, ``gene``, ``morans_i``, ``p_value``, ``p_adjusted``."""
    neighbours: pd.DataFrame
    """One row for each sample and pair of domains: ``sample``, ``domain``, ``neighbour``, ``contacts``, ``expected``,
    ``z``."""
    gene_sets: pd.DataFrame
    """One row for each domain and gene set. Empty without gene sets."""
    facts: dict[str, Any]
    messages: list[dict[str, str]]


def markers(
    data: ad.AnnData | Sequence[ad.AnnData],
    *,
    gene_sets: Mapping[str, Sequence[str]] | None = None,
    preset: str = "default",
    readout: str = "gmm",
    seed: int = 0,
    domain_seed: int | None = None,
    threads: int = 1,
    **training: Any,
) -> Markers:
    """Test genes, spatial genes, gene sets and adjacency of domains; :func:`mmsrl.tl.markers` describes the method.

    Parameters
    ----------
    data
        Sections of one unit in memory: raw counts or normalised values in ``X``, ``obs['domain']``, ``obsm['spatial']``
        and image features as :func:`mmsrl.train.api.train` takes them.
    gene_sets
        Genes by name of the set.
    preset, readout
        Preset and clustering method that the domains were found with.
    seed
        Random seed of the training, the split of counts and the permutations.
    domain_seed
        Random seed of the clustering. ``None`` uses ``seed``.
    threads
        Number of members that are clustered in parallel.
    training
        Further arguments of the training that the domains were found with.

    Raises
    ------
    InputError
        A section has no domains or coordinates, or the sections share no genes.
    """
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    messages: list[dict[str, str]] = []
    counts, genes = stacked_counts(sections)
    domain, names = stacked_domains(sections)
    section = section_index(sections)
    facts: dict[str, Any] = {"n_genes": len(genes), "domains": names, "corrected_for": _corrected_for(sections)}
    places = [in_pitches(adata) for adata in sections]
    counted = all_counted(sections)
    facts["expression"] = _keys.COUNTS if counted else _keys.NORMALISED
    table = pd.DataFrame(columns=COLUMNS if counted else values.COLUMNS)
    if len(names) > 1 and not counted:
        table = _domain_values(counts, section, domain, names, genes, places, facts, messages)
    elif len(names) > 1:
        trained_with = training | {"preset": preset, "seed": seed}
        read = {"readout": readout, "seed": seed if domain_seed is None else domain_seed, "threads": threads}
        table = _domain_genes(sections, counts, section, domain, names, genes, trained_with, read, facts, messages)
    else:
        messages.append({"level": "info", "text": "there is only one domain: it has no markers"})
    spatial, neighbours, genes_of = [], [], gene_names(sections)
    for i, (name, adata) in enumerate(zip(sample_names(sections), sections, strict=True)):
        graph = _graph(adata, places[i])
        spatial.append(_spatial_genes(adata, genes_of[i], graph).assign(sample=name))
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


def _corrected_for(sections: Sequence[ad.AnnData]) -> list[str]:
    return ["library", "section"] if len(sections) > 1 else ["library"]


def _domain_values(
    expression: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    names: list[str],
    genes: list[str],
    places: Sequence[NDArray[np.float64]],
    facts: dict[str, Any],
    messages: list[dict[str, str]],
) -> pd.DataFrame:
    """Return the table of genes by domain for normalised values, without p-values."""
    facts |= {"found_anew": False, "corrected_for": ["section"] if section.max() > 0 else []}
    text = "expression is normalised: counts cannot be held out, so genes have effect sizes without p-values"
    messages.append({"level": "info", "text": text})
    linear = expression
    if scale_of_values(expression.data) == "logarithmic":
        linear = expression.copy()
        linear.data = np.expm1(linear.data)
    # Spots have an area of about one squared spacing.
    blocks = spatial_blocks(places, max(BLOCK_SIDE, float(np.sqrt(len(domain) / BLOCKS))))
    estimates = values.effects(linear, section, domain, len(names), blocks)
    without_interval = [name for name, low in zip(names, estimates.low, strict=True) if not np.isfinite(low).any()]
    if without_interval:
        text = (
            f"domain {', '.join(without_interval)}: in fewer than {values.FEWEST_BLOCKS} of {blocks.max() + 1} blocks "
            "of tissue, so its effects have no confidence interval and it has no markers"
        )
        messages.append({"level": "info", "text": text})
    return values.effect_table(estimates, linear, domain, names, genes)


def _domain_genes(
    sections: Sequence[ad.AnnData],
    counts: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    names: list[str],
    genes: list[str],
    training: Mapping[str, Any],
    reading: Mapping[str, Any],
    facts: dict[str, Any],
    messages: list[dict[str, str]],
) -> pd.DataFrame:
    """Return the table of genes by domain, tested on held-out counts if possible."""

    def statistics(part: sp.csr_matrix, groups: NDArray[np.int64]) -> Sums:
        library = np.asarray(part.sum(axis=1), dtype=np.float64).ravel()
        return sums(part, library, section, groups, len(names))

    def results(sufficient: Sums) -> Found:
        return Found(enrichment(sufficient), fold_changes(sufficient, len(genes)))

    one, other = split_counts(counts, (0.5, 0.5), training["seed"])
    domain_again = _found_again(sections, one, genes, domain, len(names), training, reading, messages)
    again = np.zeros(len(names), dtype=bool)
    tested = pseudobulk = None
    facts["found_anew"], facts["recovered"] = domain_again is not None, {}
    if domain_again is not None:
        facts["recovered"] = dict(zip(names, recovered(domain, domain_again, len(names)), strict=True))
        again[:] = [share >= RECOVERED for share in facts["recovered"].values()]
        held_out = statistics(other, domain_again)
        tested, pseudobulk = results(held_out), over_sections(held_out, again)
        if not again.all():
            lost = ", ".join(np.asarray(names)[~again])
            text = f"domain {lost} is not found again in half of the counts: its genes are not tested"
            messages.append({"level": "warning", "text": text})
    whole = results(statistics(counts, domain))
    table = gene_table(tested, pseudobulk, whole, again, by_domain(counts, domain, len(names)), names, genes)
    facts["n_genes_tested"] = table["gene"][table["p_value"].notna()].nunique()
    facts["pseudobulk"] = _over_sections(table, pseudobulk, names)
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    facts["depth_alone"] = depth_alone(table, again, library, section, domain, names)
    for name, fold in facts["depth_alone"].items():
        text = f"domain {name} may be depth alone: {fold:.2g} times the counts of other spots, no significant gene"
        messages.append({"level": "warning", "text": text})
    return table


def _over_sections(table: pd.DataFrame, found: Pseudobulk | None, names: list[str]) -> dict[str, Any]:
    """Return the domains that were tested over sections, and their minimum number of sections."""
    by_domain = table.groupby("domain")["p_value_pseudobulk"].count()
    of = {} if found is None else dict(zip(names, found.n_sections.tolist(), strict=True))
    tested = [name for name in names if by_domain.get(name, 0) > 0]
    return {"sections": min((of[name] for name in tested), default=0), "domains": tested}


def _found_again(
    sections: Sequence[ad.AnnData],
    counts: sp.csr_matrix,
    genes: list[str],
    reference: NDArray[np.int64],
    n_domains: int,
    training: Mapping[str, Any],
    reading: Mapping[str, Any],
    messages: list[dict[str, str]],
) -> NDArray[np.int64] | None:
    """Find the domains again in a part of the counts, (N, G).

    Returns
    -------
    (N,) from 0 to K - 1, numbered for maximal overlap with ``reference``. ``None``, with a message, for a published
    preset or too few counts.
    """
    preset = training["preset"]
    if preset != "default":
        text = (
            f"no p-values: preset {preset} would have to be trained again on half of the counts, which takes hours; "
            "markers are chosen by the confidence interval of their fold change"
        )
        messages.append({"level": "warning", "text": text})
        return None
    parts, first = [], 0
    for adata in sections:
        rows = counts[first : first + adata.n_obs]
        var = pd.DataFrame(index=pd.Index(genes))
        parts.append(ad.AnnData(rows, obs=adata.obs, var=var, obsm=dict(adata.obsm), uns=dict(adata.uns)))
        first += adata.n_obs
    fixed = {"device": "cpu", "show_progress": False}
    try:
        trained = train(parts, **(dict(training) | fixed))
        result = domains(as_anndata(trained), n_domains, **reading)
    except InputError as error:
        text = f"half of the counts are too few to find the domains again ({error}): no gene is tested"
        messages.append({"level": "warning", "text": text})
        return None
    member = one_hot(result.table[_keys.DOMAIN].astype(int).to_numpy() - 1, n_domains)
    number = np.empty(n_domains, dtype=np.int64)
    number[matching(one_hot(reference, n_domains), member)] = np.arange(n_domains)
    return np.asarray(number[member.argmax(axis=1)])


def recovered(reference: NDArray[np.int64], again: NDArray[np.int64], n_domains: int) -> list[float]:
    """Return the Jaccard index of each domain with its counterpart in ``again``, both (n,)."""
    shares = []
    for k in range(n_domains):
        before, after = reference == k, again == k
        shares.append(float((before & after).sum() / max((before | after).sum(), 1)))
    return shares


def _graph(adata: ad.AnnData, places: NDArray[np.float64]) -> sp.csr_matrix:
    lattice = adata.uns.get(_keys.UNS, {}).get(_keys.LATTICE, "none") != "none"
    return adjacency(places, lattice=lattice)


def _spatial_genes(adata: ad.AnnData, genes: pd.Index[str], graph: sp.csr_matrix) -> pd.DataFrame:
    """Return Moran's I of every tested gene, in decreasing order.

    For normalised values, all genes that vary are listed, without p-values.
    """
    x = sp.csr_matrix(adata.X)
    if is_counted(adata):
        moran = morans_i(x, np.asarray(x.sum(axis=1), dtype=np.float64).ravel(), graph)
        tested = np.isfinite(moran.p_value)
        table = pd.DataFrame({"gene": genes[tested], "morans_i": moran.i[tested], "p_value": moran.p_value[tested]})
        table["p_adjusted"] = false_discovery_control(table["p_value"]) if len(table) else []
    else:
        i = values.morans_i_of_values(x, graph)
        tested = np.isfinite(i)
        table = pd.DataFrame({"gene": genes[tested], "morans_i": i[tested]})
        table["p_value"] = table["p_adjusted"] = np.nan
    return table.sort_values(["morans_i", "gene"], ascending=[False, True], ignore_index=True)


def _neighbours(domain: NDArray[np.int64], names: list[str], graph: sp.csr_matrix, seed: int) -> pd.DataFrame:
    present, codes = np.unique(domain, return_inverse=True)
    enriched = contacts(codes, graph, len(present), seed)
    here = np.asarray(names)[present]
    one, other = (index.ravel() for index in np.indices(enriched.z.shape))
    values = {"contacts": enriched.observed.ravel(), "expected": enriched.expected.ravel(), "z": enriched.z.ravel()}
    return pd.DataFrame({"domain": here[one], "neighbour": here[other], **values})


def _gene_sets(table: pd.DataFrame, sets: Mapping[str, Sequence[str]], messages: list[dict[str, str]]) -> pd.DataFrame:
    tested = "p_value" in table and table["p_value"].notna().any()
    background = table["p_value"].notna() if tested else table["gene"].notna()
    tables = [
        over_represented(rows["gene"][rows["marker"]].tolist(), rows["gene"].tolist(), sets).assign(domain=domain)
        for domain, rows in table[background].groupby("domain", sort=False)
        if sets
    ]
    columns = ["domain", "gene_set", "n_set", "n_markers", "n_both", "expected", "p_value", "p_adjusted", "genes"]
    result = pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)
    if sets and not len(result):
        text = "no gene set has enough tested genes: check that species and gene names match the data"
        messages.append({"level": "warning", "text": text})
    return result


def _first(marked: pd.DataFrame) -> pd.DataFrame:
    """Return the most significant markers of a domain, and its first specific markers at any rank."""
    specific = marked["specific"].astype(bool)
    return marked[(np.arange(len(marked)) < LISTED) | (specific & (specific.cumsum() <= LISTED_SPECIFIC))]


def _summarised(result: Markers) -> dict[str, Any]:
    """Return the numbers for the report, and the first genes of each domain and section."""
    genes = result.genes
    columns = [column for column in SUMMARISED if column in genes]
    marked = genes[genes["marker"].astype(bool)]
    return {
        "n_markers": {name: int((marked["domain"] == name).sum()) for name in result.facts["domains"]},
        "n_specific": {
            name: int(marked["specific"][marked["domain"] == name].sum()) for name in result.facts["domains"]
        },
        "markers": {
            name: _first(marked[marked["domain"] == name])[columns].to_dict("records")
            for name in result.facts["domains"]
        },
        "n_spatial": {
            sample: int((rows["p_adjusted"] < FDR).sum()) for sample, rows in result.spatial.groupby("sample")
        },
        "spatial": {
            sample: rows[["gene", "morans_i", "p_adjusted"]].head(LISTED).to_dict("records")
            for sample, rows in result.spatial.groupby("sample")
        },
        "neighbours": {
            sample: rows[["domain", "neighbour", "contacts", "expected", "z"]].to_dict("records")
            for sample, rows in result.neighbours.groupby("sample")
        },
        "gene_sets": result.gene_sets[result.gene_sets["p_adjusted"] < FDR]
        .groupby("domain", sort=False)
        .head(10)
        .to_dict("records"),
    }
