"""Genes that change along pseudotime: splines compared with constants. Linear in the stored values."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import f as f_distribution
from scipy.stats import rankdata

Float = NDArray[np.float64]

KNOTS = 4
"""Inner and outer knots of the natural cubic spline, at quantiles of pseudotime: three degrees of freedom."""

GRID = 25
"""Points of a fitted curve, evenly many spots apart."""


class Trends(NamedTuple):
    """How genes change along pseudotime; (G,) but for the curves."""

    f: Float
    p_value: Float
    explained: Float
    """R²: the share of the gene's variance over spots that the curve accounts for."""
    correlation: Float
    """Pearson's, of the expression with the rank of pseudotime: the sign says whether it rises."""
    peak: Float
    """Pseudotime at which the curve is highest."""
    change: Float
    """Highest minus lowest value of the curve, in the unit of the values."""
    grid: Float
    """(GRID,): pseudotime."""
    curves: Float
    """(GRID, G)."""


def spline_basis(x: Float, knots: Float) -> Float:
    """Return the natural cubic spline basis with a constant, (n, k) for k knots (Hastie et al. 2009, eq. 5.4-5.5)."""

    def piece(k: int) -> Float:
        last = np.maximum(x - knots[-1], 0) ** 3
        part: Float = (np.maximum(x - knots[k], 0) ** 3 - last) / (knots[-1] - knots[k])
        return part

    ends = piece(len(knots) - 2)
    return np.column_stack([np.ones_like(x), x, *(piece(k) - ends for k in range(len(knots) - 2))])


def trends(values: sp.csr_matrix, time: NDArray[Any]) -> Trends:
    """Fit each gene by a natural cubic spline of the rank of pseudotime, and compare it with a constant (F test).

    Ranks, because diffusion pseudotime leaves most spots close together and a few far away.

    Parameters
    ----------
    values
        (n, G), log-normalised.
    time
        (n,), finite.
    """
    # Sums of squares minus the square of a sum: of genes that vary little single precision leaves rounding alone.
    values = sp.csr_matrix(values, dtype=np.float64)
    n = len(time)
    x = (rankdata(time) - 0.5) / n
    knots = np.quantile(x, np.linspace(0.02, 0.98, KNOTS))
    basis, _ = np.linalg.qr(spline_basis(x, knots))
    projected = np.asarray(basis.T @ values)
    total = np.asarray(values.multiply(values).sum(axis=0)).ravel()
    mean = np.asarray(values.mean(axis=0)).ravel()
    variance = np.maximum(total - n * mean**2, 0.0)
    explained = np.clip((projected**2).sum(axis=0) - n * mean**2, 0.0, variance)
    flat = variance <= 1e-12 * np.maximum(total, 1e-300)
    share = np.divide(explained, variance, out=np.zeros_like(variance), where=~flat)
    free, rest = basis.shape[1] - 1, n - basis.shape[1]
    f = share / free / np.maximum((1 - share) / rest, 1e-300)
    centred = x - x.mean()
    correlation = np.asarray(values.T @ centred).ravel()
    correlation = np.divide(correlation, np.sqrt(variance * (centred**2).sum()), out=np.zeros(len(f)), where=~flat)

    at = np.quantile(x, np.linspace(0, 1, GRID))
    # The basis at the grid, in the same orthonormal coordinates.
    turned = np.linalg.lstsq(spline_basis(x, knots), basis, rcond=None)[0]
    curves = spline_basis(at, knots) @ turned @ projected
    grid = np.quantile(time, at)
    return Trends(
        f,
        np.where(flat, 1.0, f_distribution.sf(f, free, rest)),
        share,
        correlation,
        grid[curves.argmax(axis=0)],
        curves.max(axis=0) - curves.min(axis=0),
        grid,
        curves,
    )
