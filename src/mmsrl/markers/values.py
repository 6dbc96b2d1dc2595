"""Effects of domains on normalised values, with confidence intervals. Arrays only.

Normalised values cannot be split into training and held-out counts, and the domains were found from them. There are
therefore no p-values.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import t

from mmsrl.markers.domain_means import membership, shares
from mmsrl.markers.folds import LEVEL
from mmsrl.markers.spatial import moran_weights

Float = NDArray[np.float64]

LEAST_EFFECT = 0.5
"""Minimum lower confidence limit of the effect of a marker, in standard deviations."""

SPECIFIC_EFFECT = 0.5
"""Minimum effect of a specific marker over the next domain, in standard deviations."""

COLUMNS = [
    *("domain", "gene", "effect", "effect_low", "effect_high", "effect_next", "log2_fold_change"),
    *("mean", "share", "share_elsewhere", "marker", "specific"),
]

FEWEST_BLOCKS = 4
"""Minimum number of tissue blocks with the domain, and with others, for a confidence interval."""


class Effects(NamedTuple):
    """Each domain against all others in the same section: (K, G), NaN if no section has both."""

    effect: Float
    """Difference of means in standard deviations of the gene within sections."""
    low: Float
    """95 % confidence interval. NaN if the domain or its surroundings cover fewer than :data:`FEWEST_BLOCKS` blocks."""
    high: Float
    effect_next: Float
    """The effect over the other domain with the highest expression, among domains that share a section."""
    log2: Float
    """log2 ratio of the means. NaN if values are negative or a mean is 0."""


class _Sums(NamedTuple):
    """Sums of values by tissue block and domain."""

    values: Float
    """(B, K, G)."""
    spots: Float
    """(B, K)."""
    in_section: Float
    """(S, B): 1 if the block belongs to the section."""

    def without(self, block: int) -> _Sums:
        """Return the sums without one block."""
        values, spots = np.delete(self.values, block, axis=0), np.delete(self.spots, block, axis=0)
        return _Sums(values, spots, np.delete(self.in_section, block, axis=1))

    def by_section(self) -> tuple[Float, Float]:
        """Return sums by section and domain: of values, (S, K, G), and numbers of spots, (S, K, 1)."""
        return np.tensordot(self.in_section, self.values, 1), (self.in_section @ self.spots)[:, :, None]


def effects(
    values: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    n_domains: int,
    blocks: NDArray[np.int64],
) -> Effects:
    """Compare means of normalised values between domains, within sections.

    Differences are averaged over sections, weighted by precision. Confidence intervals use Student's t with a jackknife
    standard error over tissue blocks, because neighbouring spots are correlated. The degrees of freedom are the number
    of blocks with the domain, or with other domains if lower, minus one.

    Parameters
    ----------
    values
        Linear or standardised values, (n, G).
    section, domain, blocks
        Indices of section, domain and tissue block of each spot, (n,), from 0. A block lies in one section.
    n_domains
        Number of domains K.
    """
    block_sums = _sums(values, section, domain, n_domains, blocks)
    total, number = block_sums.by_section()
    square = _sum_of_squares(values)
    of_section = total.sum(axis=1)
    variance = (square - (of_section**2 / np.maximum(number.sum(axis=1), 1.0)).sum(axis=0)) / len(domain)
    # Constant genes have rounding errors only.
    deviation = np.sqrt(np.where(variance > 1e-10 * square / len(domain), variance, np.nan))
    inside, elsewhere = _beside_others(total, number)
    effect = (inside - elsewhere) / deviation
    reach = _reach(block_sums, number) / deviation
    log2 = np.full_like(effect, np.nan)
    if values.data.min(initial=0.0) >= 0:
        np.log2(np.divide(inside, elsewhere, out=log2, where=(inside > 0) & (elsewhere > 0)), out=log2)
    return Effects(effect, effect - reach, effect + reach, _over_next(total, number) / deviation, log2)


def _sums(
    values: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    n_domains: int,
    blocks: NDArray[np.int64],
) -> _Sums:
    n_blocks = int(blocks.max()) + 1
    member = membership(blocks * n_domains + domain, n_blocks * n_domains)
    in_section = np.zeros((int(section.max()) + 1, n_blocks))
    in_section[section, blocks] = 1.0
    return _Sums(
        np.asarray((member @ values).todense(), dtype=np.float64).reshape(n_blocks, n_domains, -1),
        np.asarray(member.sum(axis=1)).reshape(n_blocks, n_domains),
        in_section,
    )


def _sum_of_squares(values: sp.csr_matrix) -> Float:
    """Return the sum of squares of every gene, (G,), in double precision to keep small differences."""
    squares = np.bincount(values.indices, values.data.astype(np.float64) ** 2, minlength=values.shape[1])
    return squares.astype(np.float64)


def _means(one: Float, n_one: Float, other: Float, n_other: Float) -> tuple[Float, Float]:
    """Return the means of two groups of spots over sections that have both, (K, G) each. NaN if none has.

    Parameters
    ----------
    one, other
        Sums of values, (S, K, G).
    n_one, n_other
        Numbers of spots, (S, K, 1).
    """
    weight = n_one * n_other / np.maximum(n_one + n_other, 1.0)
    whole = weight.sum(axis=0)
    share = np.divide(weight, whole, out=np.full_like(weight, np.nan), where=whole > 0)
    inside, outside = ((share * part / np.maximum(n, 1.0)).sum(axis=0) for part, n in ((one, n_one), (other, n_other)))
    return inside, outside


def _beside_others(total: Float, number: Float) -> tuple[Float, Float]:
    """Return the mean in each domain and elsewhere in the same sections, (K, G) each."""
    return _means(total, number, total.sum(axis=1, keepdims=True) - total, number.sum(axis=1, keepdims=True) - number)


def _over_next(total: Float, number: Float) -> Float:
    """Return the smallest difference from any other domain, (K, G)."""
    result = np.full(total.shape[1:], np.nan)
    for k in range(len(result)):
        inside, others = _means(total[:, [k]], number[:, [k]], total, number)
        differences = np.delete(inside - others, k, axis=0)
        result[k] = np.fmin.reduce(differences, axis=0)  # ignores NaN
    return result


def _reach(block_sums: _Sums, number: Float) -> Float:
    """Return half the width of the confidence interval of each difference, (K, G)."""
    both = (number[:, :, 0] > 0) & (number.sum(axis=1) > number[:, :, 0])
    compared = block_sums.in_section.T @ both > 0
    having = compared & (block_sums.spots > 0)
    lacking = compared & (block_sums.spots.sum(axis=1, keepdims=True) > block_sums.spots)
    fewest = np.minimum(having.sum(axis=0), lacking.sum(axis=0))
    estimable = np.flatnonzero(fewest >= FEWEST_BLOCKS)
    reach = np.full(block_sums.values.shape[1:], np.nan)
    if not len(estimable):
        return reach
    pairs = (_beside_others(*block_sums.without(b).by_section()) for b in range(len(block_sums.spots)))
    jackknife = np.stack([(inside - elsewhere)[estimable] for inside, elsewhere in pairs])
    used = compared[:, estimable, None]
    count = used.sum(axis=0)
    away = np.where(used, jackknife - jackknife.mean(axis=0, where=used), 0.0)
    error = np.sqrt((away**2).sum(axis=0) * (count - 1) / count)
    reach[estimable] = t.ppf(0.5 + LEVEL / 2.0, fewest[estimable] - 1)[:, None] * error
    return reach


def effect_table(
    estimates: Effects, values: sp.csr_matrix, domain: NDArray[np.int64], names: list[str], genes: list[str]
) -> pd.DataFrame:
    """Return one row for each domain and gene, with :data:`COLUMNS`, by decreasing effect within domains.

    Standardised values have no ``share``.
    """
    n_domains = len(names)
    member = membership(domain, n_domains)
    spots = np.bincount(domain, minlength=n_domains).astype(np.float64)[:, None]
    mean = np.asarray((member @ values).todense(), dtype=np.float64) / spots
    share, elsewhere = shares(values, member)
    if values.data.size and values.data.min() < 0:
        share = elsewhere = np.full_like(mean, np.nan)
    marker = estimates.low >= LEAST_EFFECT
    specific = marker & (estimates.effect_next >= SPECIFIC_EFFECT)
    k, g = (index.ravel() for index in np.indices(mean.shape))
    table = pd.DataFrame({"domain": np.asarray(names, dtype=object)[k], "gene": np.asarray(genes, dtype=object)[g]})
    columns = [*estimates, mean, share, elsewhere, marker, specific]
    table = table.assign(**{name: column[k, g] for name, column in zip(COLUMNS[2:], columns, strict=True)})
    finite = np.isfinite(table["effect"].to_numpy())
    order = np.lexsort((table["gene"], -table["effect"], k))
    result: pd.DataFrame = table.iloc[order[finite[order]]].reset_index(drop=True)
    return result


def morans_i_of_values(values: sp.csr_matrix, graph: sp.csr_matrix) -> Float:
    """Compute Moran's I of every gene, (G,), with the weights of :func:`moran_weights`. NaN for constant genes.

    Parameters
    ----------
    values
        Values, (n, G).
    graph
        Binary adjacency matrix, (n, n), symmetric, without diagonal.
    """
    n = values.shape[0]
    weights = moran_weights(graph)
    around = np.asarray(weights.sum(axis=1)).ravel()
    mean = np.asarray(values.mean(axis=0), dtype=np.float64).ravel()
    product = np.asarray(values.multiply(weights @ values).sum(axis=0), dtype=np.float64).ravel()
    cross = product - 2.0 * mean * np.asarray(values.T @ around).ravel() + mean**2 * around.sum()
    square = _sum_of_squares(values) - n * mean**2
    varies = square > 1e-10 * np.maximum(n * mean**2, 1e-12)
    return np.where(varies, n / max(around.sum(), 1e-12) * cross / np.where(varies, square, 1.0), np.nan)
