"""Genes that change along pseudotime: rates of molecules as splines of its rank. Linear in the stored counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Float = NDArray[np.float64]

KNOTS = 4
"""Inner and outer knots of the natural cubic spline, at quantiles of the rank: three degrees of freedom."""

GRID = 25
"""Points of a fitted curve, evenly many spots apart."""

FEWEST_BLOCKS = 4
"""Blocks of tissue below which they do not tell an error."""

PER = 1e4
"""Molecules of a spot that rates are of."""


class Trends(NamedTuple):
    """How genes change along pseudotime; (G,) but for grid and curves."""

    explained: Float
    """Share of the gene's variance over spots, within sections, that the curve accounts for."""
    error: Float
    """Its standard error over blocks of tissue; NaN where there are fewer than :data:`FEWEST_BLOCKS`."""
    correlation: Float
    """Of the rate with the rank of pseudotime, within sections: the sign says whether it rises."""
    peak: Float
    """Rank of pseudotime at which the curve is highest."""
    change: Float
    """Highest minus lowest value of the curve."""
    grid: Float
    """(GRID,): rank of pseudotime, 0 to 1."""
    curves: Float
    """(GRID, G): molecules of the gene in ``per`` of the spot, or its values; level of the average section. 0 or more,
    where no value is negative."""


class _Moments(NamedTuple):
    """What least squares takes of some spots; those of several blocks add up."""

    gram: Float
    """(p, p): design by design, weighted by library."""
    sums: Float
    """(p, G): design by counts."""
    square: Float
    """(G,): squared counts over library."""

    def without(self, other: _Moments) -> _Moments:
        """Return those of all spots but the other ones."""
        return _Moments(*(whole - part for whole, part in zip(self, other, strict=True)))


def spline_basis(x: Float, knots: Float) -> Float:
    """Return the natural cubic spline basis with a constant, (n, k) for k knots (Hastie et al. 2009, eq. 5.4-5.5)."""

    def piece(k: int) -> Float:
        last = np.maximum(x - knots[-1], 0) ** 3
        part: Float = (np.maximum(x - knots[k], 0) ** 3 - last) / (knots[-1] - knots[k])
        return part

    ends = piece(len(knots) - 2)
    return np.column_stack([np.ones_like(x), x, *(piece(k) - ends for k in range(len(knots) - 2))])


def trends(
    counts: sp.csr_matrix,
    library: Float,
    rank: Float,
    section: NDArray[np.integer[Any]],
    blocks: NDArray[np.integer[Any]],
    per: float = PER,
) -> Trends:
    """Fit the rate of each gene by a natural cubic spline of the rank of pseudotime and a level for each section.

    Least squares of count / library weighted by library, which is that of Pearson residuals under a Poisson model: a
    gene whose share of the molecules is the same everywhere has a flat curve, whatever the libraries do along
    pseudotime. What is explained is compared with the levels of the sections alone.

    There is no p-value. Pseudotime was found from the same counts, and any gene that varies smoothly over the tissue
    follows, in part, anything else that does. The standard error is from leaving out one block of tissue at a time
    (jackknife), as spots side by side are alike.

    Parameters
    ----------
    counts
        (n, G), raw, or values that were normalised before.
    library
        (n,), total counts of the spots.
    rank
        (n,), 0 to 1, see :func:`mmsrl.trajectory.root.ranks`.
    section
        (n,), from 0; sections without a spot are none.
    blocks
        (n,), the block of tissue that each spot lies in.
    per
        Molecules of a spot that curves are of; 1, with a library of 1, for values that were normalised before.
    """
    knots = np.quantile(rank, np.linspace(0.02, 0.98, KNOTS))
    level = np.eye(int(section.max()) + 1)[section]
    level = level[:, level.any(axis=0)]
    design = np.column_stack([level, spline_basis(rank, knots)[:, 1:]])
    n_levels = level.shape[1]
    whole = _moments(counts, library, design)
    explained, total = _explained(whole, n_levels)
    share = _ratio(explained, total)

    names, number = np.unique(blocks, return_inverse=True)
    error = np.full(len(share), np.nan)
    if len(names) >= FEWEST_BLOCKS:
        own = (number == b for b in range(len(names)))
        left_out = (whole.without(_moments(counts[rows], library[rows], design[rows])) for rows in own)
        shares = np.stack([_ratio(*_explained(rest, n_levels)) for rest in left_out])
        error = np.sqrt((len(names) - 1) * shares.var(axis=0))

    centre = np.linalg.solve(whole.gram[:n_levels, :n_levels], level.T @ (library * rank))
    centred = rank - level @ centre
    along = _ratio(counts.T @ centred, np.sqrt(total * (library * centred**2).sum()))

    grid = np.linspace(0.0, 1.0, GRID)
    weight = level.T @ library / library.sum()
    at = np.column_stack([np.tile(weight, (GRID, 1)), spline_basis(grid, knots)[:, 1:]])
    curves = per * at @ np.linalg.pinv(whole.gram, hermitian=True) @ whole.sums
    if counts.data.min(initial=0.0) >= 0:
        curves = np.maximum(curves, 0.0)
    return Trends(
        share, error, along, grid[curves.argmax(axis=0)], curves.max(axis=0) - curves.min(axis=0), grid, curves
    )


def _moments(counts: sp.csr_matrix, library: Float, design: Float) -> _Moments:
    scaled = sp.diags(1.0 / np.maximum(library, 1.0)) @ counts.multiply(counts)
    return _Moments(
        design.T @ (library[:, None] * design),
        np.asarray((counts.T @ design).T, dtype=np.float64),
        np.asarray(scaled.sum(axis=0), dtype=np.float64).ravel(),
    )


def _explained(moments: _Moments, n_levels: int) -> tuple[Float, Float]:
    """Return what the curve explains beyond the levels of the sections, and all that varies around these, (G,)."""
    gram, sums, square = moments
    both = (sums * (np.linalg.pinv(gram, hermitian=True) @ sums)).sum(axis=0)
    weight = gram.diagonal()[:n_levels, None]
    levels = np.divide(sums[:n_levels] ** 2, weight, out=np.zeros_like(sums[:n_levels]), where=weight > 0).sum(axis=0)
    total = np.where(square - levels > 1e-10 * square, square - levels, 0.0)
    return np.clip(both - levels, 0.0, total), total


def _ratio(values: Float, total: Float) -> Float:
    """Return the quotient, 0 where there is nothing to divide by."""
    return np.divide(values, total, out=np.zeros_like(total), where=total > 0)
