"""Members of an ensemble for spots that it was not made of. Arrays only."""

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
    """Return every member of the ensemble for spots of one section or several, each (n, d) float32.

    Parameters
    ----------
    fitted
        By normalisation, of the genes that ``counts`` has (:func:`mmsrl.projection.restrict`).
    counts
        (n, m), raw.
    library
        (n,): total counts on the scale of the reference.
    coordinates
        Of each section, (n_s, 2), in the unit of the kernel widths.
    shifted
        Whether the sections are those of the reference, in its order, which training has aligned.
    """
    section = np.repeat(np.arange(len(coordinates)), [len(places) for places in coordinates])
    scores = {}
    for name, found in fitted.items():
        cut = np.clip(project(found.projection, counts, library), found.lowest, found.highest)[:, found.spatial]
        scores[name] = (cut + found.shifts[section] if shifted else cut).astype(np.float32)
    members = []
    for (normalisation, width), alike in groupby(smoothings, lambda one: (one.normalisation, one.kernel_width)):
        kinds = [smoothing.graph for smoothing in alike]
        for _, adjacency in member_graphs(kinds, coordinates, scores[normalisation], width):
            members.append(graph.smooth(adjacency, scores[normalisation], 1))
    return members
