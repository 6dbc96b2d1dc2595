"""Principal components that do not reflect sequencing depth. Arrays only.

The default preset uses two normalisations, because the data do not decide between them:

- Pearson residuals of counts under a Poisson model with the library size as offset. They are free of depth by design.
- Log-normalised expression. log1p of low counts is biased by depth: even without spatial structure, scores follow the
  library size. :func:`depth_artefact` computes this bias. Scores without it keep the biological differences between
  tissues of different cellularity, which also have different library sizes.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.utils.extmath import svd_flip
from sklearn.utils.sparsefuncs import mean_variance_axis

from mmsrl.normalisation import CLIP, log_normalised, standard_components

FloatArray = NDArray[np.floating[Any]]

DEPTHS = 48
"""Number of library sizes at which the bias of log1p is computed. It is interpolated in between."""

POWERS = 4
"""Degree of the polynomial of the log library size that is regressed out of scores."""

FEW = 20.0
"""Largest mean for which the Poisson expectation is summed term by term. Above, a second-order expansion is used."""


class Projection(NamedTuple):
    """Projection of counts of spots onto the principal axes of a decomposition (:func:`mmsrl.projection.project`)."""

    kind: Literal["log", "residuals"]
    share: FloatArray
    """(m,) float64: fraction of each gene in the total that the spots were scaled to."""
    ceiling: FloatArray
    """(m,): upper limit of a log-normalised value or residual."""
    inverse: FloatArray
    """(m,): inverse standard deviation of each gene."""
    centre: FloatArray
    """(m,): mean of the scaled values of each gene."""
    axes: FloatArray
    """(m, k): principal axes of unit length."""
    target: float
    """Library size that log-normalised values are scaled to."""


class Components(NamedTuple):
    """Principal component scores with the projection for other spots."""

    scores: FloatArray
    """(n, k) float32."""
    projection: Projection


def robust(scores: FloatArray, deviations: float = 4.0) -> FloatArray:
    """Winsorise scores, (n, k), at a number of robust standard deviations (1.4826 MAD) from their median.

    Otherwise single spots dominate a component, and thereby the range distances of the bilateral filter.
    """
    return np.asarray(np.clip(scores, *robust_limits(scores, deviations)), dtype=scores.dtype)


def robust_limits(scores: FloatArray, deviations: float = 4.0) -> tuple[FloatArray, FloatArray]:
    """Return the lower and upper limits of :func:`robust` for scores, (n, k): (k,) each."""
    middle = np.median(scores, axis=0)
    spread = 1.4826 * np.median(np.abs(scores - middle), axis=0)
    # The MAD is 0 if most spots have the same score.
    spread = np.where(spread > 0, spread, scores.std(axis=0))
    return middle - deviations * spread, middle + deviations * spread


def residual_components(counts: sp.csr_matrix, k: int, seed: int) -> Components:
    """Compute principal components of standardised Pearson residuals.

    The residual of a count x with mean μ = libraryᵢ·shareⱼ is (x − μ)/√μ, clipped at √n (Lause et al., Genome Biology
    22, 258, 2021). There is no over-dispersion parameter: each gene is scaled to unit variance. The residuals are a
    sparse matrix plus a matrix of rank one, and are never dense.

    Parameters
    ----------
    counts
        Raw counts, (n, m). Every spot and every gene has counts.
    k
        Number of components, at most min(n, m) - 1.
    seed
        Random seed of the starting vector.
    """
    n, m = counts.shape
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    root_library = np.sqrt(total)
    root_share = np.sqrt(np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() / total.sum())
    rows = np.repeat(np.arange(n), np.diff(counts.indptr))
    offset = root_library[rows] * root_share[counts.indices]
    values = np.minimum(counts.data / np.maximum(offset, 1e-12) - offset, np.sqrt(n)) + offset
    plus = sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
    # Mean and variance of each gene in plus − root_library·root_shareᵀ.
    mean = np.asarray(plus.mean(axis=0)).ravel() - root_library.mean() * root_share
    square = np.asarray(plus.multiply(plus).mean(axis=0)).ravel()
    square += root_share * (total.mean() * root_share - 2.0 * (plus.T @ root_library) / n)
    inverse = 1.0 / np.sqrt(np.maximum(square - mean**2, 1e-12))
    scaled = sp.csr_matrix(plus @ sp.diags(inverse), dtype=np.float32)
    share, centre = (root_share * inverse).astype(np.float32), (mean * inverse).astype(np.float32)
    library = root_library.astype(np.float32)
    operator = LinearOperator(
        (n, m),
        matvec=lambda v: scaled @ v.ravel() - library * (share @ v.ravel()) - centre @ v.ravel(),
        rmatvec=lambda u: scaled.T @ u.ravel() - share * (library @ u.ravel()) - centre * u.sum(),
        dtype=np.float32,
    )
    start = np.random.default_rng(seed).uniform(-1.0, 1.0, min(n, m)).astype(np.float32)
    vectors, lengths, axes = svds(operator, min(k, min(n, m) - 1), v0=start)
    vectors, axes = svd_flip(vectors[:, ::-1], axes[::-1])
    ceiling = np.full(m, np.sqrt(n))
    projection = Projection("residuals", root_share**2, ceiling, inverse, mean * inverse, axes.T, float(total.mean()))
    return Components(np.asarray(vectors * lengths[::-1], dtype=np.float32), projection)


def beyond_depth(scores: FloatArray, library: FloatArray, section: NDArray[np.int64]) -> FloatArray:
    """Regress a polynomial of the log library size out of scores, (n, k).

    The counts of real genes are not all proportional to the library size. Residuals of an offset model therefore follow
    depth if depth has a spatial pattern.

    Parameters
    ----------
    scores
        Scores, (n, k).
    library
        Library size of each spot, (n,).
    section
        Index of the section of each spot, (n,), from 0. Each section has its own intercept.
    """
    depth = np.log(np.maximum(library, 1.0))
    depth = np.clip((depth - depth.mean()) / max(depth.std(), 1e-12), -4.0, 4.0)
    levels = np.equal.outer(section, np.arange(section.max() + 1))
    design = np.column_stack([levels, *(depth**power for power in range(1, POWERS + 1))])
    return np.asarray(scores - design @ np.linalg.lstsq(design, scores, rcond=None)[0], dtype=scores.dtype)


def log_components(counts: sp.csr_matrix, library: FloatArray, k: int, seed: int) -> Components:
    """Compute principal components of standardised log-normalised expression, without the depth artefact.

    Parameters
    ----------
    counts
        Raw counts, (n, m).
    library
        Library size of each spot, (n,).
    k
        Number of components, at most min(n, m) - 1.
    seed
        Random seed of the starting vector.
    """
    expression = log_normalised(counts, library)
    scores, _ = standard_components(expression, np.zeros(len(library), dtype=np.int64), k, seed)
    projection = log_projection(expression, library, counts, scores)
    return Components(scores - depth_artefact(projection, library).astype(scores.dtype), projection)


def log_projection(
    expression: sp.csr_matrix, library: FloatArray, counts: sp.csr_matrix, scores: FloatArray
) -> Projection:
    """Return the projection of log-normalised expression onto ``scores``, (n, k), of :func:`standard_components`."""
    n = len(library)
    mean, variance = mean_variance_axis(expression, axis=0)
    deviation = np.sqrt(variance * (n / max(n - 1, 1)))
    inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-8)
    ceiling = mean + CLIP * deviation
    cut = expression.copy()
    cut.data = np.minimum(cut.data, ceiling[cut.indices]) * inverse[cut.indices]
    centre = np.asarray(cut.mean(axis=0)).ravel()
    lengths = np.maximum((scores.astype(np.float64) ** 2).sum(axis=0), 1e-30)
    axes = ((cut.T @ scores - np.outer(centre, scores.sum(axis=0))) / lengths).astype(np.float32)
    share = np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() / np.maximum(library, 1.0).astype(np.float64).sum()
    return Projection("log", share, ceiling, inverse, centre, axes, float(np.median(library[library > 0])))


def depth_artefact(projection: Projection, library: FloatArray) -> FloatArray:
    """Return the expected scores, (n, k), of spots with average composition and library sizes ``library``, (n,).

    This is the expectation of standardised log1p(f·x) for Poisson counts x with mean library·share, projected onto the
    axes. It is computed at :data:`DEPTHS` quantiles of the library size and interpolated on the log scale.
    """
    depths = np.maximum(library, 1.0).astype(np.float64)
    nodes = np.unique(np.quantile(depths, np.linspace(0.0, 1.0, DEPTHS)))
    _, share, ceiling, inverse, centre, axes, target = projection
    expected = [_expected_log(depth * share, target / depth, ceiling) * inverse - centre for depth in nodes]
    bias = np.stack(expected) @ axes
    return np.stack([np.interp(np.log(depths), np.log(nodes), column) for column in bias.T], axis=1)


def _expected_log(mean: FloatArray, factor: float, ceiling: FloatArray) -> FloatArray:
    """Return the expectation of min(log1p(factor·x), ceiling), (m,), for Poisson counts x with the given means."""
    result = np.minimum(np.log1p(factor * mean) - 0.5 * factor**2 * mean / (1.0 + factor * mean) ** 2, ceiling)
    few = mean <= FEW
    rate, highest = mean[few], ceiling[few]
    probability, total = np.exp(-rate), np.zeros_like(rate)
    for x in range(1, int(FEW + 8.0 * np.sqrt(FEW))):
        probability = probability * rate / x
        total += probability * np.minimum(np.log1p(factor * x), highest)
    result[few] = total
    return np.asarray(result)
