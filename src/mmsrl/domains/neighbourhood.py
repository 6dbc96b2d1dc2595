"""Confidence and majority vote over neighbouring spots. Linear in the number of spots."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from mmsrl.domains.average import Labels, Posterior
from mmsrl.domains.readouts import one_hot, ordered

CONFIDENCE_SPOTS = 37
"""Number of spots that confidence averages over, with the spot itself: three rings of a hexagonal lattice."""


def neighbourhood(places: npt.NDArray[Any], section: npt.NDArray[Any], spots: int) -> sp.csr_matrix:
    """Return the row-normalised matrix, (n, n), that averages over the nearest spots of the same section.

    Parameters
    ----------
    places
        (n, 2), coordinates. Coordinates of different sections are not compared.
    section
        (n,), name of the section of each spot.
    spots
        Number of spots in a neighbourhood, with the spot itself. Smaller sections have smaller neighbourhoods.
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
    """Return the confidence of each spot, (n,), from 0 to 1: the mean posterior of its domain over the neighbourhood.

    The posterior of the spot alone is near 1 at most spots, also in wrong domains.

    Parameters
    ----------
    posterior
        (n, K), consensus of the members.
    labels
        (n,), domain of each spot from 0.
    around
        :func:`neighbourhood`.
    """
    smoothed: Posterior = around @ posterior
    return np.clip(smoothed[np.arange(len(labels)), labels], 0.0, 1.0).astype(np.float32)
