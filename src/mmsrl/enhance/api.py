"""De-noised expression of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._samples import at_random
from mmsrl._sections import common_target, gene_names, sample_names, spot_table
from mmsrl._thinning import split_counts
from mmsrl.enhance.estimators import COMPONENTS, Decoder, Source, components, gene_blocks, mixed
from mmsrl.enhance.evidence import COMPARED, SHARES, choose_pooling, judge
from mmsrl.enhance.published import relative_mean
from mmsrl.enhance.verdict import BETTER, MIN_BLOCKS, MIN_HELD_OUT, UNDECIDED, WORSE, tissue_blocks
from mmsrl.graph import Graph
from mmsrl.train.api import stack
from mmsrl.train.presets import Default
from mmsrl.train.unit import Unit, build

MOST_SPOTS = 50_000
"""Spots that weights and verdicts are told from; of more, so many are drawn at random."""

MAX_VALUES = 20_000_000
"""De-noised values that are written if nothing is asked for: 80 MB of memory."""

MANTISSA_BITS = 10
"""Of de-noised values that are kept, to within 0.05 % of each: the rest says nothing and would not compress."""

LISTED = 12
"""Genes named in the summary, of those that gain and of those that do not."""

ABOUT_X = "natural logarithm of 1 + de-noised counts scaled to target_sum per spot"


class Enhancement(NamedTuple):
    """De-noised expression of a unit."""

    spots: ad.AnnData
    """``X``: float32, spots × written genes, log1p of de-noised counts on the scale of the assembled files; ``obs``:
    ``sample``, ``barcode``; ``var``: ``gain``, ``gain_se``, ``structure``, ``verdict``; ``obsm['spatial']``."""
    genes: pd.DataFrame
    """:attr:`mmsrl.enhance.evidence.Evidence.table` with ``gene`` and ``written``."""
    facts: dict[str, Any]
    messages: list[dict[str, str]]


def enhance(
    data: ad.AnnData | Sequence[ad.AnnData],
    model: Mapping[str, Any] | None = None,
    *,
    n_top_genes: int | None = None,
    n_enhanced_genes: int | None = None,
    enhanced_genes: str | Sequence[str] | None = None,
    batch_correction: bool = True,
    seed: int = 0,
) -> Enhancement:
    """De-noise the modelled genes, and show on counts held out for which of them it helps.

    A gene's expression at a spot is a mixture of what the embedding says (a linear decoder), of the counts pooled over
    the neighbourhood, of the spot's own, and of the gene's mean. The weights are the gene's own: embedding and decoder
    are made anew from half of the molecules, the weights are those that make a further quarter likeliest, and the last
    quarter is the judge. With these weights the estimates made from all molecules are mixed.

    Parameters
    ----------
    data
        Sections of one unit, as :func:`mmsrl.train.api.train` takes them, in memory; with ``model`` also
        ``obsm['X_mmsrl']``.
    model
        :attr:`mmsrl.train.api.Training.model` of the preset ``default``, whose genes, settings and embedding are taken.
        Without it, or with the model of another preset, the embedding of ``default`` is made here.
    n_top_genes
        Genes to model where the embedding is made here; what ``default`` says if not given.
    n_enhanced_genes
        Genes to return, those that gain most over their mean first. If not given: those that de-noising is shown to
        make better, as many as :data:`MAX_VALUES` hold.
    enhanced_genes
        Genes, or one gene, to return instead; those that were not modelled are said in a message.
    batch_correction
        As in training.
    seed
        Of the split and the embedding.

    Raises
    ------
    InputError
        If the sections do not belong to the model, or lack its embedding.
    """
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    messages: list[dict[str, str]] = []
    published = model is not None and model["preset"] != "default"
    settings = Default() if model is None or published else Default(**model["settings"])
    unit = stack(sections, n_top_genes or settings.n_top_genes, model["genes"] if model else None)
    if model is None or published:
        embedding = _embedding(unit, settings, seed, batch_correction)
    else:
        embedding = _stacked(sections, _keys.EMBEDDING)

    parts = [split_counts(sp.csr_matrix(adata.X), SHARES, seed + i) for i, adata in enumerate(sections)]
    halves = [_with_counts(adata, part[0]) for adata, part in zip(sections, parts, strict=True)]
    half = stack(halves, settings.n_top_genes, unit.genes)
    spots = at_random(len(unit.section), MOST_SPOTS, seed)
    choose, held = (_columns(sections, [part[i] for part in parts], half.genes)[spots] for i in (1, 2))
    del parts, halves
    if len(spots) < len(unit.section):
        text = f"how genes are mixed, and for which of them de-noising is better, is told from {len(spots):,} spots"
        messages.append({"level": "info", "text": f"{text} drawn at random"})
    pooling = choose_pooling(unit.coordinates, half.counts, choose, spots)
    of_half = Decoder.fit(_embedding(half, settings, seed, batch_correction), half.counts)
    blocks = tissue_blocks(unit.coordinates)[:, spots]
    source = Source.of(half.counts, pooling.graph, spots)
    evidence = judge(of_half.at(spots), source, choose, held, blocks)
    table = evidence.table.assign(gene=half.genes).set_index("gene").loc[unit.genes].reset_index()

    asked = [enhanced_genes] if isinstance(enhanced_genes, str) else enhanced_genes or ()
    table["written"] = table["gene"].isin(_written(table, len(unit.section), n_enhanced_genes, asked, messages))
    written = _spots(sections, unit, Decoder.fit(embedding, unit.counts), pooling.graph, table)
    if model is not None and published:
        written.layers[_keys.PUBLISHED_MEAN] = relative_mean(model, _stacked(sections, _keys.LATENT), written.var_names)
        text = (
            f"X is de-noised with the embedding of 'default'; layers['{_keys.PUBLISHED_MEAN}'] is the enhanced "
            f"expression of '{model['preset']}': the mean of its decoder, divided by its maximum in the spot"
        )
        messages.append({"level": "info", "text": text})
    facts = {
        "pooled_width": pooling.width,
        "n_blocks": blocks.shape[0],
        "n_spots_judged": len(spots),
        "bytes": int(written.X.nbytes),
    }
    facts |= _facts(table, messages) | {"shrinkage": evidence.shrinkage}
    return Enhancement(written, table, facts, messages)


def _written(
    table: pd.DataFrame, n_spots: int, number: int | None, asked: Sequence[str], messages: list[dict[str, str]]
) -> pd.Series[str]:
    """Return the genes to write: those asked for, where any of them was modelled, else those that are better.

    With ``number`` so many of all instead, those that gain most over their mean.
    """
    wanted = table["gene"][table["gene"].isin(asked)]
    missing = sorted(set(asked) - set(wanted))
    if missing:
        shown = ", ".join(missing[:LISTED]) + (" and others" if len(missing) > LISTED else "")
        text = f"enhanced_genes: {shown} not among the {len(table)} genes that were modelled"
        text += "" if len(wanted) else "; as none is, genes are written as without the list"
        messages.append({"level": "warning", "text": text})
    if len(wanted):
        return wanted
    eligible = table if number else table[table["verdict"] == BETTER]
    ordered = eligible.sort_values(["structure", "gene"], ascending=[False, True])["gene"]
    written = ordered.head(number or max(MAX_VALUES // n_spots, 1))
    if len(written) < len(table):
        which = "that gain most over their mean" if number else "that de-noising makes better on held-out molecules"
        text = (
            f"of {len(table)} modelled genes the {len(written)} are written {which} "
            "(--n_enhanced_genes asks for a number, --enhanced_genes for genes)"
        )
        messages.append({"level": "info", "text": text})
    return written


def _embedding(unit: Unit, settings: Default, seed: int, correct: bool) -> NDArray[np.float32]:
    """Return the embedding of the preset ``default``, (N, d)."""
    built = build(unit, settings, seed=seed, correct=correct, ensemble=False)
    return np.asarray(built.members[0].embedding)


def _stacked(sections: Sequence[ad.AnnData], key: str) -> NDArray[np.float32]:
    """Return ``obsm[key]`` of all sections, as training wrote it, stacked: (N, d)."""
    parts = []
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if key not in adata.obsm:
            raise InputError(f"sample {name}: obsm['{key}'] is missing; give the sections as training wrote them")
        parts.append(np.asarray(adata.obsm[key], dtype=np.float32))
    if len({part.shape[1] for part in parts}) > 1:
        raise InputError(f"obsm['{key}'] differs in width between the sections; give the sections of one training")
    return np.concatenate(parts)


def _with_counts(adata: ad.AnnData, counts: sp.csr_matrix) -> ad.AnnData:
    return ad.AnnData(counts, obs=adata.obs, var=adata.var, obsm=dict(adata.obsm), uns=dict(adata.uns))


def _columns(sections: Sequence[ad.AnnData], counts: Sequence[sp.csr_matrix], genes: list[str]) -> sp.csr_matrix:
    parts = [part[:, own.get_indexer(pd.Index(genes))] for own, part in zip(gene_names(sections), counts, strict=True)]
    return sp.csr_matrix(sp.vstack(parts, format="csr", dtype=np.float32))


def _spots(
    sections: Sequence[ad.AnnData], unit: Unit, decoder: Decoder, graph: Graph, table: pd.DataFrame
) -> ad.AnnData:
    """Return de-noised expression of the genes that are written, from all molecules."""
    total = np.concatenate([np.asarray(adata.X.sum(axis=1), dtype=np.float64).ravel() for adata in sections])
    target = common_target(sections)
    values = _estimate(decoder, unit.counts, total, graph, table)
    values *= target
    np.log1p(values, out=values)
    var = table[table["written"]].set_index("gene")[["gain", "gain_se", "structure", "structure_se", "verdict"]]
    spots = ad.AnnData(_rounded(values), obs=spot_table(unit.samples, unit.section, unit.barcodes), var=var)
    spots.var_names.name = None
    spots.obsm[_keys.SPATIAL] = np.concatenate([np.asarray(adata.obsm[_keys.SPATIAL]) for adata in sections])
    spots.uns[_keys.UNS] = {"X": ABOUT_X, "target_sum": target}
    return spots


def _estimate(
    decoder: Decoder, counts: sp.csr_matrix, total: NDArray[np.float64], graph: Graph, table: pd.DataFrame
) -> NDArray[np.float32]:
    """Return the shares of the genes that are written in all molecules, of which each spot has ``total``, (N, W)."""
    source = Source.of(counts, graph)
    # Modelled genes are a part of the molecules; how large a part, the neighbourhood tells better than the spot.
    part = source.pooled / np.maximum(graph @ total, 1e-9)
    weights = table[[f"weight_{name}" for name in COMPONENTS]].to_numpy().T
    written = np.flatnonzero(table["written"])
    values = np.empty((len(total), len(written)), dtype=np.float32)
    for some in gene_blocks(len(total), len(written)):
        genes = written[some]
        values[:, some] = part[:, None] * mixed(components(decoder, source, genes), weights[:, genes])
    return values


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round to :data:`MANTISSA_BITS` bits of mantissa of the 23 there are."""
    dropped = 23 - MANTISSA_BITS
    bits = values.view(np.uint32)
    return ((bits + np.uint32(1 << (dropped - 1))) >> dropped << dropped).view(np.float32)


def _facts(table: pd.DataFrame, messages: list[dict[str, str]]) -> dict[str, Any]:
    told = table[table["judged"]]
    names = ("enhanced", *COMPARED, "mean")
    ratio = {name: told["deviance_enhanced"] / told[f"deviance_{name}"] for name in (*COMPARED, "mean")}
    counted = told["verdict"].value_counts()
    n = {verdict: int(counted.get(verdict, 0)) for verdict in (BETTER, WORSE, UNDECIDED)}
    if n[BETTER] <= n[WORSE]:
        text = (
            f"de-noising is shown to be better for {n[BETTER]} and worse for {n[WORSE]} of the {len(told)} genes with "
            "enough held-out molecules: look at genes as they are, or smoothed"
        )
        messages.append({"level": "warning", "text": text})
    columns = ["gene", "gain", "gain_se", "structure", "verdict", *(f"correlation_{name}" for name in names[:-1])]
    ordered = told.sort_values(["gain", "gene"], ascending=[False, True])
    return {
        "n_genes": len(table),
        "n_written": int(table["written"].sum()),
        "n_judged": len(told),
        "min_held_out": MIN_HELD_OUT,
        "min_blocks": MIN_BLOCKS,
        "verdicts": n,
        "median_deviance": {name: _median(told[f"deviance_{name}"]) for name in names},
        "median_ratio": {name: _median(values) for name, values in ratio.items()},
        "median_gain": _median(told["gain"]),
        "median_correlation": {name: _median(told[f"correlation_{name}"]) for name in names[:-1]},
        "mean_weight": {name: float(table[f"weight_{name}"].mean()) for name in COMPONENTS},
        "most": ordered[ordered["verdict"] == BETTER][columns].head(LISTED).to_dict("records"),
        "least": ordered[columns].tail(LISTED).iloc[::-1].to_dict("records"),
        "gains": told["gain"].to_numpy().round(4),
        "held_out": told["held_out"].to_numpy(),
    }


def _median(values: pd.Series[float]) -> float | None:
    """Return the median, ``None`` of no values."""
    return float(values.median()) if len(values) else None
