"""De-noised expression of a unit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._device import choose_device
from mmsrl._errors import InputError
from mmsrl._sections import in_pitches, sample_names, spot_table
from mmsrl._thinning import split_counts
from mmsrl.enhance.estimators import COMPONENTS, Decoder, components, mixed
from mmsrl.enhance.evidence import BLOCK, COMPARED, SHARES, judge
from mmsrl.graph import block_diagonal, plain_graph
from mmsrl.train.api import stack
from mmsrl.train.fit import fit, memory_errors
from mmsrl.train.presets import Default
from mmsrl.train.unit import Unit, build

POOLED_WIDTH = 1.0
"""Width of the neighbourhood whose counts are pooled, in spot pitches."""

MAX_VALUES = 20_000_000
"""De-noised values that are written if nothing is asked for: 80 MB of memory."""

PER = 1e4
"""De-noised values are molecules per so many of the spot."""

LISTED = 12
"""Genes named in the summary, of those that gain and of those that do not."""


class Enhancement(NamedTuple):
    """De-noised expression of a unit."""

    spots: ad.AnnData
    """``X``: float32, spots × genes, expected molecules per 10,000 of the spot's; ``obs``: ``sample``,
    ``barcode``; ``var``: ``gain``, ``helped``."""
    genes: pd.DataFrame
    """:attr:`mmsrl.enhance.evidence.Evidence.table` with ``gene``, ``gain`` (share of the deviance that the better of
    normalised and smoothed expression leaves, and that enhanced expression does not), ``structure`` (the same over the
    gene's mean), ``helped`` (both above 0) and ``written``."""
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
    device: str = "auto",
) -> Enhancement:
    """De-noise the modelled genes, and show on counts held out for which of them it helps.

    A gene's expression at a spot is a mixture of what the decoder says, of the counts pooled over the neighbourhood, of
    the spot's own, and of the gene's mean. The weights are the gene's own: the model is trained anew on half of the
    molecules, the weights are those that make a further quarter likeliest, and the last quarter is the judge. With
    these weights the estimates made from all molecules are mixed.

    Parameters
    ----------
    data
        Sections of one unit, as :func:`mmsrl.train.api.train` takes them, in memory; with ``model`` also
        ``obsm['X_mmsrl']``.
    model
        :attr:`mmsrl.train.api.Training.model` of the preset ``default``. Without it, or with the model of another
        preset, which has no decoder of counts, ``default`` is trained here.
    n_top_genes
        Genes to model where it is trained here; what ``default`` says if not given.
    n_enhanced_genes
        Genes to return, those that gain most over their mean first; as many as :data:`MAX_VALUES` hold if not given.
    enhanced_genes
        Genes, or one gene, to return instead; those that were not modelled are said in a message.
    batch_correction
        As in training.
    seed
        Of the split and the training.
    device
        ``auto``, ``cpu`` or ``cuda``.

    Raises
    ------
    InputError
        If the sections do not belong to the model, or lack its embedding.
    """
    sections = [data] if isinstance(data, ad.AnnData) else list(data)
    place = torch.device(choose_device(device))
    messages: list[dict[str, str]] = []
    ours = model is not None and model["preset"] == "default" and "scale" in model["state"]
    if model is not None and not ours:
        text = f"preset {model['preset']} has no decoder of counts here: expression is de-noised by that of default"
        messages.append({"level": "info", "text": text})
    if ours:
        assert model is not None
        settings = Default(**model["settings"])
        unit = stack(sections, settings.n_top_genes, model["genes"])
        z = _embedding(sections, model["state"]["scale"].shape[0])
        decoder = _decoder(torch.as_tensor(z), model["state"])
    else:
        settings = Default()
        unit = stack(sections, n_top_genes or settings.n_top_genes)
        decoder = _trained(unit, settings, seed, batch_correction, place)
    graph = block_diagonal([plain_graph(in_pitches(adata), POOLED_WIDTH) for adata in sections])

    parts = [split_counts(sp.csr_matrix(adata.X), SHARES, seed + i) for i, adata in enumerate(sections)]
    halves = [_with_counts(adata, part[0]) for adata, part in zip(sections, parts, strict=True)]
    half = stack(halves, settings.n_top_genes, unit.genes)
    of_half = _trained(half, settings, seed, batch_correction, place)
    choose, held = (_columns(sections, [part[i] for part in parts], half.genes) for i in (1, 2))
    evidence = judge(of_half, half.counts, choose, held, graph)
    table = _table(evidence.table.assign(gene=half.genes), unit.genes)

    asked = [enhanced_genes] if isinstance(enhanced_genes, str) else enhanced_genes or ()
    number = n_enhanced_genes or max(MAX_VALUES // len(unit.section), 1)
    table["written"] = table["gene"].isin(_written(table, number, asked, messages))
    total = np.concatenate([np.asarray(adata.X.sum(axis=1), dtype=np.float64).ravel() for adata in sections])
    values = _estimate(decoder, unit, total, graph, table)
    obs = spot_table(unit.samples, unit.section, unit.barcodes)
    spots = ad.AnnData(values, obs=obs, var=table[table["written"]].set_index("gene")[["gain", "helped"]])
    spots.var_names.name = None
    facts = _facts(table, evidence.shrinkage, values, messages)
    return Enhancement(spots, table, facts, messages)


def _written(table: pd.DataFrame, number: int, asked: Sequence[str], messages: list[dict[str, str]]) -> pd.Series[str]:
    """Return the genes to write: those asked for, where any of them was modelled, else so many that gain most."""
    wanted = table["gene"][table["gene"].isin(asked)]
    missing = sorted(set(asked) - set(wanted))
    if missing:
        shown = ", ".join(missing[:LISTED]) + (" and others" if len(missing) > LISTED else "")
        text = f"enhanced_genes: {shown} not among the {len(table)} genes that were modelled"
        text += "" if len(wanted) else "; as none is, genes are written as without the list"
        messages.append({"level": "warning", "text": text})
    if len(wanted):
        return wanted
    written = table.sort_values(["structure", "gene"], ascending=[False, True])["gene"].head(number)
    if len(written) < len(table):
        text = (
            f"of {len(table)} modelled genes the {len(written)} are written that gain most over their mean "
            "(--n_enhanced_genes asks for another number, --enhanced_genes for genes)"
        )
        messages.append({"level": "info", "text": text})
    return written


def _trained(unit: Unit, settings: Default, seed: int, correct: bool, device: torch.device) -> Decoder:
    """Fit the default model to a unit, and return its decoder."""
    block = 512
    with memory_errors(block):
        model, _, chosen, _ = build(
            unit, settings, seed=seed, correct=correct, ensemble=False, block=block, device=device
        )
        fit(
            model,
            epochs=chosen.epochs,
            learning_rate=chosen.learning_rate,
            weight_decay=chosen.weight_decay,
            seed=seed,
            show_progress=False,
        )
    return _decoder(model.embedding().float().cpu(), model.state_dict())


def _embedding(sections: Sequence[ad.AnnData], width: int) -> NDArray[np.float32]:
    """Return the embedding of the stacked spots, (N, d), which must be as wide as the model's."""
    for name, adata in zip(sample_names(sections), sections, strict=True):
        if _keys.EMBEDDING not in adata.obsm or adata.obsm[_keys.EMBEDDING].shape[1] != width:
            raise InputError(
                f"sample {name}: the model goes with obsm['{_keys.EMBEDDING}'] of {width} columns, as its training "
                "wrote it"
            )
    return np.concatenate([np.asarray(adata.obsm[_keys.EMBEDDING], dtype=np.float32) for adata in sections])


def _decoder(z: torch.Tensor, state: Mapping[str, torch.Tensor]) -> Decoder:
    weight, bias, scale = (state[name].float().cpu() for name in ("decoder.weight", "decoder.bias", "scale"))
    return Decoder.of((z / scale).numpy(), weight.numpy(), bias.numpy())


def _with_counts(adata: ad.AnnData, counts: sp.csr_matrix) -> ad.AnnData:
    return ad.AnnData(counts, obs=adata.obs, var=adata.var[[]], obsm=dict(adata.obsm), uns=dict(adata.uns))


def _columns(sections: Sequence[ad.AnnData], counts: Sequence[sp.csr_matrix], genes: list[str]) -> sp.csr_matrix:
    parts = [part[:, adata.var_names.get_indexer(genes)] for adata, part in zip(sections, counts, strict=True)]
    return sp.csr_matrix(sp.vstack(parts, format="csr", dtype=np.float32))


def _table(found: pd.DataFrame, genes: list[str]) -> pd.DataFrame:
    """Return the evidence in the order of the genes, with what follows from it."""
    table = found.set_index("gene").loc[genes].reset_index()
    compared = np.minimum(table["deviance_normalised"], table["deviance_smoothed"])
    table["gain"] = 1 - table["deviance_enhanced"] / np.maximum(compared, 1e-12)
    table["structure"] = 1 - table["deviance_enhanced"] / np.maximum(table["deviance_mean"], 1e-12)
    table.loc[table["held_out"] == 0, ["gain", "structure"]] = 0.0
    table["helped"] = (table["gain"] > 0) & (table["structure"] > 0)
    return table


def _estimate(
    decoder: Decoder, unit: Unit, total: NDArray[np.float64], graph: sp.csr_matrix, table: pd.DataFrame
) -> NDArray[np.float32]:
    """Return de-noised expression of the genes that are written, from all molecules; ``total``: those of each spot."""
    counts = sp.csc_matrix(unit.counts)
    library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    # Modelled genes are a part of the molecules; how large a part, the neighbourhood tells better than the spot.
    part = (graph @ library) / np.maximum(graph @ total, 1e-9)
    weights = table[[f"weight_{name}" for name in COMPONENTS]].to_numpy().T
    written = table["written"].to_numpy()
    parts = []
    for start in range(0, counts.shape[1], BLOCK):
        genes = slice(start, min(start + BLOCK, counts.shape[1]))
        if written[genes].any():
            share = mixed(components(decoder, counts, graph, library, genes), weights[:, genes])
            parts.append((PER * part[:, None] * share[:, written[genes]]).astype(np.float32))
    return np.concatenate(parts, axis=1)


def _facts(
    table: pd.DataFrame, shrinkage: dict[str, float], values: NDArray[np.float32], messages: list[dict[str, str]]
) -> dict[str, Any]:
    told = table[table["held_out"] > 0]
    names = ("enhanced", *COMPARED, "mean")
    better = {
        name: float((told["deviance_enhanced"] < told[f"deviance_{name}"]).mean()) for name in (*COMPARED, "mean")
    }
    for name in ("normalised", "smoothed"):
        if better[name] <= 0.5:
            text = (
                f"enhanced expression predicts held-out counts worse than {name} expression for "
                f"{1 - better[name]:.0%} of the genes: column helped of the table says for which"
            )
            messages.append({"level": "warning", "text": text})
    columns = ["gene", "gain", "structure", *(f"correlation_{name}" for name in names[:-1])]
    ordered = told.sort_values(["gain", "gene"], ascending=[False, True])
    return {
        "n_genes": len(table),
        "n_written": int(table["written"].sum()),
        "bytes": int(values.nbytes),
        "better_than": better,
        "median_deviance": {name: float(told[f"deviance_{name}"].median()) for name in names},
        "median_ratio": {
            name: float((told["deviance_enhanced"] / told[f"deviance_{name}"]).median()) for name in (*COMPARED, "mean")
        },
        "median_gain": float(told["gain"].median()),
        "median_correlation": {name: float(told[f"correlation_{name}"].median()) for name in names[:-1]},
        "mean_weight": {name: float(table[f"weight_{name}"].mean()) for name in COMPONENTS},
        "shrinkage": shrinkage,
        "n_not_helped": int((~told["helped"]).sum()),
        "most": ordered[columns].head(LISTED).to_dict("records"),
        "least": ordered[columns].tail(LISTED).iloc[::-1].to_dict("records"),
        "gains": told["gain"].to_numpy().round(4),
        "held_out": told["held_out"].to_numpy(),
    }
