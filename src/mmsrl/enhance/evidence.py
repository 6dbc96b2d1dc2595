"""Count splitting: weights from one part of the molecules, the judgement from another. Arrays only."""

from __future__ import annotations

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
    components,
    correlation,
    deviance,
    mixed,
    mixing_weights,
)

Float = NDArray[np.floating[Any]]

COMPARED = ("raw", "normalised", "smoothed")
"""The counts themselves; divided by the spot's library; pooled over the neighbourhood."""

SHARES = (0.5, 0.25, 0.25)
"""Of the molecules: what estimates are made from, what weights are chosen by, and what all is judged on."""

BLOCK = 256
"""Genes at a time."""


class Evidence(NamedTuple):
    """What the parts say."""

    table: pd.DataFrame
    """A row a gene: ``held_out`` molecules; ``deviance_<estimate>`` on them and ``correlation_<estimate>`` with their
    shares, for ``enhanced``, ``raw``, ``normalised``, ``smoothed`` and ``mean``; ``weight_<component>``."""
    shrinkage: dict[str, float]
    """Share of the gene's mean that serves each estimate compared with best."""


def judge(
    decoder: Decoder, fit: sp.csr_matrix, choose: sp.csr_matrix, held: sp.csr_matrix, graph: sp.csr_matrix
) -> Evidence:
    """Judge the mixture and the estimates it is compared with on molecules that neither has seen.

    The estimates compared with are mixed with the gene's mean, by the share that serves each best on the very molecules
    they are judged on: they are given an advantage, since unmixed they predict 0 and lose by any distance.

    Parameters
    ----------
    decoder
        Fitted to ``fit``.
    fit, choose, held
        Parts of the counts, (n, G).
    graph
        (n, n), rows sum to 1.
    """
    made, chosen, judged = (sp.csc_matrix(part) for part in (fit, choose, held))
    n_genes = made.shape[1]
    library, library_chosen, library_judged = (
        np.asarray(part.sum(axis=1), dtype=np.float64).ravel() for part in (made, chosen, judged)
    )
    ratio = library_judged.sum() / max(library.sum(), 1.0)
    columns: dict[str, list[Float]] = {}
    shrunk: dict[str, list[Float]] = {name: [] for name in COMPARED}

    def note(name: str, values: Float) -> None:
        columns.setdefault(name, []).append(values)

    for start in range(0, n_genes, BLOCK):
        genes = slice(start, min(start + BLOCK, n_genes))
        shares = components(decoder, made, graph, library, genes)
        weights = mixing_weights(shares, chosen[:, genes], library_chosen)
        counts = judged[:, genes]
        dense = np.asarray(counts.todense(), dtype=np.float64)
        seen = dense / np.maximum(library_judged, 1.0)[:, None]
        own = np.asarray(made[:, genes].todense(), dtype=np.float64)
        enhanced, mean = mixed(shares, weights), shares[3]
        of_spot = library_judged[:, None]
        expected = {
            "raw": own * ratio,
            "normalised": shares[2] * of_spot,
            "smoothed": shares[1] * of_spot,
        }
        average = {"raw": np.broadcast_to((own.sum(axis=0) + UNSEEN) / len(own) * ratio, own.shape)}
        note("held_out", dense.sum(axis=0))
        note("deviance_enhanced", deviance(counts, enhanced * of_spot))
        note("deviance_mean", deviance(counts, mean * of_spot))
        for name in COMPARED:
            level = average.get(name, mean * of_spot)
            tried = [deviance(counts, (1 - a) * expected[name] + a * level) for a in SHRINKAGE]
            shrunk[name].append(np.stack(tried))
        estimates = {"enhanced": enhanced, "raw": own, "normalised": shares[2], "smoothed": shares[1]}
        for name, values in estimates.items():
            note(f"correlation_{name}", correlation(values, seen))
        for name, weight in zip(COMPONENTS, weights, strict=True):
            note(f"weight_{name}", weight)
    table = pd.DataFrame({name: np.concatenate(parts) for name, parts in columns.items()})
    best = {}
    for name in COMPARED:
        by_share = np.concatenate(shrunk[name], axis=1)
        choice = int(by_share.sum(axis=1).argmin())
        best[name] = SHRINKAGE[choice]
        table[f"deviance_{name}"] = by_share[choice]
    return Evidence(table, best)
