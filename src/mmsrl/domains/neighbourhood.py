"""What the spots around a spot say: how sure its domain is. Linear in spots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from mmsrl.domains.average import Labels, Posterior
from mmsrl.domains.readouts import one_hot, ordered

CONFIDENCE_SPOTS = 37
"""Spots that confidence is of, with the one in the middle: three rings on a hexagonal lattice."""


def neighbourhood(places: npt.NDArray[Any], section: npt.NDArray[Any], spots: int) -> sp.csr_matrix:
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


def majority_vote(
    posterior: Posterior, places: npt.NDArray[Any], section: npt.NDArray[Any], spots: int
) -> npt.NDArray[np.float32]:
    """Replace the domain of each spot by the majority vote of its nearest spots in the same section.

    This is the label refinement of the published models: the spot itself has no vote.

    Parameters
    ----------
    posterior
        (n, K), of one member.
    places
        (n, 2), coordinates of the spots. Coordinates of different sections are not compared.
    section
        (n,), name of the section of each spot.
    spots
        Number of neighbours that vote.

    Returns
    -------
    numpy.ndarray
        (n, K) float32, ones and zeros, from the largest domain to the smallest.
    """
    members = one_hot(posterior.argmax(axis=1), posterior.shape[1])
    around = neighbourhood(places, section, spots + 1).sign()
    votes = around @ members - around.diagonal()[:, None] * members
    return ordered(one_hot(votes.argmax(axis=1), posterior.shape[1]))


def confidence(posterior: Posterior, labels: Labels, around: sp.csr_matrix) -> npt.NDArray[np.float32]:
    """Return how probable a spot's domain is in its neighbourhood, (n,), between 0 and 1.

    The mean posterior of the spot's own domain over the neighbourhood. At the spot alone, where the members agree, the
    posterior is near one at most spots, those in the wrong domain included.
    """
    smooth: Posterior = around @ posterior
    return np.clip(smooth[np.arange(len(labels)), labels], 0.0, 1.0).astype(np.float32)
