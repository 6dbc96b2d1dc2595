"""Genes of domains where expression is values that were normalised before: effects with intervals. Arrays only.

Nothing can be held out of such values, and the domains were found from them, so that there is no p-value.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl.markers.expression import membership
from mmsrl.markers.folds import LEVEL

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
"""Blocks of tissue below which they tell no error, and no gene is a marker."""


class Effects(NamedTuple):
    """Each domain against all others in the same section; (K, G), NaN where no section has both."""

    effect: Float
    """Difference of the means in standard deviations of the gene within sections."""
    low: Float
    """Lower end of its interval; NaN where there are too few blocks."""
    high: Float
    effect_next: Float
    """The same over the domain that has the highest mean of the gene besides."""
    log2: Float
    """log2 of the ratio of the means; NaN where values are negative or a mean is 0."""


def effects(
    values: sp.csr_matrix,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    n_domains: int,
    blocks: NDArray[np.int64],
) -> Effects:
    """Compare means of normalised values between domains, within sections.

    The interval is normal, with the standard error of a jackknife that leaves out one block of tissue at a time, as
    spots side by side are alike.

    Parameters
    ----------
    values
        (n, G); linear or standardised (logarithms are undone before).
    section, domain, blocks
        (n,), from 0: section, domain and block of tissue of each spot.
    """
    n_sections, n_blocks = int(section.max()) + 1, int(blocks.max()) + 1
    key = (blocks * n_sections + section) * n_domains + domain
    shape = (n_blocks, n_sections, n_domains)
    member = membership(key, int(np.prod(shape)))
    sums = np.asarray((member @ values).todense(), dtype=np.float64).reshape(*shape, -1)
    spots = np.bincount(key, minlength=int(np.prod(shape))).astype(np.float64).reshape(*shape, 1)
    square = np.asarray(values.multiply(values).sum(axis=0), dtype=np.float64).ravel()
    total, number = sums.sum(axis=0), spots.sum(axis=0)
    of_section = total.sum(axis=1)
    variance = (square - (of_section**2 / np.maximum(number.sum(axis=1), 1.0)).sum(axis=0)) / len(domain)
    deviation = np.sqrt(np.maximum(variance, 0.0))
    deviation = np.where(deviation > 1e-12, deviation, np.nan)
    effect = _difference(total, number) / deviation
    error = np.full_like(effect, np.nan)
    present = np.flatnonzero(spots.any(axis=(1, 2, 3)))
    if len(present) >= FEWEST_BLOCKS:
        left_out = np.stack([_difference(total - sums[b], number - spots[b]) / deviation for b in present])
        count = np.isfinite(left_out).sum(axis=0)
        mean = np.nansum(left_out, axis=0) / np.maximum(count, 1)
        spread = np.nansum((left_out - mean) ** 2, axis=0)
        error = np.where(count >= FEWEST_BLOCKS, np.sqrt(spread * (count - 1) / np.maximum(count, 1)), np.nan)
    reach = norm.ppf(0.5 + LEVEL / 2.0) * error
    mean_of = total.sum(axis=0) / np.maximum(number.sum(axis=0), 1.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        rest = (total.sum(axis=(0, 1)) - total.sum(axis=0)) / (number.sum() - number.sum(axis=0))
        log2 = np.log2(mean_of / rest) if values.data.size and values.data.min() >= 0 else np.full_like(effect, np.nan)
    effect_next = np.stack(
        [(mean_of[k] - np.delete(mean_of, k, axis=0).max(axis=0)) / deviation for k in range(n_domains)]
    )
    return Effects(effect, effect - reach, effect + reach, effect_next, np.where(np.isfinite(log2), log2, np.nan))


def _difference(total: Float, number: Float) -> Float:
    """Return the mean in each domain less that elsewhere, averaged over sections by spots; (S, K, G) and (S, K, 1)."""
    rest, others = total.sum(axis=1, keepdims=True) - total, number.sum(axis=1, keepdims=True) - number
    both = (number > 0) & (others > 0)
    weight = np.where(both, number * others / np.maximum(number + others, 1.0), 0.0)
    difference = np.where(both, total / np.maximum(number, 1.0) - rest / np.maximum(others, 1.0), 0.0)
    whole = weight.sum(axis=0)
    return np.where(whole > 0, (weight * difference).sum(axis=0) / np.where(whole > 0, whole, 1.0), np.nan)


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
    seen = np.asarray((member @ (values > 0)).todense(), dtype=np.float64)
    share, elsewhere = seen / spots, (seen.sum(axis=0) - seen) / np.maximum(spots.sum() - spots, 1.0)
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
    """Return Moran's I of every gene, (G,), NaN where it does not vary; weights as in :mod:`mmsrl.markers.spatial`.

    Parameters
    ----------
    values
        (n, G).
    graph
        (n, n), symmetric, no diagonal.
    """
    n = values.shape[0]
    one_way = sp.csr_matrix(sp.diags(1.0 / np.maximum(np.asarray(graph.sum(axis=1)).ravel(), 1.0)) @ graph)
    weights = sp.csr_matrix((one_way + one_way.T) / 2.0)
    around = np.asarray(weights.sum(axis=1)).ravel()
    mean = np.asarray(values.mean(axis=0), dtype=np.float64).ravel()
    product = np.asarray(values.multiply(weights @ values).sum(axis=0), dtype=np.float64).ravel()
    cross = product - 2.0 * mean * np.asarray(values.T @ around).ravel() + mean**2 * around.sum()
    square = np.asarray(values.multiply(values).sum(axis=0), dtype=np.float64).ravel() - n * mean**2
    varies = square > 1e-10 * np.maximum(n * mean**2, 1e-12)
    return np.where(varies, n / max(around.sum(), 1e-12) * cross / np.where(varies, square, 1.0), np.nan)
