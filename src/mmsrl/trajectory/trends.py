"""Expression along pseudotime: natural cubic splines of its rank. Linear in the stored counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

Float = NDArray[np.float64]

KNOTS = 4
"""Number of knots of the natural cubic spline, at quantiles of the rank: three degrees of freedom."""

GRID = 25
"""Number of equidistant ranks of a fitted curve."""

FEWEST_BLOCKS = 4
"""Minimum number of tissue blocks for a standard error."""

PER = 1e4
"""Total counts that expression is scaled to."""


class Trends(NamedTuple):
    """Fitted genes: (G,) unless stated otherwise."""

    explained: Float
    """Fraction of the variance over spots within sections that the curve explains."""
    error: Float
    """Its jackknife standard error over tissue blocks. NaN with fewer than :data:`FEWEST_BLOCKS` blocks."""
    correlation: Float
    """Correlation of expression with the rank of pseudotime within sections. Its sign is the direction of change."""
    peak: Float
    """Rank of pseudotime at the maximum of the curve."""
    change: Float
    """Maximum minus minimum of the curve."""
    grid: Float
    """(GRID,): ranks of pseudotime, 0 to 1."""
    curves: Float
    """(GRID, G): expression per ``per`` counts at the average level of the sections. Not negative for non-negative
    values."""


class _Moments(NamedTuple):
    """Sufficient statistics of least squares, additive over spots."""

    gram: Float
    """(p, p): Gram matrix of the design, weighted by the library size."""
    sums: Float
    """(p, G): design times counts."""
    square: Float
    """(G,): squared counts divided by the library size."""

    def without(self, other: _Moments) -> _Moments:
        """Return the statistics without some spots."""
        return _Moments(*(whole - part for whole, part in zip(self, other, strict=True)))


def spline_basis(x: Float, knots: Float) -> Float:
    """Return the natural cubic spline basis with intercept, (n, k) for k knots (Hastie et al. 2009, eq. 5.4-5.5).

    SciPy's natural ``CubicSpline`` spans the same functions between the outer knots, but is not linear beyond them
    (``benchmarks/bench_libraries.py``: 7e-15 and 1.5e-4 apart).
    """

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
    """Fit expression of each gene by a natural cubic spline of the rank of pseudotime, with an intercept per section.

    Least squares of count / library size, weighted by the library size, as for Pearson residuals under a Poisson model.
    A gene with a constant fraction of the counts has a flat curve, even if the library size changes along pseudotime.
    The explained variance is relative to the intercepts.

    There are no p-values. Pseudotime was computed from the same counts, and any two genes that vary smoothly over the
    tissue are partly correlated. The standard error is a jackknife over tissue blocks, because neighbouring spots are
    correlated.

    Parameters
    ----------
    counts
        Raw counts or normalised values, (n, G).
    library
        Library size of each spot, (n,). 1 for normalised values.
    rank
        Rank of pseudotime, (n,), 0 to 1, see :func:`mmsrl.trajectory.root.ranks`.
    section
        Index of the section of each spot, (n,), from 0. Sections without spots are ignored.
    blocks
        Tissue block of each spot, (n,).
    per
        Total counts that curves are scaled to. 1 for normalised values.
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
        masks = (number == b for b in range(len(names)))
        remaining = (whole.without(_moments(counts[rows], library[rows], design[rows])) for rows in masks)
        shares = np.stack([_ratio(*_explained(rest, n_levels)) for rest in remaining])
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
    """Return the variance explained by the curve beyond the intercepts, and the total variance around them, (G,)."""
    gram, sums, square = moments
    both = (sums * (np.linalg.pinv(gram, hermitian=True) @ sums)).sum(axis=0)
    weight = gram.diagonal()[:n_levels, None]
    levels = np.divide(sums[:n_levels] ** 2, weight, out=np.zeros_like(sums[:n_levels]), where=weight > 0).sum(axis=0)
    total = np.where(square - levels > 1e-10 * square, square - levels, 0.0)
    return np.clip(both - levels, 0.0, total), total


def _ratio(values: Float, total: Float) -> Float:
    """Return the quotient, or 0 for a total of 0."""
    return np.divide(values, total, out=np.zeros_like(total), where=total > 0)
