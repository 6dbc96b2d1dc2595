"""What figures of domains and genes show, as arrays: the same numbers for the report and for figures elsewhere."""

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
"""Points that a figure of genes has at most; beyond a third of them, genes are thinned evenly by molecules."""

FEW = "too few molecules"
"""What is said of a gene of which too few molecules were held out for a verdict."""

PRIOR = 0.5
"""Contacts added to observed and expected ones, so that none at all is a number too."""


class Order(NamedTuple):
    """Ranks of pseudotime in a domain."""

    domain: str
    quantiles: tuple[float, float, float, float, float]
    """At 5, 25, 50, 75 and 95 %."""


class Trend(NamedTuple):
    """Genes along pseudotime."""

    genes: list[str]
    """(G,), those with the earliest peak first."""
    grid: Float
    """(T,): rank of pseudotime."""
    curves: Float
    """(G, T): molecules of the gene in 10,000 of the spot, or its values where these were normalised before."""
    scaled: Float
    """(G, T): the same, each gene from 0, its lowest, to 1, its highest."""
    counted: bool = True
    """Whether curves are of molecules."""


class Adjoining(NamedTuple):
    """How often domains adjoin each other in one section."""

    names: list[str]
    """(K,)."""
    log2_ratio: Float
    """(K, K): contacts over those expected by chance."""
    cells: list[list[str]]
    """(K, K): the ratio, as short as a cell wants it."""
    words: list[list[str]]
    """(K, K): contacts, and those expected, in words."""


def domain_graph(
    names: Sequence[str], edges: Sequence[Mapping[str, Any]], order: Mapping[str, float]
) -> dict[str, tuple[float, float]]:
    """Place domains so that connected ones are close, and turn the whole so that pseudotime runs from left to right.

    Kamada and Kawai (1989), where a connection is as long as it is weak.

    Parameters
    ----------
    names
        Of the domains.
    edges
        ``one``, ``other``, ``connectivity``.
    order
        Pseudotime by domain; those without one do not count for the turn.

    Returns
    -------
    x and y between -1 and 1 by domain.
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
    """Return ranks of pseudotime by domain, domains by their median; those without any are left out."""
    table = pd.DataFrame({"domain": list(domains), "time": pseudotime}).dropna()
    found = [
        Order(str(domain), tuple(np.quantile(own, [0.05, 0.25, 0.5, 0.75, 0.95]).round(4).tolist()))
        for domain, own in table.groupby("domain", sort=True)["time"]
    ]
    return sorted(found, key=lambda order: order.quantiles[2])


def gene_trends(result: Mapping[str, Any]) -> Trend | None:
    """Return the genes that follow pseudotime best, with their curves; ``None`` where there are none.

    Parameters
    ----------
    result
        Of ``<unit>.trajectory.json``: ``grid``, ``genes`` and ``curves``.
    """
    genes = [row["gene"] for row in result.get("genes", [])]
    if not genes:
        return None
    curves = np.array([result["curves"][gene] for gene in genes], dtype=np.float64)
    low, high = curves.min(axis=1, keepdims=True), curves.max(axis=1, keepdims=True)
    scaled = (curves - low) / np.maximum(high - low, 1e-12)
    # By the middle of what lies above a half, as many a gene peaks at the very beginning or end.
    weight = np.maximum(scaled - 0.5, 0)
    middle = (weight * np.arange(curves.shape[1])).sum(axis=1) / np.maximum(weight.sum(axis=1), 1e-12)
    rows = np.argsort(middle, kind="stable")
    grid = np.asarray(result["grid"], np.float64)
    counted = result.get("expression", _keys.COUNTS) == _keys.COUNTS
    return Trend([genes[row] for row in rows], grid, curves[rows], scaled[rows], counted)


def adjoining_domains(rows: Sequence[Mapping[str, Any]]) -> Adjoining | None:
    """Return how often domains adjoin, compared with chance; ``None`` where there is one domain only.

    Parameters
    ----------
    rows
        ``domain``, ``neighbour``, ``contacts``, ``expected`` and ``z``, of one section.
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
    """Return for each gene how much deviance enhanced expression saves on molecules held out.

    Parameters
    ----------
    table
        ``<unit>.enhanced_genes.tsv``.

    Returns
    -------
    ``gene``, ``held_out``, ``over_normalised``, ``over_smoothed`` and ``gain`` (over the better of the two) as shares,
    ``gain_se``, ``verdict`` (:func:`mmsrl.enhance.verdict.verdicts`, or :data:`FEW`) and ``written``; those with a
    verdict come first, and of them those that gain most. Genes without held-out molecules are left out.
    """
    told = table[table["held_out"] > 0]
    columns = {
        "gene": told["gene"],
        "held_out": told["held_out"].astype(np.int64),
        **{
            f"over_{name}": 1 - told["deviance_enhanced"] / np.maximum(told[f"deviance_{name}"], 1e-12)
            for name in ("normalised", "smoothed")
        },
        "gain": told["gain"],
        "gain_se": told["gain_se"],
        "verdict": np.where(told["judged"].astype(bool), told["verdict"], FEW),
        "written": told["written"].astype(bool),
        "few": ~told["judged"].astype(bool),
    }
    ordered = pd.DataFrame(columns).sort_values(["few", "gain", "gene"], ascending=[True, False, True])
    return ordered.drop(columns="few").reset_index(drop=True)


def drawn_genes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the genes that a figure draws: those with the most molecules, and of the others evenly many."""
    ordered = table.sort_values(["held_out", "gene"], ascending=[False, True], ignore_index=True)
    if len(ordered) <= MOST_GENES:
        return ordered
    first = MOST_GENES // 3
    others = np.linspace(first, len(ordered) - 1, MOST_GENES - first).round().astype(int)
    return ordered.iloc[np.unique(np.concatenate([np.arange(first), others]))]
