"""Ensemble of the preset ``default``. Arrays only."""

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
"""Kinds of smoothing graphs."""


class Member(NamedTuple):
    """One embedding of an ensemble."""

    name: str
    embedding: FloatArray
    """(N, d) float32."""
    facts: dict[str, Any]
    """Normalisation, graph, bandwidth and a summary of the embedding."""


class Fitted(NamedTuple):
    """Projection of counts of other spots to the components of a normalisation, which members smooth."""

    projection: Projection
    lowest: FloatArray
    """(k,), lower limit at which scores are clipped."""
    highest: FloatArray
    """(k,), upper limit."""
    spatial: NDArray[np.bool_]
    """(k,), whether a component has spatial structure and is used."""
    shifts: FloatArray
    """(sections, used components), shift that aligned each section. 0 without batch correction."""


class Ensemble(NamedTuple):
    """Members of an ensemble, and what they share."""

    members: list[Member]
    fitted: dict[str, Fitted]
    """Projections by normalisation. Empty without raw counts."""
    facts: dict[str, Any]
    """``structure_p_with_depth`` and, for counts, ``structure_p``: p-values of the test of spatial structure with
    sequencing depth and beyond it. By normalisation: ``bandwidth``, ``spatial_components`` and, for counts,
    ``depth_correlation``."""


class _Components(NamedTuple):
    """Components of one normalisation before smoothing."""

    scores: FloatArray
    """(N, k) float32: components with spatial structure, clipped and corrected for the section."""
    width: float
    """Cross-validated or given bandwidth in spot pitches."""
    facts: dict[str, Any]
    lowest: FloatArray
    highest: FloatArray
    spatial: NDArray[np.bool_]
    shifts: FloatArray


def build_members(
    unit: Unit, settings: Default, image: FloatArray | None, seed: int, correct: bool, *, first_only: bool = False
) -> Ensemble:
    """Compute the ensemble, all combinations of normalisation, graph and bandwidth.

    - Normalisations: log-normalised counts, corrected for the depth artefact, and Pearson residuals. Values that are
      normalised already are used as given, and scaled to equal totals.
    - Graphs: a bilateral filter and a Gaussian.
    - Bandwidths: multiples of the cross-validated one.

    Each normalisation is decomposed once. The first member is the embedding of the unit.

    Parameters
    ----------
    image
        (N, D) float32, or ``None`` without image features. Rows of sections without an image are 0.
    seed
        Random seed of decompositions, permutations and subsets of spots.
    correct
        Correct for the batch key (the section).
    first_only
        Compute only the first member.
    """
    library = np.asarray(unit.library, dtype=np.float64)
    facts: dict[str, Any] = {}
    decomposed: dict[str, Components] = {}
    if unit.counted:
        decomposed["log"] = log_components(unit.counts, library, settings.components, seed)
        if not first_only:
            decomposed["residuals"] = residual_components(unit.counts, settings.components, seed)
        raw = {name: components.scores for name, components in decomposed.items()}
        if not first_only:
            beyond = beyond_depth(raw["residuals"], library, unit.section)
            facts[_keys.STRUCTURE_P] = structure_p(robust(beyond), unit.coordinates, seed)
            facts[_keys.STRUCTURE_P_WITH_DEPTH] = structure_p(robust(raw["residuals"]), unit.coordinates, seed)
    else:
        raw = _value_components(unit, settings.components, seed)
        if not first_only:
            # Without counts, sequencing depth is unknown.
            facts[_keys.STRUCTURE_P_WITH_DEPTH] = structure_p(robust(raw["values"]), unit.coordinates, seed)
    shares = CELL_SHARES if unit.cells else SPOT_SHARES
    members: list[Member] = []
    fitted: dict[str, Fitted] = {}
    for normalisation, scores in raw.items():
        prepared = _prepare_components(unit, settings, scores, library, seed, correct)
        facts[normalisation] = prepared.facts
        if normalisation in decomposed:
            fitted[normalisation] = Fitted(decomposed[normalisation].projection, *prepared[3:])
        widths = [prepared.width] if settings.kernel_width else [prepared.width * share for share in shares]
        smoothed = (
            (width, kind, adjacency)
            for width in widths
            for kind, adjacency in member_graphs(KINDS, unit.coordinates, prepared.scores, width)
        )
        for width, kind, adjacency in smoothed:
            if first_only and members:
                break
            embedding = graph.smooth(adjacency, prepared.scores, 1)
            about: dict[str, Any] = {
                "normalisation": normalisation,
                "graph": kind,
                "kernel_width": width,
                "components": embedding.shape[1],
                "graph_entries_per_spot": graph.entries(adjacency),
            }
            if image is not None:
                about["image"] = _apply_image(embedding, prepared.scores, image, adjacency, unit, seed)
            members.append(Member(f"{normalisation}, {kind} of {width:.2f} pitches", embedding, about))
    return Ensemble(members, fitted, facts)


def _value_components(unit: Unit, k: int, seed: int) -> dict[str, FloatArray]:
    """Return components of normalised values, as given and, if it differs, scaled to equal totals."""
    one_section = np.zeros(len(unit.section), dtype=np.int64)
    matrices = {"values": unit.expression} | ({} if unit.scaled is None else {"scaled": unit.scaled})
    return {name: standard_components(matrix, one_section, k, seed)[0] for name, matrix in matrices.items()}


def _prepare_components(
    unit: Unit, settings: Default, raw: FloatArray, library: FloatArray, seed: int, correct: bool
) -> _Components:
    """Choose bandwidth and components of a normalisation, and correct for the section."""
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
    """Yield the kind and the graph of each of ``kinds``, over all sections.

    The Gaussian graph also smooths the initial guess of the bilateral filter, so it is built once for both.

    Parameters
    ----------
    coordinates
        Coordinates of each section, (n, 2), in spot pitches.
    scores
        (N, k), components that guide the bilateral filter.
    width
        Bandwidth in spot pitches.
    """
    plain = graph.pooled_graph(coordinates, width)
    for kind in kinds:
        bilateral = kind == "bilateral"
        yield kind, graph.edge_preserving_graph(coordinates, scores, width, plain) if bilateral else plain


def _apply_image(
    embedding: FloatArray, scores: FloatArray, image: FloatArray, adjacency: graph.Graph, unit: Unit, seed: int
) -> dict[str, Any]:
    """Correct ``embedding`` in place by the image. Rows of sections without an image stay unchanged."""
    described = np.unique(unit.section[np.any(image != 0, axis=1)])
    rows = np.isin(unit.section, described)
    result = add_image(
        scores[rows], image[rows], graph.within(adjacency, rows), [unit.image_coordinates[s] for s in described], seed
    )
    embedding[rows] = result.scores
    return {
        "explained": float(np.average(np.maximum(result.explained, 0.0), weights=result.scores.var(axis=0))),
        "mean_weight": float(result.weights.mean()),
        "explained_by_component": result.explained,
        "weights": result.weights,
    }
