"""How like the reference tissue around a spot is, batch and depth allowed for. Arrays only."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl._thinning import split_counts
from mmsrl.markers.domain_means import membership

FloatArray = NDArray[np.floating[Any]]

LEAST = 0.55
"""Likeness below which a spot is unlike anything in the reference. Pairs of sections whose relation is known have it
from both sides (docs/output.md): medians of other patients' tumours of one kind are 0.67 and more, also on another
platform, those of other tissues 0.49 and less."""

DEPTHS = 5
"""Depths of the new section at which the reference's own correlation is measured; between them it is interpolated."""

REFERENCE_SPOTS = 1_000
"""Spots of the reference that are measured at most."""

SPOTS_AT_A_TIME = 2_000


class Likeness(NamedTuple):
    """How like the reference spots are."""

    values: NDArray[np.float32]
    """(n,), 0 to 1."""
    own: FloatArray
    """(2,): the correlation of the reference's own spots at the least and at the greatest depth."""


def likeness(
    counts: sp.csr_matrix,
    around: sp.csr_matrix,
    reference: sp.csr_matrix,
    reference_around: sp.csr_matrix,
    domain: NDArray[np.integer[Any]],
    seed: int,
) -> Likeness:
    """Return how well the profile around each spot correlates with the domain it is most like.

    Profiles are log1p of counts, pooled over the neighbourhood and scaled to 10,000; correlation is over genes. It is
    divided by what the reference's own spots have at the same depth, to which they are thinned: noise lowers a
    correlation as much as another tissue does. No alignment comes before it, which could move any section anywhere.

    Parameters
    ----------
    counts, reference
        (n, m) and (r, m), raw, of the shared genes.
    around, reference_around
        (n, n) and (r, r): mean over each spot's neighbourhood.
    domain
        (r,), from 0, of the reference's spots.
    """
    profiles = _profiles(sp.csr_matrix(membership(domain, int(domain.max()) + 1) @ reference))
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(len(domain), min(len(domain), REFERENCE_SPOTS), replace=False))
    own = _members(reference_around[rows])
    most = float(np.median(own @ _totals(reference)))
    members = _members(around)
    depth = members @ _totals(counts)
    # A section deeper than the reference is judged at the depth of the reference.
    share = min(most / max(float(np.median(depth)), 1.0), 1.0)
    depth = np.maximum(depth * share, 1.0)
    nodes = np.unique(np.minimum(np.quantile(depth, np.linspace(0.0, 1.0, DEPTHS)), most))
    typical = np.array([np.median(_best(own, reference, node / most, profiles, seed)) for node in nodes])
    expected = np.interp(np.log(depth), np.log(nodes), np.maximum(typical, 1e-6))
    values = np.clip(_best(members, counts, share, profiles, seed) / expected, 0.0, 1.0)
    return Likeness(values.astype(np.float32), typical[[0, -1]])


def _members(around: sp.csr_matrix) -> sp.csr_matrix:
    """Return the spots of each neighbourhood as ones."""
    return sp.csr_matrix((np.ones(around.nnz, np.float32), around.indices, around.indptr), around.shape)


def _totals(counts: sp.csr_matrix) -> FloatArray:
    return np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()


def _profiles(counts: sp.csr_matrix) -> FloatArray:
    """Return log1p of counts scaled to 10,000, centred and of unit length over genes: (n, m)."""
    dense = counts.toarray().astype(np.float64)
    values = np.log1p(dense * (1e4 / np.maximum(dense.sum(axis=1, keepdims=True), 1.0)))
    values -= values.mean(axis=1, keepdims=True)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12))


def _best(members: sp.csr_matrix, counts: sp.csr_matrix, share: float, profiles: FloatArray, seed: int) -> FloatArray:
    """Return the highest correlation of neighbourhoods, thinned to a share of their counts, with a profile, (n,)."""
    blocks = []
    for start in range(0, members.shape[0], SPOTS_AT_A_TIME):
        pooled = sp.csr_matrix(members[start : start + SPOTS_AT_A_TIME] @ counts)
        if share < 1.0:
            pooled = split_counts(pooled, [share, 1.0 - share], seed + start)[0]
        blocks.append((_profiles(pooled) @ profiles.T).max(axis=1))
    return np.concatenate(blocks)
