"""How much the image says about expression, and expression with that much of the image in it. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.preprocessing import StandardScaler

from mmsrl.graph import Graph, noise_left, smooth
from mmsrl.heldout import predict_held_out, regions

FloatArray = NDArray[np.floating[Any]]

CHI_SQUARED_MEDIAN = 0.4549364
"""Of one degree of freedom."""

SURE = 2.0
"""Standard errors by which the held-out error must fall for the image to count at all."""

LEAST_GAIN = 0.2
"""Share that the image must take off the error of a component for it to count there; less is not worth the risk that
the errors of both are not quite independent, and noise and R² not quite what they are estimated to be."""


class WithImage(NamedTuple):
    """Smoothed components in which the image has had its say."""

    scores: FloatArray
    """(n, k)."""
    explained: FloatArray
    """(k,): share of each smoothed component's variance that the image predicts where it was not fitted; may be < 0."""
    weights: FloatArray
    """(k,): weight of the image's prediction, 0 to 1."""


def add_image(
    scores: FloatArray, image: FloatArray, adjacency: Graph, coordinates: Sequence[FloatArray], seed: int
) -> WithImage:
    """Smooth expression's components, each averaged with what the image says of it by the precision of both.

    For a component x with values S x after smoothing (S = ``adjacency``) there are two estimates of what a spot's
    surroundings express, with independent errors: S x, in error by what is left of the spots' noise; and x̂, predicted
    from the smoothed image by a ridge regression of x in other regions of tissue, of spots that S does not join with
    this region, in error by what the image does not show. The best combination is (1 − w)·S x + w·x̂ with
    w = noise / (noise + error of x̂).

    - noise + error of x̂ is the held-out mean of (S x − x̂)², (1 − R²) of the variance of S x.
    - noise is c·ν, with ν the :func:`nugget`, what nearest neighbours do not share, and c the mean of Σⱼ Âᵢⱼ², what
      smoothing leaves of it.

    R² itself is not that weight: a deep section's expression is known to 1 % where the image explains 70 % of it, and
    averaging the two by R² would replace the better estimate by the worse one. In shallow data noise is large, and the
    image counts. It never counts (w = 0) unless over the regions held out it predicts better than the mean by more than
    two standard errors, and takes a fifth off the error: that of the combination is (1 - w)·noise. There are no columns
    of the image beside those of expression, because a Gaussian mixture is invariant to their scale: they would count
    fully whatever weight they were given.

    Parameters
    ----------
    scores
        (n, k), components of expression, not smoothed.
    image
        (n, D), any scale.
    adjacency
        (n, n), rows sum to one.
    coordinates
        Of each section, (n_s, 2), from :func:`mmsrl.heldout.in_block_unit`.
    seed
        Of the choice of spots to fit to where there are more than 20,000.
    """
    smoothed = smooth(adjacency, scores, 1)
    region = regions(coordinates)
    smooth_image = smooth(adjacency, StandardScaler().fit_transform(image).astype(scores.dtype), 1)
    predicted = None if region is None else predict_held_out(scores, smooth_image, region, seed, adjacency)
    if region is None or predicted is None:
        nothing = np.zeros(scores.shape[1])
        return WithImage(smoothed, nothing, nothing)

    spread = (smoothed - smoothed.mean(axis=0)) ** 2
    error = (smoothed - predicted) ** 2
    gain = np.stack([(spread - error)[region == r].mean(axis=0) for r in range(region.max() + 1)])  # (regions, k)
    counts = gain.mean(axis=0) > SURE * gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    noise = noise_left(adjacency) * nugget(scores, coordinates)
    best = np.minimum(noise / np.maximum(error.mean(axis=0), 1e-30), 1.0)
    weights = np.where(counts & (best >= LEAST_GAIN), best, 0.0)
    explained = 1.0 - error.mean(axis=0) / np.maximum(spread.mean(axis=0), 1e-30)
    return WithImage(smoothed + (predicted - smoothed) * weights.astype(scores.dtype), explained, weights)


def nugget(values: FloatArray, coordinates: Sequence[FloatArray]) -> FloatArray:
    """Return the variance of each column of ``values`` (n, k) that spots do not share with their nearest neighbours.

    Half the squared difference, as its median over spots divided by the median of chi-squared: borders of domains,
    where neighbours differ for good reason, do not raise it.
    """
    nearest, first = [], 0
    for places in coordinates:
        _, neighbour = cKDTree(places).query(places, k=[2])
        nearest.append(first + np.minimum(neighbour.ravel(), len(places) - 1))
        first += len(places)
    difference = values - values[np.concatenate(nearest)]
    return np.asarray(np.median(difference**2, axis=0) / (2.0 * CHI_SQUARED_MEDIAN))
