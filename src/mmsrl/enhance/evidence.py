"""Count splitting: weights from one part of the molecules, the judgement from another. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl.enhance.estimators import (
    COMPONENTS,
    SHRINKAGE,
    UNSEEN,
    Decoder,
    Source,
    components,
    correlation,
    deviance,
    gene_blocks,
    mixed,
    mixing_weights,
    shrunk_deviances,
)
from mmsrl.enhance.verdict import Saved, enough, saved, verdicts
from mmsrl.graph import Graph, pooled_graph, rows_of

Float = NDArray[np.floating[Any]]

COMPARED = ("raw", "normalised", "smoothed")
"""The counts themselves; divided by the spot's library; pooled over the neighbourhood."""

SHARES = (0.5, 0.25, 0.25)
"""Of the molecules: what estimates are made from, what weights are chosen by, and what all is judged on."""

WIDTHS = (0.7, 1.0, 1.4, 2.0, 2.8)
"""Of the neighbourhood whose counts are pooled that are tried, in spot pitches."""

WIDTH_GENES = 1000
"""Genes that choose the width: those with the most molecules."""


class Evidence(NamedTuple):
    """What the parts say."""

    table: pd.DataFrame
    """A row a gene: ``held_out`` molecules; ``deviance_<estimate>`` on them and ``correlation_<estimate>`` with their
    shares, for ``enhanced``, ``raw``, ``normalised``, ``smoothed`` and ``mean``; ``weight_<component>``; ``gain`` and
    ``structure`` with their standard errors, ``judged`` and ``verdict``."""
    shrinkage: dict[str, float]
    """Share of the gene's mean that serves each estimate compared with best."""


class Pooling(NamedTuple):
    """A neighbourhood whose counts are pooled."""

    width: float
    """Of the Gaussian, in spot pitches."""
    graph: Graph
    """(n, n), rows sum to 1."""


def choose_pooling(
    coordinates: Sequence[Float], fit: sp.csr_matrix, choose: sp.csr_matrix, spots: NDArray[np.int64]
) -> Pooling:
    """Return the neighbourhood of :data:`WIDTHS` whose pooled counts of ``fit`` predict ``choose`` best.

    Parameters
    ----------
    coordinates
        Of each section, (n_s, 2), in spot pitches.
    fit
        Part of the counts, (n, G).
    choose
        Another part, (m, G), of the spots that are predicted.
    spots
        (m,), which these are.
    """
    total = np.asarray(choose.sum(axis=0)).ravel()
    genes = np.sort(np.argsort(-total, kind="stable")[:WIDTH_GENES])
    made, chosen = sp.csc_matrix(fit)[:, genes], sp.csc_matrix(choose)[:, genes]
    library = np.asarray(fit.sum(axis=1), dtype=np.float64).ravel()
    of_spot = np.asarray(choose.sum(axis=1), dtype=np.float64).ravel()
    mean = (np.asarray(made.sum(axis=0)).ravel() + UNSEEN) / max(library.sum(), 1.0)
    everywhere = sp.csr_matrix(np.ones((1, len(spots))))
    best, least = None, np.inf
    for width in WIDTHS:
        graph = pooled_graph(coordinates, width)
        rows = rows_of(graph, spots)
        scale = (of_spot / np.maximum(rows @ library, 1e-9))[:, None]
        left = np.zeros(len(SHRINKAGE))
        for some in gene_blocks(len(library), len(genes)):
            pooled = (rows @ made[:, some].toarray()) * scale
            left += shrunk_deviances(chosen[:, some], pooled, np.outer(of_spot, mean[some]), everywhere).sum(
                axis=(1, 2)
            )
        if best is None or left.min() < least:
            best, least = Pooling(width, graph), left.min()
    assert best is not None
    return best


def judge(
    decoder: Decoder, source: Source, choose: sp.csr_matrix, held: sp.csr_matrix, blocks: sp.csr_matrix
) -> Evidence:
    """Judge the mixture and the estimates it is compared with on molecules that neither has seen.

    The estimates compared with are mixed with the gene's mean, by the share that serves each best on the very molecules
    they are judged on: they are given an advantage, since unmixed they predict 0 and lose by any distance.

    Parameters
    ----------
    decoder
        Fitted to the counts of the source, at the m spots.
    source
        What the estimates of m spots are made from.
    choose, held
        Other parts of the counts of these spots, (m, G).
    blocks
        (K, m), see :func:`mmsrl.enhance.verdict.tissue_blocks`.
    """
    chosen, judged = (sp.csc_matrix(part) for part in (choose, held))
    library_chosen, of_spot = (np.asarray(part.sum(axis=1), dtype=np.float64).ravel() for part in (chosen, judged))
    columns: dict[str, list[Float]] = {}
    by_block: dict[str, list[Float]] = {}
    for genes in gene_blocks(source.counts.shape[0], judged.shape[1]):
        shares = components(decoder, source, genes)
        weights = mixing_weights(shares, chosen[:, genes], library_chosen)
        counts = judged[:, genes]
        seen = counts.toarray() / np.maximum(of_spot, 1.0)[:, None]
        own = source.own[:, genes].toarray().astype(np.float64)
        estimates = {"enhanced": mixed(shares, weights), "raw": own, "normalised": shares[2], "smoothed": shares[1]}
        found = {f"correlation_{name}": correlation(values, seen) for name, values in estimates.items()}
        found |= {f"weight_{name}": weight for name, weight in zip(COMPONENTS, weights, strict=True)}
        for name, values in found.items():
            columns.setdefault(name, []).append(values)
        for name, values in _deviances(estimates, shares[3], counts, of_spot, source.library.sum(), blocks).items():
            by_block.setdefault(name, []).append(values.astype(np.float32))
    left = {name: np.concatenate(parts, axis=-1).astype(np.float64) for name, parts in by_block.items()}
    shrinkage = {}
    for name in COMPARED:
        choice = int(left[name].sum(axis=(1, 2)).argmin())
        shrinkage[name], left[name] = SHRINKAGE[choice], left[name][choice]
    found = {"held_out": np.asarray(judged.sum(axis=0)).ravel()}
    found |= {f"deviance_{name}": values.sum(axis=0) for name, values in left.items()}
    found |= {name: np.concatenate(parts) for name, parts in columns.items()}
    table = pd.DataFrame(found | _judgement(left, enough(judged, blocks)))
    return Evidence(table.astype({"held_out": np.int64}), shrinkage)


def _deviances(
    estimates: Mapping[str, Float],
    mean: Float,
    counts: sp.csc_matrix,
    of_spot: Float,
    molecules: float,
    blocks: sp.csr_matrix,
) -> dict[str, Float]:
    """Return deviances by block, (K, B); of those compared with by how much of the mean they are mixed with, first.

    ``of_spot``: molecules held out by spot, (n,); ``molecules``: of all spots that the estimates are made from.
    """
    level = mean * of_spot[:, None]
    expected = {name: values * of_spot[:, None] for name, values in estimates.items()}
    scale = of_spot.sum() / max(molecules, 1.0)
    expected["raw"] = estimates["raw"] * scale
    flat = np.broadcast_to(scale * (estimates["raw"].sum(axis=0) + UNSEEN) / len(level), level.shape)
    result = {
        "enhanced": deviance(counts, expected["enhanced"], blocks),
        "mean": deviance(counts, level, blocks),
    }
    for name in COMPARED:
        other = flat if name == "raw" else level
        result[name] = shrunk_deviances(counts, expected[name], other, blocks)
    return result


def _judgement(left: Mapping[str, Float], judged: NDArray[np.bool_]) -> dict[str, Any]:
    """Return what follows from the deviances by block, (K, G) each, for each gene."""
    against = {name: saved(left["enhanced"], left[name]) for name in ("normalised", "smoothed", "mean")}
    harder = left["smoothed"].sum(axis=0) < left["normalised"].sum(axis=0)
    gain = Saved(*(np.where(harder, *pair) for pair in zip(against["smoothed"], against["normalised"], strict=True)))
    return {
        "gain": gain.share,
        "gain_se": gain.error,
        "structure": against["mean"].share,
        "structure_se": against["mean"].error,
        "judged": judged,
        "verdict": verdicts(list(against.values()), len(left["mean"]), judged),
    }
