"""Ensemble embedding of spots outside the training. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl import graph
from mmsrl.projection import project
from mmsrl.train.members import Fitted, member_graphs
from mmsrl.train.projections import Smoothing

FloatArray = NDArray[np.floating[Any]]


def embed(
    fitted: Mapping[str, Fitted],
    smoothings: Sequence[Smoothing],
    counts: sp.csr_matrix,
    library: FloatArray,
    coordinates: Sequence[FloatArray],
    *,
    shifted: bool,
) -> list[FloatArray]:
    """Compute every member of the ensemble for the spots of one section or several, (n, d) float32 each.

    Parameters
    ----------
    fitted
        Projections by normalisation, restricted to the genes of ``counts`` (:func:`mmsrl.projection.restrict`).
    smoothings
        Normalisation, graph and bandwidth of each member.
    counts
        Raw counts, (n, m).
    library
        Library sizes on the scale of the reference, (n,).
    coordinates
        Spot coordinates of each section, (n_s, 2), in the unit of the bandwidths.
    shifted
        Whether the sections are those of the reference, in its order, and have the shifts of its training.
    """
    section = np.repeat(np.arange(len(coordinates)), [len(places) for places in coordinates])
    scores = {}
    for name, fit in fitted.items():
        winsorised = np.clip(project(fit.projection, counts, library), fit.lowest, fit.highest)[:, fit.spatial]
        scores[name] = (winsorised + fit.shifts[section] if shifted else winsorised).astype(np.float32)
    members = []
    for (normalisation, width), alike in groupby(smoothings, lambda one: (one.normalisation, one.kernel_width)):
        kinds = [smoothing.graph for smoothing in alike]
        for _, adjacency in member_graphs(kinds, coordinates, scores[normalisation], width):
            members.append(graph.smooth(adjacency, scores[normalisation], 1))
    return members
