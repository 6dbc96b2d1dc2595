"""How far the members of an ensemble agree on the order of the spots."""

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
"""Of an embedding, (n, d), and the spots asked for, (n,): the part of the graph of neighbours to order, (n,), and its
points in diffusion distance, (m, k); ``None`` where that part is too small to have an order."""

SPOTS = 4_000
"""Spots whose order members are compared by at most; of more, so many are drawn."""

SURE = 0.8
"""Share of the members, and correlation with them, below which an order is said not to be sure."""

NAMED = 5
"""Pairs of domains that a message names."""


class Agreement(NamedTuple):
    """What other embeddings make of the order of one."""

    correlation: list[float]
    """Spearman's, of each member's pseudotime with the given one; 0 where it has none."""
    pairs: list[dict[str, Any]]
    """``first``, ``then`` (domains, by the medians of the given pseudotime) and ``share`` of the members that have the
    two in this order."""


def agreement(
    members: Sequence[NDArray[Any]],
    time: Float,
    domain: NDArray[np.int64],
    names: list[str],
    candidates: NDArray[np.bool_],
    diffuse: Diffuse,
    seed: int,
) -> Agreement:
    """Find pseudotime anew on every member, and compare it with the given one.

    Members differ in what nothing in the data decides (normalisation, graph, bandwidth): an order on which they differ
    is made by that choice. They are of the same counts, so that agreeing does not mean that new counts would agree.

    Parameters
    ----------
    members
        Embeddings, (n, d) each, of the spots that have a pseudotime.
    time
        (n,), the given pseudotime.
    domain, names
        (n,), positions in the names of the domains.
    candidates
        (n,), spots that a root was asked among; none: every member runs from that end of its own longest way that
        fits the given order better, as the direction is not known.
    diffuse
        How the given one was found.
    seed
        Of the spots that are drawn.
    """
    kept = drawn(candidates, SPOTS, seed)
    time, domain, candidates = time[kept], domain[kept], candidates[kept]
    known = [k for k in range(len(names)) if (domain == k).any()]
    given = _medians(time, domain, known)
    correlation, same_order = [], []
    for member in members:
        found = _order(member[kept], time, candidates, diffuse)
        has = np.isfinite(found)
        correlation.append(float(spearmanr(found[has], time[has]).statistic) if has.any() else 0.0)
        medians = _medians(found, domain, known)
        same_order.append(np.sign(medians[:, None] - medians) == np.sign(given[:, None] - given))
    share = np.mean(same_order, axis=0)
    first = np.argsort(given, kind="stable")
    pairs = [
        {"first": names[known[i]], "then": names[known[j]], "share": float(share[i, j])}
        for at, i in enumerate(first)
        for j in first[at + 1 :]
    ]
    return Agreement(correlation, pairs)


def unsure_pairs(found: Agreement) -> list[dict[str, Any]]:
    """Return the pairs of domains whose order fewer than :data:`SURE` of the members have, the least sure first."""
    return sorted((pair for pair in found.pairs if pair["share"] < SURE), key=lambda pair: pair["share"])


def doubted(found: Agreement) -> list[str]:
    """Say what of an order is not sure, a clause each; none where all of it is."""
    n, low = len(found.correlation), unsure_pairs(found)
    doubts = [
        f"domain {pair['first']} comes before domain {pair['then']} in only {pair['share'] * n:.0f} of {n} members"
        for pair in low[:NAMED]
    ]
    if len(low) > NAMED:
        doubts.append(f"{len(low) - NAMED} more pairs of domains are no surer")
    if np.median(found.correlation) < SURE:
        doubts.append(f"pseudotimes of the members correlate with it by {np.median(found.correlation):.2f}, the median")
    return doubts


def _order(embedding: NDArray[Any], time: Float, candidates: NDArray[np.bool_], diffuse: Diffuse) -> Float:
    """Return the ranks of pseudotime on one embedding, (n,); NaN at spots that are not connected with the root."""
    inside, points = diffuse(embedding, candidates)
    found = np.full(len(embedding), np.nan)
    if points is None:
        return found
    starts = [tip(points, candidates[inside])] if candidates.any() else ends(points)
    tried = [ranks(pseudotime(points, start)) for start in starts]
    found[inside] = max(tried, key=lambda order: spearmanr(order, time[inside]).statistic)
    return found


def _medians(time: Float, domain: NDArray[np.int64], known: list[int]) -> Float:
    """Return the median time of each known domain; NaN, which is before and after none, where it has no time."""
    own = [time[(domain == k) & np.isfinite(time)] for k in known]
    return np.array([np.median(values) if len(values) else np.nan for values in own])
