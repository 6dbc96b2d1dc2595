"""Gaussian mixture with tied covariance, from many starts. Memory is linear in the number of points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl.domains.average import consensus, matching

Matrix = npt.NDArray[np.float64]

STARTS, MOST_STARTS = 32, 96
"""Minimum and maximum number of starts of EM. Small sections get more starts, which cost less there."""

START_SPOTS = 65_000
"""Number of spots times starts up to which there are more than :data:`STARTS` starts."""

AVERAGED = 16
"""Number of optima with the highest likelihood that are averaged, or a quarter of all optima if that is more."""

TOLERANCE = 1e-5
"""Increase of the mean log likelihood at which EM has converged. The common default 1e-3 stops at saddle points."""

ITERATIONS = 500
"""Maximum number of EM iterations."""
BLOCK = 2000
"""Number of points per computation of posteriors, so that they stay in the cache of a core."""

RIDGE = 1e-6
"""Ridge on the diagonal of the covariance, relative to the mean of the diagonal."""


class Mixture(NamedTuple):
    """Fitted Gaussian mixture of K components in d dimensions."""

    weights: Matrix
    """(K,)."""
    means: Matrix
    """(K, d)."""
    covariance: Matrix
    """(d, d), tied covariance."""
    log_likelihood: float
    """Mean log likelihood per point, in the whitened space of the fit."""

    def posterior(self, points: Matrix) -> Matrix:
        """Return the posterior probability of each component, (n, K), at (n, d) points."""
        precision = np.asarray(np.linalg.inv(self.covariance))
        result = np.empty((len(points), len(self.weights)))
        first = 0
        for part, posterior, _ in _posteriors(points, self.weights, self.means, precision):
            result[first : first + len(part)] = posterior.T
            first += len(part)
        return result


def optima(points: Matrix, n_components: int, seed: int, starts: int | None = None) -> list[Mixture]:
    """Fit Gaussian mixtures with tied covariance (model EEE of mclust) from several starts, each to a local optimum.

    Half of the starts are k-means, and half are k-means++ seeds with their nearest points. Starts use the given points,
    in which the leading principal axes dominate. EM is invariant under linear maps and uses whitened points. Starts on
    whitened points often miss the best optima.

    Parameters
    ----------
    points
        (n, d), of full rank.
    n_components
        K, at most the number of different points.
    seed
        Random seed of the starts.
    starts
        Number of starts. ``None``: set by the number of points.
    """
    from sklearn.cluster import KMeans, kmeans_plusplus

    if starts is None:
        starts = min(max(STARTS, START_SPOTS // len(points)), MOST_STARTS)
    centre = points.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov((points - centre).T, bias=True).reshape(points.shape[1], -1))
    scale = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    white = (points - centre) @ axes / scale
    back = axes * scale  # maps whitened points back: x = centre + back·white
    squares = (points**2).sum(axis=1)[:, None]
    random = np.random.default_rng(seed)
    fits = []
    for start in range(starts):
        state = int(random.integers(2**31))
        if start % 2 == 0:
            labels = KMeans(n_components, n_init=1, random_state=state).fit(points).labels_
        else:
            centres, _ = kmeans_plusplus(points, n_components, random_state=state)
            labels = (squares - 2 * points @ centres.T + (centres**2).sum(axis=1)).argmin(axis=1)
        fit = maximise(white, np.eye(n_components)[labels])
        fits.append(fit._replace(means=centre + fit.means @ back.T, covariance=back @ fit.covariance @ back.T))
    return fits


def likeliest(mixtures: Sequence[Mixture]) -> Mixture:
    """Return the mixture with the highest likelihood."""
    return max(mixtures, key=lambda mixture: mixture.log_likelihood)


def averaged(mixtures: Sequence[Mixture], fitted: Matrix, points: Matrix) -> Matrix:
    """Return the mean posterior, (n, K), of the mixtures with the highest likelihood, after matching their components.

    Smoothed spots are not independent, so small differences in likelihood between the best optima mean nothing. The
    best optimum depends on the random seed. The average of the best optima depends on it much less.

    Parameters
    ----------
    mixtures
        Fits of :func:`optima`.
    fitted
        (m, d), points on which components are matched.
    points
        (n, d), points of the result.
    """
    mixtures = sorted(mixtures, key=lambda mixture: -mixture.log_likelihood)
    mixtures = mixtures[: max(AVERAGED, len(mixtures) // 4)]
    posteriors = [mixture.posterior(fitted) for mixture in mixtures]
    reference = consensus(posteriors)
    mean = np.zeros((len(points), reference.shape[1]))
    for mixture, posterior in zip(mixtures, posteriors, strict=True):
        mean += mixture.posterior(points)[:, matching(reference, posterior)]
    return mean / len(mixtures)


def maximise(points: Matrix, posterior: Matrix) -> Mixture:
    """Maximise the likelihood of ``points``, (n, d), by EM from the memberships ``posterior``, (n, K)."""
    n, d = points.shape
    total, before = points.T @ points, -np.inf
    size, sums = posterior.sum(axis=0), posterior.T @ points
    for _ in range(ITERATIONS):
        size = size + 1e-9
        weights, means = size / size.sum(), sums / size[:, None]
        covariance = (total - (means * size[:, None]).T @ means) / n
        covariance.flat[:: d + 1] += RIDGE * np.trace(covariance) / d
        precision = np.linalg.inv(covariance)
        size, sums, log_sum = _moments(points, weights, means, precision)
        constant = np.linalg.slogdet(covariance)[1] + d * np.log(2 * np.pi)
        now = log_sum - 0.5 * float((precision * total).sum() / n + constant)
        if now - before < TOLERANCE:
            break
        before = now
    return Mixture(weights, means, covariance, now)


def _moments(points: Matrix, weights: Matrix, means: Matrix, precision: Matrix) -> tuple[Matrix, Matrix, float]:
    """Return the sums of posterior, (K,), and of points times posterior, (K, d), and the mean log divisor."""
    size, sums, log_sum = np.zeros(len(weights)), np.zeros_like(means), 0.0
    for part, posterior, log_divisor in _posteriors(points, weights, means, precision):
        size += posterior.sum(axis=1)
        sums += posterior @ part
        log_sum += float(log_divisor.sum())
    return size, sums, log_sum / len(points)


def _posteriors(
    points: Matrix, weights: Matrix, means: Matrix, precision: Matrix
) -> Iterator[tuple[Matrix, Matrix, Matrix]]:
    """Yield blocks of points, (b, d), with their posteriors, (K, b), and the log of the divisors, (b,).

    With tied covariance, all components share the quadratic form of the points, so only linear terms are computed.
    """
    linear = means @ precision
    constant = (np.log(weights) - 0.5 * (linear * means).sum(axis=1))[:, None]
    for first in range(0, len(points), BLOCK):
        part = points[first : first + BLOCK]
        score = linear @ part.T
        score += constant
        top = score.max(axis=0)
        score -= top
        np.exp(score, out=score)
        divisor = score.sum(axis=0)
        score /= divisor
        yield part, score, top + np.log(divisor)
