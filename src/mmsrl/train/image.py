"""Correct smoothed components of expression by the image, where it predicts expression. Arrays only."""

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
"""Median of the chi-squared distribution with one degree of freedom."""

SURE = 2.0
"""Number of standard errors by which the image must reduce the held-out error to be used."""

LEAST_GAIN = 0.2
"""Minimum weight of the image in a component, which is the fraction of the error that the image removes. Smaller gains
are not worth the risk of correlated errors and of errors in the estimates of noise and R²."""


class WithImage(NamedTuple):
    """Smoothed principal components, corrected by the image where it predicts expression."""

    scores: FloatArray
    """(n, k)."""
    explained: FloatArray
    """(k,), R² of each smoothed component, predicted from the image in held-out regions. It can be negative."""
    weights: FloatArray
    """(k,), weight of the prediction from the image, 0 to 1."""


def add_image(
    scores: FloatArray, image: FloatArray, adjacency: Graph, coordinates: Sequence[FloatArray], seed: int
) -> WithImage:
    """Smooth components of expression, and average each with its prediction from the image.

    Let x be a component and S x its smoothed values (S = ``adjacency``). Two estimates of the local expression have
    independent errors:

    - S x, whose error is the noise of spots that smoothing leaves
    - x̂, a ridge regression on the smoothed image, whose error is the variation that the image does not show. It is
      fitted in other regions of tissue, to spots that S does not connect with the predicted region

    The best combination is (1 − w)·S x + w·x̂ with w = noise / (noise + error of x̂).

    - noise + error of x̂ is the held-out mean of (S x − x̂)², which is (1 − R²) times the variance of S x.
    - noise is c·ν. ν is the :func:`nugget`. c is the mean of Σⱼ Sᵢⱼ², the fraction of the noise that smoothing leaves.

    R² cannot be the weight. In deep sections the error of expression can be 1 % where the image explains 70 %, and
    weights by R² would prefer the worse estimate. In shallow sections noise is large, and the image has weight.

    The weight is 0 unless two conditions hold. The image must predict better than the mean by more than two standard
    errors over held-out regions. It must also reduce the error by a fifth: the error of the combination is
    (1 − w)·noise. The image adds no columns of its own, because a Gaussian mixture is invariant to the scale of columns
    and would give them full weight.

    Parameters
    ----------
    scores
        (n, k), components of expression before smoothing.
    image
        (n, D), image features in any scale.
    adjacency
        (n, n), row-normalised.
    coordinates
        Coordinates of each section, (n_s, 2), in the unit of held-out blocks.
    seed
        Random seed of the subset of spots for the fit, beyond 20,000 spots.
    """
    smoothed = smooth(adjacency, scores, 1)
    region = regions(coordinates)
    smooth_image = smooth(adjacency, StandardScaler().fit_transform(image).astype(scores.dtype), 1)
    predicted = None if region is None else predict_held_out(scores, smooth_image, region, seed, adjacency)
    if region is None or predicted is None:
        zero = np.zeros(scores.shape[1])
        return WithImage(smoothed, zero, zero)

    spread = (smoothed - smoothed.mean(axis=0)) ** 2
    error = (smoothed - predicted) ** 2
    gain = np.stack([(spread - error)[region == r].mean(axis=0) for r in range(region.max() + 1)])  # (regions, k)
    significant = gain.mean(axis=0) > SURE * gain.std(axis=0, ddof=1) / np.sqrt(len(gain))
    noise = noise_left(adjacency) * nugget(scores, coordinates)
    best = np.minimum(noise / np.maximum(error.mean(axis=0), 1e-30), 1.0)
    weights = np.where(significant & (best >= LEAST_GAIN), best, 0.0)
    explained = 1.0 - error.mean(axis=0) / np.maximum(spread.mean(axis=0), 1e-30)
    return WithImage(smoothed + (predicted - smoothed) * weights.astype(scores.dtype), explained, weights)


def nugget(values: FloatArray, coordinates: Sequence[FloatArray]) -> FloatArray:
    """Return the nugget of each column of ``values``, (n, k): the variance that nearest neighbours do not share.

    It is half the squared difference of nearest neighbours: the median over spots, divided by the median of the
    chi-squared distribution. The median makes it robust to differences at the borders of domains.
    """
    nearest, first = [], 0
    for places in coordinates:
        _, neighbour = cKDTree(places).query(places, k=[2])
        nearest.append(first + np.minimum(neighbour.ravel(), len(places) - 1))
        first += len(places)
    difference = values - values[np.concatenate(nearest)]
    return np.asarray(np.median(difference**2, axis=0) / (2.0 * CHI_SQUARED_MEDIAN))
