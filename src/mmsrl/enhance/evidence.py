"""Count splitting: weights from one part of the molecules, evaluation on another. Arrays only."""

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
"""Compared estimates: raw counts, counts divided by library size, counts pooled over the neighbourhood."""

SHARES = (0.5, 0.25, 0.25)
"""Fractions of the molecules for estimates, for weights and for evaluation."""

WIDTHS = (0.7, 1.0, 1.4, 2.0, 2.8)
"""Candidate bandwidths of the pooled neighbourhood in spot pitches."""

WIDTH_GENES = 1000
"""Number of genes, with the most molecules, that choose the bandwidth."""


class Evidence(NamedTuple):
    """Evaluation on held-out molecules."""

    table: pd.DataFrame
    """One row per gene: number of ``held_out`` molecules; ``deviance_<estimate>`` and ``correlation_<estimate>`` of
    ``enhanced``, ``raw``, ``normalised``, ``smoothed`` and ``mean``; ``weight_<component>``; ``gain`` and ``structure``
    with standard errors; ``judged`` and ``verdict``."""
    shrinkage: dict[str, float]
    """Best weight of the mean of the gene in each compared estimate."""


class Pooling(NamedTuple):
    """Neighbourhood over which counts are pooled."""

    width: float
    """Bandwidth of the Gaussian in spot pitches."""
    graph: Graph
    """(n, n), row-normalised."""


def choose_pooling(
    coordinates: Sequence[Float], fit: sp.csr_matrix, choose: sp.csr_matrix, spots: NDArray[np.int64]
) -> Pooling:
    """Choose the bandwidth of :data:`WIDTHS` with which pooled counts of one part predict another part best.

    Parameters
    ----------
    coordinates
        Coordinates of each section, (n_s, 2), in spot pitches.
    fit
        (n, G), counts to pool.
    choose
        (m, G), counts to predict.
    spots
        (m,), indices of the predicted spots.
    """
    total = np.asarray(choose.sum(axis=0)).ravel()
    genes = np.sort(np.argsort(-total, kind="stable")[:WIDTH_GENES])
    fitted, predicted = sp.csc_matrix(fit)[:, genes], sp.csc_matrix(choose)[:, genes]
    library = np.asarray(fit.sum(axis=1), dtype=np.float64).ravel()
    predicted_library = np.asarray(choose.sum(axis=1), dtype=np.float64).ravel()
    mean = (np.asarray(fitted.sum(axis=0)).ravel() + UNSEEN) / max(library.sum(), 1.0)
    everywhere = sp.csr_matrix(np.ones((1, len(spots))))
    best, lowest_deviance = None, np.inf
    for width in WIDTHS:
        graph = pooled_graph(coordinates, width)
        rows = rows_of(graph, spots)
        scale = (predicted_library / np.maximum(rows @ library, 1e-9))[:, None]
        deviances = np.zeros(len(SHRINKAGE))
        for some in gene_blocks(len(library), len(genes)):
            pooled = (rows @ fitted[:, some].toarray()) * scale
            level = np.outer(predicted_library, mean[some])
            deviances += shrunk_deviances(predicted[:, some], pooled, level, everywhere).sum(axis=(1, 2))
        if best is None or deviances.min() < lowest_deviance:
            best, lowest_deviance = Pooling(width, graph), deviances.min()
    assert best is not None
    return best


def judge(
    decoder: Decoder, source: Source, choose: sp.csr_matrix, held: sp.csr_matrix, blocks: sp.csr_matrix
) -> Evidence:
    """Evaluate the mixture and the compared estimates on held-out molecules.

    Each compared estimate is mixed with the mean of the gene, because predictions of 0 have unbounded deviances. The
    weight of the mean is the best one on the held-out molecules themselves, which favours the compared estimates.

    Parameters
    ----------
    decoder
        Decoder of the m spots, fitted to the counts of ``source``.
    source
        Counts for the estimates of the m spots.
    choose, held
        (m, G), further parts of the counts, for weights and for evaluation.
    blocks
        (K, m), from :func:`mmsrl.enhance.verdict.tissue_blocks`.
    """
    chosen, judged = (sp.csc_matrix(part) for part in (choose, held))
    chosen_library, judged_library = (
        np.asarray(part.sum(axis=1), dtype=np.float64).ravel() for part in (chosen, judged)
    )
    columns: dict[str, list[Float]] = {}
    by_block: dict[str, list[Float]] = {}
    for genes in gene_blocks(source.counts.shape[0], judged.shape[1]):
        shares = components(decoder, source, genes)
        weights = mixing_weights(shares, chosen[:, genes], chosen_library)
        counts = judged[:, genes]
        held_out_shares = counts.toarray() / np.maximum(judged_library, 1.0)[:, None]
        own = source.own[:, genes].toarray().astype(np.float64)
        estimates = {"enhanced": mixed(shares, weights), "raw": own, "normalised": shares[2], "smoothed": shares[1]}
        results = {f"correlation_{name}": correlation(values, held_out_shares) for name, values in estimates.items()}
        results |= {f"weight_{name}": weight for name, weight in zip(COMPONENTS, weights, strict=True)}
        for name, values in results.items():
            columns.setdefault(name, []).append(values)
        deviances = _deviances(estimates, shares[3], counts, judged_library, source.library.sum(), blocks)
        for name, values in deviances.items():
            by_block.setdefault(name, []).append(values.astype(np.float32))
    deviance_of = {name: np.concatenate(parts, axis=-1).astype(np.float64) for name, parts in by_block.items()}
    shrinkage = {}
    for name in COMPARED:
        choice = int(deviance_of[name].sum(axis=(1, 2)).argmin())
        shrinkage[name], deviance_of[name] = SHRINKAGE[choice], deviance_of[name][choice]
    results = {"held_out": np.asarray(judged.sum(axis=0)).ravel()}
    results |= {f"deviance_{name}": values.sum(axis=0) for name, values in deviance_of.items()}
    results |= {name: np.concatenate(parts) for name, parts in columns.items()}
    table = pd.DataFrame(results | _judgement(deviance_of, enough(judged, blocks)))
    return Evidence(table.astype({"held_out": np.int64}), shrinkage)


def _deviances(
    estimates: Mapping[str, Float],
    mean: Float,
    counts: sp.csc_matrix,
    held_out_library: Float,
    n_molecules: float,
    blocks: sp.csr_matrix,
) -> dict[str, Float]:
    """Return deviances by block of tissue.

    Parameters
    ----------
    held_out_library
        (n,), held-out molecules of each spot.
    n_molecules
        Number of molecules for the estimates.

    Returns
    -------
    (K, B) for ``enhanced`` and ``mean``, (S, K, B) over :data:`SHRINKAGE` for the compared estimates.
    """
    level = mean * held_out_library[:, None]
    expected = {name: values * held_out_library[:, None] for name, values in estimates.items()}
    scale = held_out_library.sum() / max(n_molecules, 1.0)
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


def _judgement(deviance_of: Mapping[str, Float], judged: NDArray[np.bool_]) -> dict[str, Any]:
    """Return gain, structure and verdict of each gene from the deviances by block, (K, G) each."""
    against = {name: saved(deviance_of["enhanced"], deviance_of[name]) for name in ("normalised", "smoothed", "mean")}
    smoothed_is_better = deviance_of["smoothed"].sum(axis=0) < deviance_of["normalised"].sum(axis=0)
    gain = Saved(
        *(np.where(smoothed_is_better, *pair) for pair in zip(against["smoothed"], against["normalised"], strict=True))
    )
    return {
        "gain": gain.share,
        "gain_se": gain.error,
        "structure": against["mean"].share,
        "structure_se": against["mean"].error,
        "judged": judged,
        "verdict": verdicts(list(against.values()), len(deviance_of["mean"]), judged),
    }
