"""Genes of domains where expression is values that were normalised before: effects with intervals. Arrays only.

Nothing can be held out of such values, and the domains were found from them, so that there is no p-value.
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
"""Standard deviations by which a gene is higher in a domain, by the lower end of the interval, where it is a marker."""

SPECIFIC_EFFECT = 0.5
"""Standard deviations over the domain that has most of it besides from which a marker is specific."""

COLUMNS = [
    *("domain", "gene", "effect", "effect_low", "effect_high", "effect_next", "log2_fold_change"),
    *("mean", "share", "share_elsewhere", "marker", "specific"),
]

FEWEST_BLOCKS = 4
"""Blocks of tissue with the domain, and with others, below which they tell no error, and no gene is a marker."""


class Effects(NamedTuple):
    """Each domain against all others in the same section; (K, G), NaN where no section has both."""

    effect: Float
    """Difference of the means in standard deviations of the gene within sections."""
    low: Float
    """Lower end of its interval; NaN where domain or elsewhere lies in fewer than :data:`FEWEST_BLOCKS` blocks."""
    high: Float
    effect_next: Float
    """The same over the domain that has most of the gene besides, among those that share a section with it."""
    log2: Float
    """log2 of the ratio of the means; NaN where values are negative or a mean is 0."""


class _Sums(NamedTuple):
    """Sums of values by block of tissue and domain."""

    values: Float
    """(B, K, G)."""
    spots: Float
    """(B, K)."""
    in_section: Float
    """(S, B): 1 where the block is of the section."""

    def without(self, block: int) -> _Sums:
        """Return those of all other blocks."""
        values, spots = np.delete(self.values, block, axis=0), np.delete(self.spots, block, axis=0)
        return _Sums(values, spots, np.delete(self.in_section, block, axis=1))

    def by_section(self) -> tuple[Float, Float]:
        """Return sums by section and domain: of values, (S, K, G), and of spots, (S, K, 1)."""
        return np.tensordot(self.in_section, self.values, 1), (self.in_section @ self.spots)[:, :, None]


def effects(
    values: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    n_domains: int,
    blocks: NDArray[np.int64],
) -> Effects:
    """Compare means of normalised values between domains, within sections.

    Sections are averaged by the precision of their differences. The interval is that of Student's t with the standard
    error of a jackknife that leaves out one block of tissue at a time, as spots side by side are alike; its degrees of
    freedom are one less than the blocks that have the domain, or those that have others if these are fewer.

    Parameters
    ----------
    values
        (n, G); linear or standardised (logarithms are undone before).
    section, domain, blocks
        (n,), from 0: section, domain and block of tissue of each spot; a block lies in one section.
    """
    found = _sums(values, section, domain, n_domains, blocks)
    total, number = found.by_section()
    square = _sum_of_squares(values)
    of_section = total.sum(axis=1)
    variance = (square - (of_section**2 / np.maximum(number.sum(axis=1), 1.0)).sum(axis=0)) / len(domain)
    # Of a gene that is the same everywhere rounding alone is left.
    deviation = np.sqrt(np.where(variance > 1e-10 * square / len(domain), variance, np.nan))
    inside, elsewhere = _beside_others(total, number)
    effect = (inside - elsewhere) / deviation
    reach = _reach(found, number) / deviation
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
    """Return the sum of the squares of every gene, (G,), in double precision: differences of such sums are small."""
    found = np.bincount(values.indices, values.data.astype(np.float64) ** 2, minlength=values.shape[1])
    return found.astype(np.float64)


def _means(one: Float, n_one: Float, other: Float, n_other: Float) -> tuple[Float, Float]:
    """Return the means of two groups of spots, over sections that have both; NaN where none has.

    Parameters
    ----------
    one, other
        (S, K, G): sums of values.
    n_one, n_other
        (S, K, 1): spots.

    Returns
    -------
    (K, G) each.
    """
    weight = n_one * n_other / np.maximum(n_one + n_other, 1.0)
    whole = weight.sum(axis=0)
    share = np.divide(weight, whole, out=np.full_like(weight, np.nan), where=whole > 0)
    inside, outside = ((share * part / np.maximum(n, 1.0)).sum(axis=0) for part, n in ((one, n_one), (other, n_other)))
    return inside, outside


def _beside_others(total: Float, number: Float) -> tuple[Float, Float]:
    """Return the mean in each domain and that elsewhere in the same sections, (K, G) each."""
    return _means(total, number, total.sum(axis=1, keepdims=True) - total, number.sum(axis=1, keepdims=True) - number)


def _over_next(total: Float, number: Float) -> Float:
    """Return the least difference from any one other domain, (K, G)."""
    result = np.full(total.shape[1:], np.nan)
    for k in range(len(result)):
        inside, others = _means(total[:, [k]], number[:, [k]], total, number)
        apart = np.delete(inside - others, k, axis=0)
        result[k] = np.fmin.reduce(apart, axis=0)  # passes over NaN
    return result


def _reach(found: _Sums, number: Float) -> Float:
    """Return half the width of the interval of each difference, (K, G)."""
    both = (number[:, :, 0] > 0) & (number.sum(axis=1) > number[:, :, 0])
    compared = found.in_section.T @ both > 0
    having = compared & (found.spots > 0)
    lacking = compared & (found.spots.sum(axis=1, keepdims=True) > found.spots)
    fewest = np.minimum(having.sum(axis=0), lacking.sum(axis=0))
    told = np.flatnonzero(fewest >= FEWEST_BLOCKS)
    reach = np.full(found.values.shape[1:], np.nan)
    if not len(told):
        return reach
    pairs = (_beside_others(*found.without(b).by_section()) for b in range(len(found.spots)))
    left_out = np.stack([(inside - elsewhere)[told] for inside, elsewhere in pairs])
    used = compared[:, told, None]
    count = used.sum(axis=0)
    away = np.where(used, left_out - left_out.mean(axis=0, where=used), 0.0)
    error = np.sqrt((away**2).sum(axis=0) * (count - 1) / count)
    reach[told] = t.ppf(0.5 + LEVEL / 2.0, fewest[told] - 1)[:, None] * error
    return reach


def effect_table(
    found: Effects, values: sp.csr_matrix, domain: NDArray[np.int64], names: list[str], genes: list[str]
) -> pd.DataFrame:
    """Return a row a domain and gene, in :data:`COLUMNS`, the largest effect of each domain first.

    Standardised values have no share of spots.
    """
    n_domains = len(names)
    member = membership(domain, n_domains)
    spots = np.bincount(domain, minlength=n_domains).astype(np.float64)[:, None]
    mean = np.asarray((member @ values).todense(), dtype=np.float64) / spots
    share, elsewhere = shares(values, member)
    if values.data.size and values.data.min() < 0:
        share = elsewhere = np.full_like(mean, np.nan)
    marker = found.low >= LEAST_EFFECT
    specific = marker & (found.effect_next >= SPECIFIC_EFFECT)
    k, g = (index.ravel() for index in np.indices(mean.shape))
    table = pd.DataFrame({"domain": np.asarray(names, dtype=object)[k], "gene": np.asarray(genes, dtype=object)[g]})
    columns = [*found, mean, share, elsewhere, marker, specific]
    table = table.assign(**{name: column[k, g] for name, column in zip(COLUMNS[2:], columns, strict=True)})
    kept = np.isfinite(table["effect"].to_numpy())
    order = np.lexsort((table["gene"], -table["effect"], k))
    result: pd.DataFrame = table.iloc[order[kept[order]]].reset_index(drop=True)
    return result


def morans_i_of_values(values: sp.csr_matrix, graph: sp.csr_matrix) -> Float:
    """Return Moran's I of every gene, (G,), NaN where it does not vary; weights of :func:`moran_weights`.

    Parameters
    ----------
    values
        (n, G).
    graph
        (n, n), symmetric, no diagonal.
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
