"""De-noise the expression of a unit, and judge the result on held-out counts."""

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
"""Maximum number of spots for weights and verdicts. A random subset is used beyond."""

MAX_VALUES = 20_000_000
"""Maximum number of de-noised values that are written by default: 80 MB of memory."""

MANTISSA_BITS = 10
"""Bits of the mantissa of de-noised values, a precision of 0.05 %. More bits are noise and do not compress."""

LISTED = 12
"""Number of genes that the summary names, with the largest and the smallest gain each."""

ABOUT_X = "natural logarithm of 1 + de-noised counts scaled to target_sum per spot"


class Enhancement(NamedTuple):
    """De-noised expression of a unit."""

    spots: ad.AnnData
    """Spots × written genes. ``X``: float32, log1p of de-noised counts on the scale of the assembled files. ``obs``:
    ``sample``, ``barcode``. ``var``: ``gain``, ``gain_se``, ``structure``, ``structure_se``, ``verdict``.
    ``obsm['spatial']``. ``layers['published_mean']`` for a published preset."""
    genes: pd.DataFrame
    """:attr:`mmsrl.enhance.evidence.Evidence.table` with the columns ``gene`` and ``written``."""
    facts: dict[str, Any]
    """Summary of the enhancement."""
    messages: list[dict[str, str]]
    """Warnings and notes for the user: ``level`` and ``text``."""


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
    """De-noise the modelled genes, and judge on held-out counts which genes improve.

    De-noised expression is a mixture of four estimates, with weights per gene: a linear decoder of the embedding,
    counts pooled over the neighbourhood, the counts of the spot, and the mean of the gene. The weights come from count
    splitting. Half of the molecules yield a new embedding and decoder, a quarter yields the weights by maximum
    likelihood, and the last quarter is held out and judges the result. The final estimates use all molecules.

    Parameters
    ----------
    data
        Sections of one unit, as :func:`mmsrl.train.api.train` takes them, in memory. With ``model``, also
        ``obsm['X_mmsrl']``, or ``obsm['latent']`` for a published preset.
    model
        :attr:`mmsrl.train.api.Training.model`, which sets the genes. A model of ``default`` also sets the embedding.
        For a published preset, counts are de-noised with a new embedding of ``default``, and the enhanced expression
        of the published model is added. ``None``: a new embedding of ``default``.
    n_top_genes
        Number of genes to model without ``model``. ``None``: set by ``default``.
    n_enhanced_genes
        Number of genes to return, in decreasing order of ``structure``. ``None``: the genes that de-noising improves,
        up to :data:`MAX_VALUES` values.
    enhanced_genes
        One gene or several genes to return instead. Genes that were not modelled are named in a message.
    batch_correction
        Correct a new embedding for the batch key (the section).
    seed
        Random seed of the count splitting and of the new embeddings.

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
    choosing, held_out = (_columns(sections, [part[i] for part in parts], half.genes)[spots] for i in (1, 2))
    del parts, halves
    if len(spots) < len(unit.section):
        text = f"weights and verdicts of genes are computed on a random subset of {len(spots):,} spots"
        messages.append({"level": "info", "text": text})
    pooling = choose_pooling(unit.coordinates, half.counts, choosing, spots)
    decoder = Decoder.fit(_embedding(half, settings, seed, batch_correction), half.counts)
    blocks = tissue_blocks(unit.coordinates)[:, spots]
    source = Source.of(half.counts, pooling.graph, spots)
    evidence = judge(decoder.at(spots), source, choosing, held_out, blocks)
    table = evidence.table.assign(gene=half.genes).set_index("gene").loc[unit.genes].reset_index()

    requested = [enhanced_genes] if isinstance(enhanced_genes, str) else enhanced_genes or ()
    table["written"] = table["gene"].isin(_select(table, len(unit.section), n_enhanced_genes, requested, messages))
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


def _select(
    table: pd.DataFrame, n_spots: int, number: int | None, requested: Sequence[str], messages: list[dict[str, str]]
) -> pd.Series[str]:
    """Return the genes to write.

    These are the requested genes if at least one was modelled, else ``number`` genes with the most structure, else the
    genes that de-noising improves.
    """
    modelled = table["gene"][table["gene"].isin(requested)]
    missing = sorted(set(requested) - set(modelled))
    if missing:
        shown = ", ".join(missing[:LISTED]) + (" and others" if len(missing) > LISTED else "")
        text = f"enhanced_genes: {shown} not among the {len(table)} modelled genes"
        text += "" if len(modelled) else "; as none is, the list is ignored"
        messages.append({"level": "warning", "text": text})
    if len(modelled):
        return modelled
    eligible = table if number else table[table["verdict"] == BETTER]
    ordered = eligible.sort_values(["structure", "gene"], ascending=[False, True])["gene"]
    selected = ordered.head(number or max(MAX_VALUES // n_spots, 1))
    if len(selected) < len(table):
        which = "with the most spatial structure" if number else "that de-noising improves on held-out molecules"
        text = (
            f"{len(selected)} of {len(table)} modelled genes are written: those {which} "
            "(--n_enhanced_genes sets their number, --enhanced_genes names genes)"
        )
        messages.append({"level": "info", "text": text})
    return selected


def _embedding(unit: Unit, settings: Default, seed: int, correct: bool) -> NDArray[np.float32]:
    """Compute the embedding of the preset ``default``, (N, d)."""
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
    """Return the section with other counts."""
    return ad.AnnData(counts, obs=adata.obs, var=adata.var, obsm=dict(adata.obsm), uns=dict(adata.uns))


def _columns(sections: Sequence[ad.AnnData], counts: Sequence[sp.csr_matrix], genes: list[str]) -> sp.csr_matrix:
    """Return the counts of ``genes`` of all sections, stacked: (N, G)."""
    columns = [names.get_indexer(pd.Index(genes)) for names in gene_names(sections)]
    parts = [part[:, chosen] for chosen, part in zip(columns, counts, strict=True)]
    return sp.csr_matrix(sp.vstack(parts, format="csr", dtype=np.float32))


def _spots(
    sections: Sequence[ad.AnnData], unit: Unit, decoder: Decoder, graph: Graph, table: pd.DataFrame
) -> ad.AnnData:
    """Return the de-noised expression of the written genes as AnnData."""
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
    """Return the de-noised fractions of the ``total`` molecules of each spot for the W written genes, (N, W)."""
    source = Source.of(counts, graph)
    # Fraction of all molecules that belong to modelled genes. The neighbourhood estimates it better than the spot.
    modelled_fraction = source.pooled / np.maximum(graph @ total, 1e-9)
    weights = table[[f"weight_{name}" for name in COMPONENTS]].to_numpy().T
    written = np.flatnonzero(table["written"])
    values = np.empty((len(total), len(written)), dtype=np.float32)
    for some in gene_blocks(len(total), len(written)):
        genes = written[some]
        values[:, some] = modelled_fraction[:, None] * mixed(components(decoder, source, genes), weights[:, genes])
    return values


def _rounded(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round float32 values to :data:`MANTISSA_BITS` of 23 bits of the mantissa."""
    dropped = 23 - MANTISSA_BITS
    bits = values.view(np.uint32)
    return ((bits + np.uint32(1 << (dropped - 1))) >> dropped << dropped).view(np.float32)


def _facts(table: pd.DataFrame, messages: list[dict[str, str]]) -> dict[str, Any]:
    """Return the summary of the judged genes, and warn if de-noising does not help."""
    judged = table[table["judged"]]
    names = ("enhanced", *COMPARED, "mean")
    ratio = {name: judged["deviance_enhanced"] / judged[f"deviance_{name}"] for name in (*COMPARED, "mean")}
    counted = judged["verdict"].value_counts()
    n = {verdict: int(counted.get(verdict, 0)) for verdict in (BETTER, WORSE, UNDECIDED)}
    if n[BETTER] <= n[WORSE]:
        text = (
            f"of {len(judged)} genes with enough held-out molecules, de-noising improves {n[BETTER]} and worsens "
            f"{n[WORSE]}: use normalised or smoothed expression"
        )
        messages.append({"level": "warning", "text": text})
    columns = ["gene", "gain", "gain_se", "structure", "verdict", *(f"correlation_{name}" for name in names[:-1])]
    ordered = judged.sort_values(["gain", "gene"], ascending=[False, True])
    return {
        "n_genes": len(table),
        "n_written": int(table["written"].sum()),
        "n_judged": len(judged),
        "min_held_out": MIN_HELD_OUT,
        "min_blocks": MIN_BLOCKS,
        "verdicts": n,
        "median_deviance": {name: _median(judged[f"deviance_{name}"]) for name in names},
        "median_ratio": {name: _median(values) for name, values in ratio.items()},
        "median_gain": _median(judged["gain"]),
        "median_correlation": {name: _median(judged[f"correlation_{name}"]) for name in names[:-1]},
        "mean_weight": {name: float(table[f"weight_{name}"].mean()) for name in COMPONENTS},
        "most": ordered[ordered["verdict"] == BETTER][columns].head(LISTED).to_dict("records"),
        "least": ordered[columns].tail(LISTED).iloc[::-1].to_dict("records"),
        "gains": judged["gain"].to_numpy().round(4),
        "held_out": judged["held_out"].to_numpy(),
    }


def _median(values: pd.Series[float]) -> float | None:
    """Return the median, or ``None`` without values."""
    return float(values.median()) if len(values) else None
