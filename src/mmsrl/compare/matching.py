"""Matching of the domains of two units by mutually most similar expression profiles. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

GENES = 1_000
"""Maximum number of compared genes, by their chi-square statistic between domains. More genes add noise."""

DRAWS = 200
"""Number of bootstrap draws of tissue regions."""

PRIOR = 20.0
"""Mean number of pseudocounts per gene, distributed as the mean of the unit. They shrink log ratios of small domains.
"""


class Matches(NamedTuple):
    """Match of every domain of one unit: all (K,)."""

    matched: NDArray[np.int64]
    """Domain of the other unit. -1 without a counterpart."""
    similarity: Float
    """Correlation of the profiles with the counterpart, or with the most similar domain."""
    certainty: Float
    """Fraction of bootstrap draws in which the two domains are mutually most similar. NaN if a unit has one region
    only, because every draw would then be the same."""


def match(one: Float, other: Float, seed: int = 0, certain: float = 0.5) -> Matches:
    """Match the domains of two units that are mutually most similar.

    A profile is log expression of a domain minus the mean over domains of the unit, which removes differences between
    units. The certainty of a pair comes from bootstrap draws of tissue regions in both units.

    Parameters
    ----------
    one, other
        Counts by region of tissue, domain and gene, (R, K, G) and (R', K', G), over the same genes.
    seed
        Random seed of the bootstrap.
    certain
        Minimum certainty of a match.
    """
    genes = _telling_genes(one.sum(axis=0), other.sum(axis=0))
    one, other = one[..., genes], other[..., genes]
    similarity = _similarity(one.sum(axis=0), other.sum(axis=0))
    best = similarity.argmax(axis=1)
    random = np.random.default_rng(seed)
    mutual = np.zeros(similarity.shape)
    for _ in range(DRAWS):
        drawn = [_redrawn(unit, random) for unit in (one, other)]
        mutual += _mutual(_similarity(*drawn))
    certainty = (mutual / DRAWS)[np.arange(len(best)), best]
    if min(len(one), len(other)) < 2:
        certainty = np.full(len(best), np.nan)
    paired = _mutual(similarity)[np.arange(len(best)), best] & ~(certainty < certain)
    return Matches(np.where(paired, best, -1), similarity.max(axis=1), certainty)


def _telling_genes(one: Float, other: Float) -> NDArray[np.int64]:
    """Return the genes with the highest chi-square statistic between domains in both units, ascending."""
    evidence = np.minimum(*(_chi_square(unit) for unit in (one, other)))
    return np.sort(np.argsort(-evidence, kind="stable")[:GENES])


def _chi_square(molecules: Float) -> Float:
    """Return the chi-square statistic of each gene, (G,), for equal shares of counts in all domains, (K, G)."""
    expected = np.outer(molecules.sum(axis=1), molecules.sum(axis=0)) / max(molecules.sum(), 1.0)
    return np.asarray(((molecules - expected) ** 2 / np.maximum(expected, 1e-12)).sum(axis=0))


def _profiles(molecules: Float) -> Float:
    """Return centred log expression of domains from counts, (K, G)."""
    total = molecules.sum(axis=1, keepdims=True)
    mean_rate = molecules.sum(axis=0) / max(molecules.sum(), 1.0)
    prior = PRIOR * mean_rate * len(mean_rate)
    logs = np.log((molecules + prior + 1e-12) / (total + PRIOR * len(mean_rate)))
    return np.asarray(logs - logs.mean(axis=0))


def _similarity(one: Float, other: Float) -> Float:
    """Return the correlation of every domain of ``one`` with every domain of ``other``, (K, K')."""
    a, b = (_profiles(unit) for unit in (one, other))
    a, b = (values - values.mean(axis=1, keepdims=True) for values in (a, b))
    lengths = np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    return np.asarray(np.divide(a @ b.T, lengths, out=np.zeros((len(a), len(b))), where=lengths > 0))


def _mutual(similarity: Float) -> NDArray[np.bool_]:
    """Return the mask of mutually most similar pairs with positive similarity, (K, K')."""
    rows = np.arange(len(similarity))
    best = similarity.argmax(axis=1)
    result = np.zeros(similarity.shape, dtype=bool)
    result[rows, best] = (similarity.argmax(axis=0)[best] == rows) & (similarity[rows, best] > 0)
    return result


def _redrawn(regional: Float, random: np.random.Generator) -> Float:
    """Return counts by domain, (K, G), of a bootstrap draw of regions."""
    n = len(regional)
    times = random.multinomial(n, np.full(n, 1.0 / n)).astype(np.float64)
    return np.asarray(np.tensordot(times, regional, axes=1))
