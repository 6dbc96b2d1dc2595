"""Data series of the figures of domains and genes, as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import igraph
import numpy as np
import numpy.typing as npt
import pandas as pd

from mmsrl import _keys

Float = npt.NDArray[np.float64]

MOST_GENES = 1500
"""Maximum number of points in a figure of genes: the third with the most molecules, then an even selection."""

FEW = "too few molecules"
"""Verdict on a gene with too few held-out molecules."""

PRIOR = 0.5
"""Pseudocount added to observed and expected contacts."""


class Order(NamedTuple):
    """Distribution of the pseudotime rank in a domain."""

    domain: str
    quantiles: tuple[float, float, float, float, float]
    """Quantiles at 5, 25, 50, 75 and 95 %."""


class Trend(NamedTuple):
    """Fitted expression along pseudotime."""

    genes: list[str]
    """(G,), sorted by the position of the peak."""
    grid: Float
    """(T,): pseudotime rank."""
    curves: Float
    """(G, T): molecules per 10,000, or values of expression that was normalised before."""
    scaled: Float
    """(G, T): the curves scaled per gene from 0 (minimum) to 1 (maximum)."""
    counted: bool = True
    """Whether the curves are in molecules."""


class Adjoining(NamedTuple):
    """Contacts between the domains of a section."""

    names: list[str]
    """(K,)."""
    log2_ratio: Float
    """(K, K): log2 ratio of observed to expected contacts."""
    cells: list[list[str]]
    """(K, K): ratio as a short text."""
    words: list[list[str]]
    """(K, K): observed and expected contacts as a sentence."""


def domain_graph(
    names: Sequence[str], edges: Sequence[Mapping[str, Any]], order: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Lay out the graph of domains and rotate it so that pseudotime runs from left to right.

    The layout of Kamada and Kawai (1989) gives weak edges a large length.

    Parameters
    ----------
    names
        Domains.
    edges
        ``one``, ``other`` and ``connectivity``.
    order
        Pseudotime by domain. Domains without pseudotime do not affect the rotation.

    Returns
    -------
    Coordinates x and y between -1 and 1 by domain.
    """
    at = {name: index for index, name in enumerate(names)}
    graph = igraph.Graph(len(names), [(at[edge["one"]], at[edge["other"]]) for edge in edges])
    lengths = [1 / (0.2 + float(edge["connectivity"])) for edge in edges]
    places = np.asarray(graph.layout_kamada_kawai(weights=lengths if lengths else None).coords, dtype=np.float64)
    places -= places.mean(axis=0)
    known = [name for name in names if name in order]
    if len(known) > 1:
        time = np.array([order[name] for name in known])
        toward = (time - time.mean()) @ places[[at[name] for name in known]]
        length = float(np.linalg.norm(toward))
        if length > 1e-9:
            c, s = toward / length
            places = places @ np.array([[c, -s], [s, c]])
    places /= np.maximum(np.abs(places).max(axis=0), 1e-9)
    return {name: (float(x), float(y)) for name, (x, y) in zip(names, places.round(4), strict=True)}


def pseudotime_order(domains: Sequence[str], pseudotime: Float) -> list[Order]:
    """Return the pseudotime ranks of each domain, sorted by median; domains without pseudotime are left out."""
    table = pd.DataFrame({"domain": list(domains), "time": pseudotime}).dropna()
    orders = [
        Order(str(domain), tuple(np.quantile(ranks, [0.05, 0.25, 0.5, 0.75, 0.95]).round(4).tolist()))
        for domain, ranks in table.groupby("domain", sort=True)["time"]
    ]
    return sorted(orders, key=lambda order: order.quantiles[2])


def gene_trends(result: Mapping[str, Any]) -> Trend | None:
    """Return the fitted curves of the genes that change along pseudotime; ``None`` without such genes.

    Parameters
    ----------
    result
        Result of ``<unit>.trajectory.json`` with ``grid``, ``genes`` and ``curves``.
    """
    genes = [row["gene"] for row in result.get("genes", [])]
    if not genes:
        return None
    curves = np.array([result["curves"][gene] for gene in genes], dtype=np.float64)
    low, high = curves.min(axis=1, keepdims=True), curves.max(axis=1, keepdims=True)
    scaled = (curves - low) / np.maximum(high - low, 1e-12)
    # Sort by the centre of the upper half of each curve, because many genes peak at the very start or end.
    weight = np.maximum(scaled - 0.5, 0)
    middle = (weight * np.arange(curves.shape[1])).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    rows = np.argsort(middle, kind="stable")
    grid = np.asarray(result["grid"], np.float64)
    counted = result.get("expression", _keys.COUNTS) == _keys.COUNTS
    return Trend([genes[row] for row in rows], grid, curves[rows], scaled[rows], counted)


def adjoining_domains(rows: Sequence[Mapping[str, Any]]) -> Adjoining | None:
    """Return observed and expected contacts between domains; ``None`` for a single domain.

    Parameters
    ----------
    rows
        Rows of one section with ``domain``, ``neighbour``, ``contacts``, ``expected`` and ``z``.
    """
    names = list(dict.fromkeys(str(row["domain"]) for row in rows))
    if len(names) < 2:
        return None
    at = {name: index for index, name in enumerate(names)}
    ratio = np.zeros((len(names), len(names)))
    cells, words = ([[""] * len(names) for _ in names] for _ in range(2))
    for row in rows:
        one, other = at[str(row["domain"])], at[str(row["neighbour"])]
        times = (row["contacts"] + PRIOR) / (row["expected"] + PRIOR)
        ratio[one, other] = np.log2(times)
        cells[one][other] = "<.01" if times < 0.01 else f"{times:.2f}"[1:] if times < 0.995 else f"{times:.2g}"
        z = "" if row["z"] is None else f", z {row['z']:+.1f}"
        pair = f"{row['domain']} and {row['neighbour']}"
        words[one][other] = f"{pair}: {row['contacts']:,.0f} contacts, {row['expected']:,.0f} expected{z}"
    return Adjoining(names, ratio, cells, words)


def judged_genes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the share of held-out deviance that de-noised expression saves, by gene.

    Parameters
    ----------
    table
        Table ``<unit>.enhanced_genes.tsv``.

    Returns
    -------
    Columns ``gene``, ``held_out``, the shares ``over_normalised``, ``over_smoothed`` and ``gain`` (over the better of
    the two), ``gain_se``, ``verdict`` (:func:`mmsrl.enhance.verdict.verdicts`, or :data:`FEW`) and ``written``. Genes
    with a verdict come first, sorted by gain. Genes without held-out molecules are left out.
    """
    held_out = table[table["held_out"] > 0]
    columns = {
        "gene": held_out["gene"],
        "held_out": held_out["held_out"].astype(np.int64),
        **{
            f"over_{name}": 1 - held_out["deviance_enhanced"] / np.maximum(held_out[f"deviance_{name}"], 1e-12)
            for name in ("normalised", "smoothed")
        },
        "gain": held_out["gain"],
        "gain_se": held_out["gain_se"],
        "verdict": np.where(held_out["judged"].astype(bool), held_out["verdict"], FEW),
        "written": held_out["written"].astype(bool),
        "few": ~held_out["judged"].astype(bool),
    }
    ordered = pd.DataFrame(columns).sort_values(["few", "gain", "gene"], ascending=[True, False, True])
    return ordered.drop(columns="few").reset_index(drop=True)


def drawn_genes(table: pd.DataFrame) -> pd.DataFrame:
    """Select the genes of a figure: the genes with the most molecules and an even selection of the others."""
    ordered = table.sort_values(["held_out", "gene"], ascending=[False, True], ignore_index=True)
    if len(ordered) <= MOST_GENES:
        return ordered
    first = MOST_GENES // 3
    others = np.linspace(first, len(ordered) - 1, MOST_GENES - first).round().astype(int)
    return ordered.iloc[np.unique(np.concatenate([np.arange(first), others]))]
