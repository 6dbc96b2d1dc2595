"""Gaussian mixture with one covariance for all components, from many starts. Linear in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl.domains.average import consensus, matching

Matrix = npt.NDArray[np.float64]

STARTS, MOST_STARTS = 32, 96
"""Starts of EM; on small sections, whose optima lie closer and cost less, three times as many."""

START_SPOTS = 65_000
"""Spots of all starts together up to which there are more than :data:`STARTS`."""

AVERAGED = 16
"""Of the optima found, so many of the likeliest are averaged; a quarter where that is more."""

TOLERANCE = 1e-5
"""Rise of the mean log likelihood of a spot at which EM has converged. 1e-3, a common default, stops in saddles."""

ITERATIONS = 500
BLOCK = 2000
"""Points whose posteriors are computed at a time: few enough to stay in a core's cache, with a row a component, so
that maxima and sums over components run along memory."""

RIDGE = 1e-6
"""Added to the covariance's diagonal, relative to its mean."""


class Mixture(NamedTuple):
    """A fitted mixture of K components in d dimensions."""

    weights: Matrix
    """(K,)."""
    means: Matrix
    """(K, d)."""
    covariance: Matrix
    """(d, d)."""
    log_likelihood: float
    """Mean of a spot, in the whitened space it was fitted in."""

    def posterior(self, points: Matrix) -> Matrix:
        """Return the probability of each component at each of (n, d) points: (n, K)."""
        precision = np.asarray(np.linalg.inv(self.covariance))
        found = np.empty((len(points), len(self.weights)))
        first = 0
        for part, posterior, _ in _posteriors(points, self.weights, self.means, precision):
            found[first : first + len(part)] = posterior.T
            first += len(part)
        return found


def optima(points: Matrix, n_components: int, seed: int, starts: int | None = None) -> list[Mixture]:
    """Fit mixtures (mclust's model EEE) from several starts, to the maximum of the likelihood next to each.

    Every other start is k-means, the others are k-means++ seeds with the points nearest to each. They are made on the
    points as they are, where leading principal axes count most; EM itself is invariant under linear maps and runs on
    whitened points. From whitened starts high maxima are often missed.

    Parameters
    ----------
    points
        (n, d), of full rank.
    n_components
        K, at most the number of different points.
    seed
        Seed of the starts.
    starts
        Their number; by the number of points if it is not given.
    """
    from sklearn.cluster import KMeans, kmeans_plusplus

    if starts is None:
        starts = min(max(STARTS, START_SPOTS // len(points)), MOST_STARTS)
    centre = points.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov((points - centre).T, bias=True).reshape(points.shape[1], -1))
    scale = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    white = (points - centre) @ axes / scale
    back = axes * scale  # from whitened points to the points as they are: x = centre + back·white
    squares = (points**2).sum(axis=1)[:, None]
    random = np.random.default_rng(seed)
    found = []
    for start in range(starts):
        state = int(random.integers(2**31))
        if start % 2 == 0:
            labels = KMeans(n_components, n_init=1, random_state=state).fit(points).labels_
        else:
            centres, _ = kmeans_plusplus(points, n_components, random_state=state)
            labels = (squares - 2 * points @ centres.T + (centres**2).sum(axis=1)).argmin(axis=1)
        there = maximise(white, np.eye(n_components)[labels])
        found.append(there._replace(means=centre + there.means @ back.T, covariance=back @ there.covariance @ back.T))
    return found


def likeliest(mixtures: Sequence[Mixture]) -> Mixture:
    """Return the mixture of the highest likelihood; the first of equals."""
    return max(mixtures, key=lambda mixture: mixture.log_likelihood)


def averaged(mixtures: Sequence[Mixture], fitted: Matrix, points: Matrix) -> Matrix:
    """Return the mean posterior of the likeliest of several mixtures at ``points``, (n, K), components paired.

    Likelihoods of the best optima differ by less than the model is wrong by (smoothed spots are not independent), and
    which of them is the highest changes with the seed. Their average does not.

    Parameters
    ----------
    fitted
        Points to pair components on.
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
    """Climb to the next maximum of the likelihood by EM, from memberships (n, K) of points (n, d)."""
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
    """Return the posterior's sum over points, (K,), that of points by it, (K, d), and the mean log of its divisor."""
    size, sums, log_sum = np.zeros(len(weights)), np.zeros_like(means), 0.0
    for part, posterior, log_divisor in _posteriors(points, weights, means, precision):
        size += posterior.sum(axis=1)
        sums += posterior @ part
        log_sum += float(log_divisor.sum())
    return size, sums, log_sum / len(points)


def _posteriors(
    points: Matrix, weights: Matrix, means: Matrix, precision: Matrix
) -> Iterator[tuple[Matrix, Matrix, Matrix]]:
    """Yield points (b, d) block by block, their posteriors (K, b), and the logs of what these were divided by, (b,).

    With one covariance the quadratic form of the points is common to all components: what is left is linear in them.
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
