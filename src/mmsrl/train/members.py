"""The embeddings that the default preset's ensemble is of. Arrays only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl import _keys, graph
from mmsrl.normalisation import standard_components
from mmsrl.residuals import (
    Components,
    Projection,
    beyond_depth,
    log_components,
    residual_components,
    robust,
    robust_limits,
)
from mmsrl.train.align import align_sections
from mmsrl.train.bandwidth import choose_bandwidth, spatial_components, structure_p
from mmsrl.train.image import add_image
from mmsrl.train.presets import CELL_SHARES, SPOT_SHARES, Default

if TYPE_CHECKING:
    from mmsrl.train.unit import Unit

FloatArray = NDArray[np.floating[Any]]


KINDS = ("bilateral", "gaussian")
"""Of graphs."""


class Member(NamedTuple):
    """One embedding of an ensemble."""

    name: str
    embedding: FloatArray
    """(N, d) float32."""
    facts: dict[str, Any]
    """Its constants, and what came of them."""


class Fitted(NamedTuple):
    """What takes counts of other spots to the components of a normalisation that members are smoothed from."""

    projection: Projection
    lowest: FloatArray
    """(k,): what scores are cut at."""
    highest: FloatArray
    spatial: NDArray[np.bool_]
    """(k,): the components that are used."""
    shifts: FloatArray
    """(sections, used components): what each section was moved by; 0 where they were not aligned."""


class Ensemble(NamedTuple):
    """The members, and what they have in common."""

    members: list[Member]
    fitted: dict[str, Fitted]
    """By normalisation; empty for values that were normalised before."""
    facts: dict[str, Any]
    """``structure_p``, of what depth does not tell, where there are counts, and ``structure_p_with_depth``;
    by normalisation: ``bandwidth``, ``spatial_components`` and, where there are counts, ``depth_correlation``."""


class _Components(NamedTuple):
    """Components of one normalisation, ready to be smoothed."""

    scores: FloatArray
    """(N, k) float32: spatial ones, robust, corrected for the section."""
    width: float
    """The cross-validated bandwidth, or the one given, in spot pitches."""
    facts: dict[str, Any]
    lowest: FloatArray
    highest: FloatArray
    spatial: NDArray[np.bool_]
    shifts: FloatArray


def build_members(
    unit: Unit, settings: Default, image: FloatArray | None, seed: int, correct: bool, *, first_only: bool = False
) -> Ensemble:
    """Make the ensemble: normalisation × graph × bandwidth; the first member is the unit's embedding.

    Normalisations are log-normalised expression without its depth artefact, and Pearson residuals; of values that were
    normalised before, these as they are and scaled to equal totals. Graphs are a bilateral filter and a Gaussian;
    bandwidths shares of the cross-validated one. All share one decomposition a normalisation.

    Parameters
    ----------
    image
        (N, D) float32, rows of sections without image 0; ``None`` where no section has one.
    seed
        Of everything random: the start of the decomposition, permutations, and the spots that fits are made to.
    correct
        For the section.
    first_only
        Make the unit's embedding alone.
    """
    library = np.asarray(unit.library, dtype=np.float64)
    facts: dict[str, Any] = {}
    made: dict[str, Components] = {}
    if unit.counted:
        made["log"] = log_components(unit.counts, library, settings.components, seed)
        if not first_only:
            made["residuals"] = residual_components(unit.counts, settings.components, seed)
        raw = {name: components.scores for name, components in made.items()}
        if not first_only:
            beyond = beyond_depth(raw["residuals"], library, unit.section)
            facts[_keys.STRUCTURE_P] = structure_p(robust(beyond), unit.coordinates, seed)
            facts[_keys.STRUCTURE_P_WITH_DEPTH] = structure_p(robust(raw["residuals"]), unit.coordinates, seed)
    else:
        raw = _of_values(unit, settings.components, seed)
        if not first_only:
            # Depth is not known, so that it cannot be set apart.
            facts[_keys.STRUCTURE_P_WITH_DEPTH] = structure_p(robust(raw["values"]), unit.coordinates, seed)
    shares = CELL_SHARES if unit.cells else SPOT_SHARES
    members: list[Member] = []
    fitted: dict[str, Fitted] = {}
    for normalisation, scores in raw.items():
        found = _components(unit, settings, scores, library, seed, correct)
        facts[normalisation] = found.facts
        if normalisation in made:
            fitted[normalisation] = Fitted(made[normalisation].projection, *found[3:])
        widths = [found.width] if settings.kernel_width else [found.width * share for share in shares]
        smoothed = (
            (width, kind, adjacency)
            for width in widths
            for kind, adjacency in member_graphs(KINDS, unit.coordinates, found.scores, width)
        )
        for width, kind, adjacency in smoothed:
            if first_only and members:
                break
            z = graph.smooth(adjacency, found.scores, 1)
            about: dict[str, Any] = {
                "normalisation": normalisation,
                "graph": kind,
                "kernel_width": width,
                "components": z.shape[1],
                "graph_entries_per_spot": graph.entries(adjacency),
            }
            if image is not None:
                about["image"] = _count_image(z, found.scores, image, adjacency, unit, seed)
            members.append(Member(f"{normalisation}, {kind} of {width:.2f} pitches", z, about))
    return Ensemble(members, fitted, facts)


def _of_values(unit: Unit, k: int, seed: int) -> dict[str, FloatArray]:
    """Return components of normalised values, as they are and scaled to equal totals where that differs."""
    alike = np.zeros(len(unit.section), dtype=np.int64)
    matrices = {"values": unit.expression} | ({} if unit.scaled is None else {"scaled": unit.scaled})
    return {name: standard_components(matrix, alike, k, seed)[0] for name, matrix in matrices.items()}


def _components(
    unit: Unit, settings: Default, raw: FloatArray, library: FloatArray, seed: int, correct: bool
) -> _Components:
    """Choose bandwidth and components of a normalisation, and align the sections."""
    scores = robust(raw)
    lowest, highest = robust_limits(raw)
    width = settings.kernel_width or choose_bandwidth(scores, unit.coordinates, seed)
    spatial = spatial_components(scores, unit.coordinates, width, seed)
    scores = np.ascontiguousarray(scores[:, spatial])
    shifts = np.zeros((len(unit.samples), scores.shape[1]))
    if correct:
        first = np.searchsorted(unit.section, np.arange(len(unit.samples)))
        before = scores[first]
        smoothed = graph.smooth(graph.pooled_graph(unit.coordinates, width), scores, 1)
        scores = align_sections(scores, smoothed, unit.section, seed)
        shifts = scores[first] - before
    facts: dict[str, Any] = {"bandwidth": width, "spatial_components": np.flatnonzero(spatial) + 1}
    if unit.counted:
        depth = np.log(np.maximum(library, 1.0))
        facts["depth_correlation"] = [
            float(np.corrcoef(column, depth)[0, 1]) if column.std() * depth.std() > 0 else 0.0 for column in scores.T
        ]
    return _Components(scores, width, facts, lowest, highest, spatial, shifts)


def member_graphs(
    kinds: Iterable[str], coordinates: Sequence[FloatArray], scores: FloatArray, width: float
) -> Iterator[tuple[str, graph.Graph]]:
    """Yield kinds of graphs of one width, of all sections; a bilateral one is guided by the scores.

    The plain Gaussian, which the first guess of the bilateral filter is smoothed by, is made once for both.
    """
    plain = graph.pooled_graph(coordinates, width)
    for kind in kinds:
        bilateral = kind == "bilateral"
        yield kind, graph.edge_preserving_graph(coordinates, scores, width, plain) if bilateral else plain


def _count_image(
    z: FloatArray, scores: FloatArray, image: FloatArray, adjacency: graph.Graph, unit: Unit, seed: int
) -> dict[str, Any]:
    """Let the image count in ``z`` as far as it explains expression; rows of sections without one stay as they are."""
    described = np.unique(unit.section[np.any(image != 0, axis=1)])
    rows = np.isin(unit.section, described)
    result = add_image(
        scores[rows], image[rows], graph.within(adjacency, rows), [unit.image_coordinates[s] for s in described], seed
    )
    z[rows] = result.scores
    return {
        "explained": float(np.average(np.maximum(result.explained, 0.0), weights=result.scores.var(axis=0))),
        "mean_weight": float(result.weights.mean()),
        "explained_by_component": result.explained,
        "weights": result.weights,
    }
