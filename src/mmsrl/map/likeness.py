"""Similarity of the tissue around a spot to the reference, adjusted for depth. Arrays only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl._thinning import split_counts
from mmsrl.markers.domain_means import membership

FloatArray = NDArray[np.floating[Any]]

LEAST = 0.55
"""Minimum likeness of a spot that is not ``unlike``. Pairs of sections with a known relation bound it from both sides
(docs/output.md): medians are at least 0.67 for tumours of one kind in other patients, also on another platform, and at
most 0.49 for other tissues."""

DEPTHS = 5
"""Number of depths at which the correlation of the reference with itself is measured. It is interpolated in between."""

REFERENCE_SPOTS = 1_000
"""Maximum number of reference spots for this measurement."""

SPOTS_AT_A_TIME = 2_000


class Likeness(NamedTuple):
    """Similarity of spots to the reference."""

    values: NDArray[np.float32]
    """(n,), 0 to 1."""
    own: FloatArray
    """(2,): correlation of reference spots with their own domains at the lowest and the highest depth."""


def likeness(
    counts: sp.csr_matrix,
    around: sp.csr_matrix,
    reference: sp.csr_matrix,
    reference_around: sp.csr_matrix,
    domain: NDArray[np.integer[Any]],
    seed: int,
) -> Likeness:
    """Compute the highest correlation of the profile around each spot with a domain of the reference.

    Profiles are log1p of counts per 10,000, pooled over the neighbourhood. The correlation over genes is divided by the
    typical correlation of reference spots that are thinned to the same depth, because noise lowers a correlation as
    another tissue does. There is no alignment before, which could make any section similar.

    Parameters
    ----------
    counts, reference
        Raw counts of the shared genes, (n, m) and (r, m).
    around, reference_around
        Averaging matrices of the neighbourhoods, (n, n) and (r, r).
    domain
        Domain of each reference spot, (r,), from 0.
    seed
        Random seed of the subsample and of thinning.
    """
    profiles = _profiles(sp.csr_matrix(membership(domain, int(domain.max()) + 1) @ reference))
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(len(domain), min(len(domain), REFERENCE_SPOTS), replace=False))
    reference_members = _members(reference_around[rows])
    most = float(np.median(reference_members @ _totals(reference)))
    members = _members(around)
    depth = members @ _totals(counts)
    # A section deeper than the reference is thinned to the depth of the reference.
    share = min(most / max(float(np.median(depth)), 1.0), 1.0)
    depth = np.maximum(depth * share, 1.0)
    nodes = np.unique(np.minimum(np.quantile(depth, np.linspace(0.0, 1.0, DEPTHS)), most))
    typical = np.array([np.median(_best(reference_members, reference, node / most, profiles, seed)) for node in nodes])
    expected = np.interp(np.log(depth), np.log(nodes), np.maximum(typical, 1e-6))
    values = np.clip(_best(members, counts, share, profiles, seed) / expected, 0.0, 1.0)
    return Likeness(values.astype(np.float32), typical[[0, -1]])


def _members(around: sp.csr_matrix) -> sp.csr_matrix:
    """Return the neighbourhoods as binary matrices."""
    return sp.csr_matrix((np.ones(around.nnz, np.float32), around.indices, around.indptr), around.shape)


def _totals(counts: sp.csr_matrix) -> FloatArray:
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


def _profiles(counts: sp.csr_matrix) -> FloatArray:
    """Return log1p of counts per 10,000, centred and of unit length over genes: (n, m)."""
    dense = counts.toarray().astype(np.float64)
    values = np.log1p(dense * (1e4 / np.maximum(dense.sum(axis=1, keepdims=True), 1.0)))
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _best(members: sp.csr_matrix, counts: sp.csr_matrix, share: float, profiles: FloatArray, seed: int) -> FloatArray:
    """Return the highest correlation of neighbourhoods, thinned to a fraction of their counts, with a profile, (n,)."""
    blocks = []
    for start in range(0, members.shape[0], SPOTS_AT_A_TIME):
        pooled = sp.csr_matrix(members[start : start + SPOTS_AT_A_TIME] @ counts)
        if share < 1.0:
            pooled = split_counts(pooled, [share, 1.0 - share], seed + start)[0]
        blocks.append((_profiles(pooled) @ profiles.T).max(axis=1))
    return np.concatenate(blocks)
