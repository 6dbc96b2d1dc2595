"""Agreement of the members of an ensemble on the order of spots."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mmsrl.trajectory.landmarks import drawn
from mmsrl.trajectory.root import ends, pseudotime, ranks, tip

Float = NDArray[np.float64]

Diffuse = Callable[[NDArray[Any], NDArray[np.bool_]], tuple[NDArray[np.bool_], Float | None]]
"""Function of an embedding, (n, d), and a mask of root candidates, (n,). It returns the mask of the component to order,
(n,), and its scaled diffusion components, (m, k), or ``None`` if that component is too small."""

SPOTS = 4_000
"""Maximum number of spots to compare orders on. Larger units are subsampled."""

SURE = 0.8
"""Minimum fraction of agreeing members, and minimum correlation with them, of a stable order."""

NAMED = 5
"""Maximum number of pairs of domains in a message."""


class Agreement(NamedTuple):
    """Agreement of the other embeddings with a given order."""

    correlation: list[float]
    """Spearman's correlation of the pseudotime of each member with the given one. 0 if it has none."""
    pairs: list[dict[str, Any]]
    """``first``, ``then`` (domains by median of the given pseudotime) and ``share``, the fraction of members that agree
    on this order."""


def agreement(
    members: Sequence[NDArray[Any]],
    time: Float,
    domain: NDArray[np.int64],
    names: list[str],
    candidates: NDArray[np.bool_],
    diffuse: Diffuse,
    seed: int,
) -> Agreement:
    """Compute pseudotime on every member, and compare it with the given one.

    Members differ in choices that the data do not decide: normalisation, graph and bandwidth. An order on which they
    disagree depends on these choices. They share their counts, so their agreement does not mean that new counts would
    agree.

    Parameters
    ----------
    members
        Embeddings of the spots with a pseudotime, (n, d) each.
    time
        Given pseudotime, (n,).
    domain, names
        Domain of each spot as an index of ``names``, (n,).
    candidates
        Mask of root candidates, (n,). If there are none, the direction is unknown: every member starts at the end of
        its longest diffusion distance that fits the given order better.
    diffuse
        Function that computes diffusion components.
    seed
        Random seed of the subsample.
    """
    kept = drawn(candidates, SPOTS, seed)
    time, domain, candidates = time[kept], domain[kept], candidates[kept]
    known = [k for k in range(len(names)) if (domain == k).any()]
    given = _medians(time, domain, known)
    correlation, same_order = [], []
    for member in members:
        order = _order(member[kept], time, candidates, diffuse)
        ordered = np.isfinite(order)
        correlation.append(float(spearmanr(order[ordered], time[ordered]).statistic) if ordered.any() else 0.0)
        medians = _medians(order, domain, known)
        same_order.append(np.sign(medians[:, None] - medians) == np.sign(given[:, None] - given))
    share = np.mean(same_order, axis=0)
    first = np.argsort(given, kind="stable")
    pairs = [
        {"first": names[known[i]], "then": names[known[j]], "share": float(share[i, j])}
        for at, i in enumerate(first)
        for j in first[at + 1 :]
    ]
    return Agreement(correlation, pairs)


def unsure_pairs(result: Agreement) -> list[dict[str, Any]]:
    """Return the pairs of domains whose order fewer than :data:`SURE` of the members share, least stable first."""
    return sorted((pair for pair in result.pairs if pair["share"] < SURE), key=lambda pair: pair["share"])


def doubted(result: Agreement) -> list[str]:
    """Describe what is unstable in an order, as one clause each. Empty for a stable order."""
    n, unstable = len(result.correlation), unsure_pairs(result)
    doubts = [
        f"domain {pair['first']} comes before domain {pair['then']} in only {pair['share'] * n:.0f} of {n} members"
        for pair in unstable[:NAMED]
    ]
    if len(unstable) > NAMED:
        doubts.append(f"{len(unstable) - NAMED} more pairs of domains are as uncertain")
    if np.median(result.correlation) < SURE:
        doubts.append(f"the median correlation of the members with this order is {np.median(result.correlation):.2f}")
    return doubts


def _order(embedding: NDArray[Any], time: Float, candidates: NDArray[np.bool_], diffuse: Diffuse) -> Float:
    """Return pseudotime ranks on one embedding, (n,). NaN for spots that are not connected to the root."""
    inside, points = diffuse(embedding, candidates)
    order_of_spots = np.full(len(embedding), np.nan)
    if points is None:
        return order_of_spots
    starts = [tip(points, candidates[inside])] if candidates.any() else ends(points)
    tried = [ranks(pseudotime(points, start)) for start in starts]
    order_of_spots[inside] = max(tried, key=lambda order: spearmanr(order, time[inside]).statistic)
    return order_of_spots


def _medians(time: Float, domain: NDArray[np.int64], known: list[int]) -> Float:
    """Return the median time of each domain of ``known``. NaN without times."""
    times = [time[(domain == k) & np.isfinite(time)] for k in known]
    return np.array([np.median(values) if len(values) else np.nan for values in times])
