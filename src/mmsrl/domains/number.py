"""How many domains there are, where nobody says."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from mmsrl.domains.readouts import Points, leiden, neighbour_graph, subset

STEPS = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0)
"""Where the curve is recorded, as multiples of the resolution asked for."""


class Number(NamedTuple):
    """A number of domains, and what it was chosen from."""

    n_domains: int
    rule: str
    curve: list[dict[str, float]]
    """One entry a setting that was tried, in increasing order; for the report."""


def choose_number(points: Points, resolution: float, seed: int) -> Number:
    """Choose the number of domains without labels: that of Leiden's communities at ``resolution``.

    Parameters
    ----------
    points
        (n, k), from :func:`mmsrl.domains.readouts.reduce`.
    resolution
        Resolution of the modularity on the graph of nearest neighbours; larger means more domains.
    seed
        Seed of everything random.
    """
    graph = neighbour_graph(points[subset(len(points), seed)])
    settings = np.array(STEPS) * resolution
    counts = [int(leiden(graph, value, seed).max()) + 1 for value in settings]
    curve = [{"resolution": float(r), "n_domains": k} for r, k in zip(settings, counts, strict=True)]
    return Number(counts[STEPS.index(1.0)], f"Leiden communities at resolution {resolution:g}", curve)
