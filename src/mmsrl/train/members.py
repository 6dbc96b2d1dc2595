"""The embeddings that the default preset's ensemble is of. Arrays only."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl import graph
from mmsrl.expression import standard_components
from mmsrl.train.image import add_image
from mmsrl.train.presets import Default
from mmsrl.train.sections import harmonise

if TYPE_CHECKING:
    from mmsrl.train.unit import Unit

FloatArray = NDArray[np.floating[Any]]


class Member(NamedTuple):
    """One embedding of an ensemble."""

    name: str
    embedding: FloatArray
    """(N, d) float32."""
    facts: dict[str, Any]
    """Its constants, and what came of them."""


def build_members(unit: Unit, settings: Default, image: FloatArray | None, seed: int, correct: bool) -> list[Member]:
    """Make the ensemble: every width of the graph with every number of components; the first is the unit's embedding.

    All share one decomposition at the most components, corrected for the section once, of which each takes the leading
    columns. Where there are fewer components than asked for, members that would be the same are made once.

    Parameters
    ----------
    image
        (N, D) float32, rows of sections without image 0; ``None`` where no section has one.
    seed
        Of everything random: the start of the decomposition, Harmony, and the spots that the image is fitted to.
    correct
        For the section.
    """
    together = unit.section if correct else np.zeros_like(unit.section)
    scores, kept = standard_components(unit.expression, together, max(settings.sizes), seed)
    variance = np.square(scores, dtype=np.float64).sum(axis=0)
    kept_by_leading = kept * np.cumsum(variance) / variance.sum()
    if correct:
        scores = harmonise(scores, unit.section, seed)
    members = []
    sizes = dict.fromkeys(min(size, scores.shape[1]) for size in settings.sizes)
    for width, size in product(settings.widths, sizes):
        leading = np.ascontiguousarray(scores[:, :size])
        adjacency = graph.edge_preserving_graph(unit.graph_coordinates, leading, width)
        z = graph.smooth(adjacency, leading, 1)
        facts = {
            "kernel_width": width,
            "components": size,
            "graph_entries_per_spot": adjacency.nnz / adjacency.shape[0],
            "variance_kept": float(kept_by_leading[size - 1]),
        }
        if image is not None:
            facts["image"] = _count_image(z, leading, image, adjacency, unit, seed)
        members.append(Member(f"width {width:g}, {size} components", z, facts))
    return members


def _count_image(
    z: FloatArray, scores: FloatArray, image: FloatArray, adjacency: sp.csr_matrix, unit: Unit, seed: int
) -> dict[str, Any]:
    """Let the image count in ``z`` as far as it explains expression; rows of sections without one stay as they are."""
    described = np.unique(unit.section[np.any(image != 0, axis=1)])
    rows = np.isin(unit.section, described)
    result = add_image(
        scores[rows], image[rows], adjacency[rows][:, rows], [unit.image_coordinates[s] for s in described], seed
    )
    z[rows] = result.scores
    return {
        "explained": float(np.average(np.maximum(result.explained, 0.0), weights=result.scores.var(axis=0))),
        "mean_weight": float(result.weights.mean()),
        "explained_by_component": result.explained,
        "weights": result.weights,
    }
