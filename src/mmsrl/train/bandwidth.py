"""What the neighbours of a spot say of it: bandwidth, spatial components and a test of structure. Arrays only."""

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
"""Bandwidths that are tried, in spot pitches: 0.5 to 8."""

CUT = 0.02
"""Gaussian weights below it are left out: 2.8 bandwidths."""

TARGETS = 4_000
"""Spots that are predicted at most; of more, so many drawn at random. Any spot can be a neighbour."""

PERMUTATIONS = 30
"""Of the null that a component's share explained by neighbours is compared with; all components share one null."""

ABOVE = 4.0
"""Standard deviations above the mean of that null from which a component is spatial."""

FEWEST = 3
"""Components that are kept at least: those that neighbours explain best."""

TEST_WIDTH = 1.5
"""Bandwidth of the test of structure: fixed, since one chosen from the data would favour them over the permuted."""

TEST_PERMUTATIONS = 199


def neighbour_weights(coordinates: Sequence[FloatArray], width: float, seed: int) -> tuple[sp.csr_matrix, Any]:
    """Return Gaussian weights of the spots around some spots, themselves left out, and which spots these are.

    Returns
    -------
    (t, N) CSR, whose rows sum to one or, where a spot has no neighbour, to zero; (t,) the predicted spots, at most
    :data:`TARGETS`.
    """
    n = sum(map(len, coordinates))
    targets = at_random(n, TARGETS, seed)
    blocks, first = [], 0
    for places in coordinates:
        own = targets[(targets >= first) & (targets < first + len(places))] - first
        near = cKDTree(places[own]).sparse_distance_matrix(
            cKDTree(places), width * np.sqrt(-2.0 * np.log(CUT)), output_type="ndarray"
        )
        near = near[own[near["i"]] != near["j"]]
        values = np.exp(near["v"] ** 2 / (-2.0 * width**2))
        weights = sp.coo_matrix((values, (near["i"], near["j"])), (len(own), len(places)))
        total = np.asarray(weights.sum(axis=1)).ravel()
        blocks.append(sp.diags(np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)) @ weights)
        first += len(places)
    return sp.csr_matrix(sp.block_diag(blocks, format="csr"), dtype=np.float32), targets


def explained_by_neighbours(scores: FloatArray, weights: sp.csr_matrix, targets: Any) -> FloatArray:
    """Return R² of each component, (k,), at the targets predicted by the mean of their neighbours; may be negative."""
    found = np.diff(weights.indptr) > 0
    values = scores[targets][found]
    error = ((values - (weights @ scores)[found]) ** 2).sum(axis=0)
    spread = ((values - values.mean(axis=0)) ** 2).sum(axis=0)
    return np.asarray(1.0 - error / np.maximum(spread, 1e-30))


def choose_bandwidth(scores: FloatArray, coordinates: Sequence[FloatArray], seed: int) -> float:
    """Choose the bandwidth by leave-one-out cross-validation: at which neighbours best predict a spot's components.

    Bandwidths of :data:`WIDTHS` are tried from the narrowest until the error has risen twice; a parabola through the
    least and those beside it gives the result.

    Parameters
    ----------
    scores
        (N, k).
    coordinates
        Of each section, (n_s, 2), in spot pitches.
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
    """Tell which components, (k,), neighbours explain better than by chance (spots permuted within their section).

    A mixture with one covariance is invariant to the scale of its columns: one that is noise counts as much as any.
    """
    weights, targets = neighbour_weights(coordinates, width, seed)
    found = explained_by_neighbours(scores, weights, targets)
    null = _permuted(scores, coordinates, weights, targets, PERMUTATIONS, seed)
    # Pooled over components, which are cut alike: a deviation of their own, of few draws, would be a lottery.
    spatial = found > null.mean() + ABOVE * null.std()
    if spatial.sum() < FEWEST:
        spatial[np.argsort(-found)[:FEWEST]] = True
    return np.asarray(spatial)


def structure_p(scores: FloatArray, coordinates: Sequence[FloatArray], seed: int) -> float:
    """Test whether the components have any spatial structure: p of a permutation test, 0.005 at least.

    The statistic is the sum over components of the share that neighbours explain; spots are permuted within their
    section. Given components that depth does not make (:func:`mmsrl.residuals.residual_components`), a gradient of
    depth is no structure.
    """
    weights, targets = neighbour_weights(coordinates, TEST_WIDTH, seed)
    found = explained_by_neighbours(scores, weights, targets).sum()
    null = _permuted(scores, coordinates, weights, targets, TEST_PERMUTATIONS, seed).sum(axis=1)
    return float((1 + (null >= found).sum()) / (1 + TEST_PERMUTATIONS))


def _permuted(
    scores: FloatArray, coordinates: Sequence[FloatArray], weights: sp.csr_matrix, targets: Any, times: int, seed: int
) -> FloatArray:
    """Return :func:`explained_by_neighbours` of permuted spots, (times, k)."""
    random = np.random.default_rng(seed)
    ends = np.cumsum([0, *map(len, coordinates)])
    # Of many spots most are neither a target nor a neighbour of one.
    used = np.union1d(targets, weights.indices)
    weights, targets = weights[:, used], np.searchsorted(used, targets)
    result = []
    for _ in range(times):
        order = np.concatenate([a + random.permutation(b - a) for a, b in zip(ends, ends[1:], strict=False)])
        result.append(explained_by_neighbours(scores[order[used]], weights, targets))
    return np.stack(result)
