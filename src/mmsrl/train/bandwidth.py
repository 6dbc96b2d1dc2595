"""Spatial structure of components: cross-validated bandwidth, selection of components and a test. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from mmsrl._samples import at_random

FloatArray = NDArray[np.floating[Any]]

WIDTHS = 0.5 * 2.0 ** (np.arange(9) / 2.0)
"""Candidate bandwidths in spot pitches, from 0.5 to 8."""

CUT = 0.02
"""Gaussian weight at which the kernel is truncated, at 2.8 bandwidths."""

TARGETS = 4_000
"""Maximum number of predicted spots. A random subset is used beyond. All spots can be neighbours."""

PERMUTATIONS = 30
"""Number of permutations for the null distribution of R². All components share one null distribution."""

ABOVE = 4.0
"""Standard deviations above the mean of the null distribution at which a component counts as spatial."""

FEWEST = 3
"""Minimum number of components to keep."""

TEST_WIDTH = 1.5
"""Bandwidth of the test of structure in spot pitches. A bandwidth chosen from the data would bias the test."""

TEST_PERMUTATIONS = 199
"""Number of permutations of the test of structure."""


def neighbour_weights(coordinates: Sequence[FloatArray], width: float, seed: int) -> tuple[sp.csr_matrix, Any]:
    """Return row-normalised Gaussian weights of the neighbours of some spots, without the spots themselves.

    Returns
    -------
    (t, N) CSR, with row sums of 1, or 0 for spots without neighbours; (t,), indices of the predicted spots, at most
    :data:`TARGETS`.
    """
    n = sum(map(len, coordinates))
    targets = at_random(n, TARGETS, seed)
    blocks, first = [], 0
    for places in coordinates:
        in_section = targets[(targets >= first) & (targets < first + len(places))] - first
        near = cKDTree(places[in_section]).sparse_distance_matrix(
            cKDTree(places), width * np.sqrt(-2.0 * np.log(CUT)), output_type="ndarray"
        )
        near = near[in_section[near["i"]] != near["j"]]
        values = np.exp(near["v"] ** 2 / (-2.0 * width**2))
        weights = sp.coo_matrix((values, (near["i"], near["j"])), (len(in_section), len(places)))
        total = np.asarray(weights.sum(axis=1)).ravel()
        blocks.append(sp.diags(np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)) @ weights)
        first += len(places)
    return sp.csr_matrix(sp.block_diag(blocks, format="csr"), dtype=np.float32), targets


def explained_by_neighbours(scores: FloatArray, weights: sp.csr_matrix, targets: Any) -> FloatArray:
    """Return R² of the prediction of each component, (k,), by the mean of the neighbours. It can be negative."""
    has_neighbours = np.diff(weights.indptr) > 0
    values = scores[targets][has_neighbours]
    error = ((values - (weights @ scores)[has_neighbours]) ** 2).sum(axis=0)
    spread = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(1.0 - error / np.maximum(spread, 1e-30))


def choose_bandwidth(scores: FloatArray, coordinates: Sequence[FloatArray], seed: int) -> float:
    """Choose the bandwidth by leave-one-out cross-validation of the prediction from neighbours.

    The bandwidths of :data:`WIDTHS` are tried from the smallest, until the error has increased twice. A parabola
    through the minimum and both neighbours gives the result.

    Parameters
    ----------
    scores
        (N, k), components.
    coordinates
        Coordinates of each section, (n_s, 2), in spot pitches.
    seed
        Random seed of the subset of spots.

    Returns
    -------
    float
        Bandwidth in spot pitches.
    """
    variance = scores.var(axis=0)
    errors: list[float] = []
    for width in WIDTHS:
        weights, targets = neighbour_weights(coordinates, float(width), seed)
        if weights.nnz == 0:
            errors.append(np.inf)
            continue
        errors.append(float(((1.0 - explained_by_neighbours(scores, weights, targets)) * variance).sum()))
        if len(errors) > 2 and np.isfinite(errors[-3]) and errors[-1] > errors[-2] > errors[-3]:
            break
    best = int(np.argmin(errors))
    if not 0 < best < len(errors) - 1 or not np.isfinite(errors[best - 1]):
        return float(WIDTHS[best])
    before, here, after = errors[best - 1 : best + 2]
    bend = before - 2.0 * here + after
    shift = 0.5 * (before - after) / bend if bend > 0 else 0.0
    return float(WIDTHS[best] * 2.0 ** (0.5 * np.clip(shift, -0.5, 0.5)))


def spatial_components(
    scores: FloatArray, coordinates: Sequence[FloatArray], width: float, seed: int
) -> NDArray[np.bool_]:
    """Return which components, (k,), neighbours explain better than after permutation of spots within sections.

    Noise components must be excluded, because a Gaussian mixture with tied covariance is invariant to the scale of its
    columns.
    """
    weights, targets = neighbour_weights(coordinates, width, seed)
    explained = explained_by_neighbours(scores, weights, targets)
    null = _permuted(scores, coordinates, weights, targets, PERMUTATIONS, seed)
    # Pooled over components, because the deviation of one component is uncertain with few permutations.
    spatial = explained > null.mean() + ABOVE * null.std()
    if spatial.sum() < FEWEST:
        spatial[np.argsort(-explained)[:FEWEST]] = True
    return np.asarray(spatial)


def structure_p(scores: FloatArray, coordinates: Sequence[FloatArray], seed: int) -> float:
    """Return the p-value of a permutation test of spatial structure, at least 0.005.

    The statistic is R² of the prediction from neighbours, summed over components. Spots are permuted within sections.
    A gradient of sequencing depth is not significant if the components do not depend on depth
    (:func:`mmsrl.residuals.residual_components`).
    """
    weights, targets = neighbour_weights(coordinates, TEST_WIDTH, seed)
    explained = explained_by_neighbours(scores, weights, targets).sum()
    null = _permuted(scores, coordinates, weights, targets, TEST_PERMUTATIONS, seed).sum(axis=1)
    return float((1 + (null >= explained).sum()) / (1 + TEST_PERMUTATIONS))


def _permuted(
    scores: FloatArray, coordinates: Sequence[FloatArray], weights: sp.csr_matrix, targets: Any, times: int, seed: int
) -> FloatArray:
    """Return :func:`explained_by_neighbours` after permutation of spots, (times, k)."""
    random = np.random.default_rng(seed)
    ends = np.cumsum([0, *map(len, coordinates)])
    # In large sections, most spots are neither targets nor neighbours of targets.
    used = np.union1d(targets, weights.indices)
    weights, targets = weights[:, used], np.searchsorted(used, targets)
    result = []
    for _ in range(times):
        order = np.concatenate([a + random.permutation(b - a) for a, b in zip(ends, ends[1:], strict=False)])
        result.append(explained_by_neighbours(scores[order[used]], weights, targets))
    return np.stack(result)
