"""Principal components that the depth of a spot does not make. Arrays only.

Two normalisations, between which nothing in the data decides:

- Pearson residuals of counts under a Poisson model whose offset is the spot's library: free of depth by construction.
- Log-normalised expression. log1p of few counts is biased by depth, so the scores of a section without any structure
  follow the library. :func:`depth_artefact` is that bias; what is left after taking it off is biology, also where the
  cellularity of the tissue, and with it the library, differs.
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
"""Libraries at which the bias of log1p is computed; between them it is interpolated."""

POWERS = 4
"""Of the log of the library, in the polynomial that is taken off scores."""

FEW = 20.0
"""Mean up to which the Poisson sum is taken term by term; above, its second-order expansion."""


class Projection(NamedTuple):
    """What takes the counts of any spots to the components of a decomposition (:func:`mmsrl.projection.project`)."""

    kind: Literal["log", "residuals"]
    share: FloatArray
    """(m,) float64: share of each gene in the total that the spots were scaled to."""
    ceiling: FloatArray
    """(m,): value at which a logarithm, or a residual, is cut."""
    inverse: FloatArray
    """(m,): what a value is multiplied by, the inverse of its standard deviation."""
    centre: FloatArray
    """(m,): mean of what that gives, which is taken off."""
    axes: FloatArray
    """(m, k), of unit length."""
    target: float
    """Library that logarithms are scaled to."""


class Components(NamedTuple):
    """Scores of the spots that were decomposed, and how those of others are had."""

    scores: FloatArray
    """(n, k) float32."""
    projection: Projection


def robust(scores: FloatArray, deviations: float = 4.0) -> FloatArray:
    """Return ``scores`` (n, k) cut at so many robust standard deviations (1.4826 MAD) from their median.

    Single spots can otherwise dominate a component, and with it the distances that a bilateral filter weighs by.
    """
    return np.asarray(np.clip(scores, *robust_limits(scores, deviations)), dtype=scores.dtype)


def robust_limits(scores: FloatArray, deviations: float = 4.0) -> tuple[FloatArray, FloatArray]:
    """Return what :func:`robust` cuts scores, (n, k), at: the lowest and the highest value, (k,) each."""
    middle = np.median(scores, axis=0)
    spread = 1.4826 * np.median(np.abs(scores - middle), axis=0)
    # A component that most spots have in common with each other has no such spread.
    spread = np.where(spread > 0, spread, scores.std(axis=0))
    return middle - deviations * spread, middle + deviations * spread


def residual_components(counts: sp.csr_matrix, k: int, seed: int) -> Components:
    """Return principal components of standardised Pearson residuals.

    The residual of a count x with mean μ = libraryᵢ·shareⱼ is (x − μ)/√μ (Lause et al., Genome Biology 2021, without
    overdispersion, which the unit variance of each gene takes up), cut at √n. It is a sparse matrix plus one of rank
    one, and never made dense.

    Parameters
    ----------
    counts
        (n, m), raw; every spot and every gene has some.
    k
        Cut to what there is.
    seed
        Of the start of the decomposition.
    """
    n, m = counts.shape
    total = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    root_library = np.sqrt(total)
    root_share = np.sqrt(np.asarray(counts.sum(axis=0), dtype=np.float64).ravel() / total.sum())
    rows = np.repeat(np.arange(n), np.diff(counts.indptr))
    offset = root_library[rows] * root_share[counts.indices]
    values = np.minimum(counts.data / np.maximum(offset, 1e-12) - offset, np.sqrt(n)) + offset
    plus = sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)
    # Mean and variance of plus − root_library·root_shareᵀ, by gene.
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
    left, lengths, axes = svds(operator, min(k, min(n, m) - 1), v0=start)
    left, axes = svd_flip(left[:, ::-1], axes[::-1])
    ceiling = np.full(m, np.sqrt(n))
    projection = Projection("residuals", root_share**2, ceiling, inverse, mean * inverse, axes.T, float(total.mean()))
    return Components(np.asarray(left * lengths[::-1], dtype=np.float32), projection)


def beyond_depth(scores: FloatArray, library: FloatArray, section: NDArray[np.int64]) -> FloatArray:
    """Return what the library does not tell of ``scores``, (n, k): less a polynomial of its logarithm.

    Counts of real genes do not all grow with the library in proportion, so that residuals under an offset model follow
    depth wherever depth has a pattern.

    Parameters
    ----------
    library
        (n,), total counts of the spots.
    section
        (n,), from 0; each has a level of its own.
    """
    depth = np.log(np.maximum(library, 1.0))
    depth = np.clip((depth - depth.mean()) / max(depth.std(), 1e-12), -4.0, 4.0)
    levels = np.equal.outer(section, np.arange(section.max() + 1))
    design = np.column_stack([levels, *(depth**power for power in range(1, POWERS + 1))])
    return np.asarray(scores - design @ np.linalg.lstsq(design, scores, rcond=None)[0], dtype=scores.dtype)


def log_components(counts: sp.csr_matrix, library: FloatArray, k: int, seed: int) -> Components:
    """Return principal components of standardised log-normalised expression, without the depth artefact.

    Parameters
    ----------
    counts
        (n, m), raw.
    library
        (n,), total counts of the spots.
    """
    expression = log_normalised(counts, library)
    scores, _ = standard_components(expression, np.zeros(len(library), dtype=np.int64), k, seed)
    projection = log_projection(expression, library, counts, scores)
    return Components(scores - depth_artefact(projection, library).astype(scores.dtype), projection)


def log_projection(
    expression: sp.csr_matrix, library: FloatArray, counts: sp.csr_matrix, scores: FloatArray
) -> Projection:
    """Return what takes log-normalised expression to ``scores``, (n, k), of :func:`standard_components`."""
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
    """Return the scores, (n, k), that spots of average composition have for their library, (n,), alone.

    That is the expectation of standardised log1p(f·x) for Poisson counts x of mean library·share, projected on the
    axes: computed at :data:`DEPTHS` quantiles of the library and interpolated on its logarithm.
    """
    depths = np.maximum(library, 1.0).astype(np.float64)
    nodes = np.unique(np.quantile(depths, np.linspace(0.0, 1.0, DEPTHS)))
    _, share, ceiling, inverse, centre, axes, target = projection
    expected = [_expected_log(depth * share, target / depth, ceiling) * inverse - centre for depth in nodes]
    bias = np.stack(expected) @ axes
    return np.stack([np.interp(np.log(depths), np.log(nodes), column) for column in bias.T], axis=1)


def _expected_log(mean: FloatArray, factor: float, ceiling: FloatArray) -> FloatArray:
    """Return the expectation of min(log1p(factor·x), ceiling), (m,), for Poisson counts x of the means."""
    result = np.minimum(np.log1p(factor * mean) - 0.5 * factor**2 * mean / (1.0 + factor * mean) ** 2, ceiling)
    few = mean <= FEW
    rate, highest = mean[few], ceiling[few]
    probability, total = np.exp(-rate), np.zeros_like(rate)
    for x in range(1, int(FEW + 8.0 * np.sqrt(FEW))):
        probability = probability * rate / x
        total += probability * np.minimum(np.log1p(factor * x), highest)
    result[few] = total
    return np.asarray(result)
