"""What the spots around a spot say: how sure its domain is, and a vote on it. Linear in spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from mmsrl.domains.average import Labels, Posterior, consensus

SPOTS = 19
"""Spots that vote, with the one in the middle: two rings on a hexagonal lattice."""

CONFIDENCE_SPOTS = 37
"""Spots that confidence is of: three rings."""


class Refinement(NamedTuple):
    """Whether a vote of the neighbours brings independent labelings closer to each other."""

    pays: bool
    before: float
    """Adjusted Rand index between the consensus of one half of the members and that of the other."""
    after: float
    """The same where the vote is taken in one half and not in the other; mean of both ways."""


def neighbourhood(places: npt.NDArray[Any], section: npt.NDArray[Any], spots: int = SPOTS) -> sp.csr_matrix:
    """Return the matrix that averages over the nearest spots of the same section, the spot itself among them.

    Parameters
    ----------
    places
        (n, 2). Those of different sections have nothing in common.
    section
        (n,), which section each spot is of.
    spots
        Spots of a neighbourhood; fewer in a section that has fewer.
    """
    from scipy.spatial import cKDTree

    rows, columns, weights = [], [], []
    for name in np.unique(section):
        here = np.flatnonzero(section == name)
        k = min(spots, len(here))
        near = cKDTree(places[here]).query(places[here], k=np.arange(1, k + 1))[1]
        rows.append(np.repeat(here, k))
        columns.append(here[near.ravel()])
        weights.append(np.full(near.size, 1.0 / k))
    n = len(places)
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    return sp.csr_matrix(entries, shape=(n, n))


def confidence(posterior: Posterior, labels: Labels, around: sp.csr_matrix) -> npt.NDArray[np.float32]:
    """Return how probable a spot's domain is in its neighbourhood, (n,), between 0 and 1.

    The mean posterior of the spot's own domain over the neighbourhood. At the spot alone, where the members agree, the
    posterior is near one at most spots, those in the wrong domain included.
    """
    smooth: Posterior = around @ posterior
    return np.clip(smooth[np.arange(len(labels)), labels], 0.0, 1.0).astype(np.float32)


def vote(labels: Labels, around: sp.csr_matrix) -> Labels:
    """Return the commonest label of each neighbourhood, the spot's own where that is among the commonest."""
    n, groups = len(labels), int(labels.max()) + 1
    single = sp.csr_matrix((np.ones(n), (np.arange(n), labels)), shape=(n, groups))
    counts = (around @ single).toarray()
    counts[np.arange(n), labels] += 1e-6
    return np.asarray(counts.argmax(axis=1), dtype=np.int64)


def refinement(members: Sequence[Posterior], around: sp.csr_matrix) -> Refinement:
    """Tell from the members alone whether a vote of the neighbours pays.

    Where it removes noise, a voted labelling comes closer to another one that was not voted on; where it wipes out
    fine structure, further away. Smoothness itself cannot tell: it rises in both cases.
    """
    from sklearn.metrics import adjusted_rand_score

    halves = [consensus(members[start::2]).argmax(axis=1) for start in (0, 1)]
    before = float(adjusted_rand_score(*halves))
    voted = [vote(half, around) for half in halves]
    after = float(np.mean([adjusted_rand_score(voted[i], halves[1 - i]) for i in (0, 1)]))
    return Refinement(after > before, before, after)
