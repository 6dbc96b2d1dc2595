from __future__ import annotations

import dense
import numpy as np
import pytest

from mmsrl.graph import CUT, block_diagonal, gaussian_graph, smooth


def hexagonal(rows: int, cols: int) -> np.ndarray:
    return np.array([(r, 2 * c + r % 2) for r in range(rows) for c in range(cols)], dtype=float)


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
