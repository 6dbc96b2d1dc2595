from __future__ import annotations

import dense
import numpy as np
import pytest
from dense import hexagonal

from mmsrl import graph as module
from mmsrl.graph import (
    CUT,
    Pooled,
    block_diagonal,
    edge_preserving_graph,
    entries,
    gaussian_graph,
    joined,
    noise_left,
    plain_graph,
    pooled_graph,
    smooth,
    within,
)


def test_graph_is_the_dense_kernel_cut_where_it_cannot_matter() -> None:
    points = hexagonal(14, 12)
    sparse = gaussian_graph(points, 2.0).toarray()
    np.testing.assert_allclose(sparse, dense.gaussian_graph(points, 2.0, CUT).numpy(), rtol=1e-12, atol=0)
    np.testing.assert_allclose(sparse, dense.gaussian_graph(points, 2.0).numpy(), rtol=0, atol=1e-7)


def test_rows_sum_to_one_and_a_spot_weighs_most_on_itself() -> None:
    graph = gaussian_graph(hexagonal(10, 10), 2.0)
    np.testing.assert_allclose(graph.sum(axis=1), 1.0, rtol=1e-12)
    dense_graph = graph.toarray()
    assert (dense_graph.argmax(axis=1) == np.arange(100)).all()
    first = dense_graph[0]
    assert first[0] / first[1] == pytest.approx(2 / np.exp(-4 / 8))  # identity added; neighbour 2 half-columns away


def test_entries_per_spot_do_not_grow_with_the_section() -> None:
    small, large = gaussian_graph(hexagonal(40, 20), 2.0), gaussian_graph(hexagonal(80, 40), 2.0)
    assert large.nnz / large.shape[0] < 205  # π·129/2: a disc of radius √(2·ln 1e7)·l over half a spot a unit
    assert large.nnz / small.nnz < 5


def test_graph_depends_on_distance_over_width_alone() -> None:
    points = hexagonal(8, 8)
    turned = 137.0 * points @ np.array([[0.6, -0.8], [0.8, 0.6]]) + 1e5
    np.testing.assert_allclose(
        gaussian_graph(points, 1.5).toarray(), gaussian_graph(turned, 137.0 * 1.5).toarray(), rtol=1e-8, atol=1e-16
    )


def test_sections_at_the_same_place_are_not_neighbours() -> None:
    one = gaussian_graph(hexagonal(5, 5), 2.0)
    joint = block_diagonal([one, one]).toarray()
    assert (joint[:25, 25:] == 0).all()
    np.testing.assert_array_equal(joint[25:, 25:], one.toarray())


def test_a_lone_spot_is_its_own_neighbourhood() -> None:
    graph = gaussian_graph([(0.0, 0.0), (100.0, 0.0)], 1.0)
    np.testing.assert_array_equal(graph.toarray(), np.eye(2))


def test_smoothing_keeps_precision_and_constants() -> None:
    graph = gaussian_graph(hexagonal(6, 6), 2.0)
    smoothed = smooth(graph, np.full((36, 2), 3.0, np.float32), 2)
    assert smoothed.dtype == np.float32
    np.testing.assert_allclose(smoothed, 3.0, rtol=1e-6)


def square(side: int) -> np.ndarray:
    return np.array([(r, c) for r in range(side) for c in range(side)], dtype=float)


def stripe(side: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """A stripe of three spots across a section, in five noisy columns: what it is, and what is measured."""
    truth = np.repeat((np.abs(square(side)[:, :1] - side // 2) <= 1).astype(np.float32), 5, axis=1)
    return truth, truth + noise * np.random.default_rng(seed).standard_normal(truth.shape).astype(np.float32)


def test_edge_preserving_graph_is_its_definition() -> None:
    places, (_, values) = square(12), stripe(12, 0.5)
    apart = ((places[:, None] - places[None]) ** 2).sum(axis=2)
    space = np.where(np.exp(-apart / 8.0) >= 0.02, np.exp(-apart / 8.0), 0.0)
    first = np.where(np.exp(-apart / 2.0) >= 1e-3, np.exp(-apart / 2.0), 0.0)
    weights = first / first.sum(axis=1, keepdims=True)
    for _ in range(2):
        smoothed = weights @ values
        unlike = ((smoothed[:, None] - smoothed[None]) ** 2).sum(axis=2)
        typical = np.median(unlike[(apart > 0) & (apart < 3.8**2)])
        weights = space * np.exp(-unlike / (2.0 * typical))
        weights /= weights.sum(axis=1, keepdims=True)
    found = edge_preserving_graph([places], values, 1.0)
    np.testing.assert_allclose(found.toarray(), weights, atol=2e-6)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-6)


def test_edges_are_kept_that_a_plain_gaussian_blurs() -> None:
    places, (truth, values) = square(30), stripe(30, 0.4)
    plain = smooth(plain_graph(places, 1.0), values, 1)
    kept = smooth(edge_preserving_graph([places], values, 1.0), values, 1)
    assert ((kept - truth) ** 2).mean() < 0.45 * ((plain - truth) ** 2).mean()


def test_where_all_values_are_alike_the_edge_preserving_graph_is_the_wide_gaussian() -> None:
    places = square(9)
    found = edge_preserving_graph([places], np.zeros((81, 3), np.float32), 1.0)
    np.testing.assert_allclose(found.toarray(), gaussian_graph(places, 2.0, self_weight=1.0, cut=0.02).toarray(), 1e-5)


def test_what_one_section_is_smoothed_by_does_not_depend_on_another() -> None:
    (_, one), (_, other) = stripe(10, 0.5), stripe(8, 5.0)
    joint = edge_preserving_graph([square(10), square(8)], np.concatenate([one, other]), 1.0)
    np.testing.assert_array_equal(joint[:100, :100].toarray(), edge_preserving_graph([square(10)], one, 1.0).toarray())
    assert joint[:100, 100:].nnz == 0


def test_lone_spots_stay_as_they_are() -> None:
    values = np.array([[1.0], [2.0]], np.float32)
    found = edge_preserving_graph([np.array([[0.0, 0.0], [100.0, 0.0]])], values, 1.0)
    np.testing.assert_array_equal(found.toarray(), np.eye(2))


def fields(places: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Two domains with a straight border, in noise."""
    return ((places[:, :1] > places[:, 0].mean()) + random.normal(0.0, 0.5, (len(places), 3))).astype(np.float32)


def test_cells_of_one_spot_each_are_the_graph_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    places = square(12)
    values = fields(places, np.random.default_rng(0))
    plain, kept = pooled_graph([places], 1.0), edge_preserving_graph([places], values, 1.0)
    monkeypatch.setattr(module, "MOST_ENTRIES", 0)
    monkeypatch.setattr(module, "CELL", 1.0)
    for exact, pooled in (
        (plain, pooled_graph([places], 1.0)),
        (kept, edge_preserving_graph([places], values, 1.0)),
    ):
        assert isinstance(pooled, Pooled) and not isinstance(exact, Pooled)
        np.testing.assert_allclose((pooled.near @ pooled.cells).toarray(), exact.toarray(), atol=2e-6)


def test_pooled_neighbours_smooth_as_all_of_them_do(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    places = random.uniform(0.0, 60.0, (3600, 2))
    values = fields(places, random)
    exact = [smooth(graph, values, 1) for graph in graphs_of(places, values)]
    monkeypatch.setattr(module, "MOST_ENTRIES", 0)
    pooled = graphs_of(places, values)
    for one, graph in zip(exact, pooled, strict=True):
        assert isinstance(graph, Pooled) and entries(graph) < 240
        found = smooth(graph, values, 1)
        assert found.dtype == np.float32
        assert np.sqrt(((found - one) ** 2).mean() / one.var(axis=0).mean()) < 0.15


def graphs_of(places: np.ndarray, values: np.ndarray) -> list:
    return [pooled_graph([places], 4.0), edge_preserving_graph([places], values, 4.0)]


def test_what_is_asked_of_a_pooled_graph_is_that_of_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    sections = [square(10), square(8)]
    small = plain_graph(sections[1], 2.0)
    monkeypatch.setattr(module, "MOST_ENTRIES", 0)
    graph = block_diagonal([pooled_graph(sections[:1], 2.0), small])
    dense = (graph.near @ graph.cells).toarray()
    np.testing.assert_allclose(dense.sum(axis=1), 1.0, rtol=1e-5)
    assert noise_left(graph) == pytest.approx((dense**2).sum() / len(dense), rel=1e-5)
    spots = np.arange(164) < 3
    assert joined(graph, spots).tolist() == ((dense @ spots + dense.T @ spots > 0) | spots).tolist()
    for rows in (np.arange(164) < 100, np.arange(164) >= 100):
        part = within(graph, rows)
        np.testing.assert_allclose((part.near @ part.cells).toarray(), dense[rows][:, rows], rtol=1e-6)
    np.testing.assert_allclose(dense[100:, 100:], small.toarray(), atol=1e-7)


def test_a_spot_like_none_of_its_pooled_neighbours_has_weights_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    places = random.uniform(0.0, 30.0, (900, 2))
    values = 0.01 * random.standard_normal((900, 2)) + 10.0 * (places[:, :1] > 15.0)
    values[450] = 1e4
    monkeypatch.setattr(module, "MOST_ENTRIES", 0)
    graph = edge_preserving_graph([places], values, 2.0)
    np.testing.assert_allclose(np.asarray(graph.near.sum(axis=1)).ravel(), 1.0, rtol=1e-5)
