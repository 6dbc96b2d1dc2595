"""Pitch and lattice are recovered from planted lattices, whatever was done to them."""

import numpy as np
import pytest

from mmsrl import geometry

PITCH = 137.0


def planted(lattice: str, n_rows: int, n_cols: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates of a lattice of pitch ``PITCH`` with the array indices that the platform would give."""
    row, col = (index.ravel() for index in np.mgrid[:n_rows, :n_cols])
    if lattice == "hexagonal":
        col = 2 * col + row % 2
        return np.column_stack([col / 2, row * np.sqrt(3) / 2]) * PITCH, row, col
    return np.column_stack([col, row]) * PITCH, row, col


def rotated(points: np.ndarray, degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return points @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
@pytest.mark.parametrize("degrees", [0.0, 7.0, 30.0, 45.0, 88.0])
@pytest.mark.parametrize("shape", [(3, 3), (40, 30)])
def test_planted_lattice_is_recovered_at_any_rotation(lattice, degrees, shape):
    points, _, _ = planted(lattice, *shape)
    measured = geometry.measure(rotated(points, degrees) + 1e4)
    assert measured.lattice == lattice
    assert measured.pitch == pytest.approx(PITCH, rel=1e-9)


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
@pytest.mark.parametrize("jitter", [0.02, 0.05, 0.08])
def test_jitter_shortens_the_pitch_by_less_than_the_nearest_neighbour_does(lattice, jitter):
    points, _, _ = planted(lattice, 40, 40)
    noisy = points + np.random.default_rng(0).normal(0, jitter * PITCH, points.shape)
    measured = geometry.measure(noisy)
    assert measured.lattice == lattice
    error = abs(measured.pitch - PITCH)
    assert error < 0.02 * PITCH
    assert error < abs(np.median(geometry.nearest_distances(noisy)) - PITCH)


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
@pytest.mark.parametrize("kept", [0.9, 0.5, 0.1])
def test_missing_spots_do_not_widen_the_pitch(lattice, kept):
    points, _, _ = planted(lattice, 60, 60)
    keep = np.random.default_rng(1).random(len(points)) < kept
    measured = geometry.measure(rotated(points[keep], 12))
    assert measured == (pytest.approx(PITCH), lattice)


def test_fragments_far_apart_are_measured_within():
    points, _, _ = planted("hexagonal", 6, 6)
    fragments = np.concatenate([points, points + 50 * PITCH, points + np.array([0.0, 91.3 * PITCH])])
    assert geometry.measure(fragments) == (pytest.approx(PITCH), "hexagonal")


def test_whole_pixel_coordinates_of_small_bins():
    points, _, _ = planted("square", 60, 60)
    rounded = np.round(rotated(points * 7.3 / PITCH, 0.75))
    assert geometry.measure(rounded) == (pytest.approx(7.3, rel=0.05), "square")


@pytest.mark.parametrize("n", [4, 20, 3000])
def test_irregular_points_have_no_lattice(n):
    for seed in range(5):
        points = np.random.default_rng(seed).random((n, 2)) * 1000
        measured = geometry.measure(points)
        assert measured.lattice == "none"
        assert measured.pitch == geometry.neighbour_distance(points)


def test_locally_ordered_but_unaligned_grains_have_no_lattice():
    """Packed cells have six neighbours at even angles, but no common direction."""
    grain, _, _ = planted("hexagonal", 5, 5)
    grains = [rotated(grain, 7.5 * k) + 20 * PITCH * np.array([k % 4, k // 4]) for k in range(8)]
    assert geometry.measure(np.concatenate(grains)).lattice == "none"


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
def test_indices_decide_where_no_two_spots_touch(lattice):
    points, row, col = planted(lattice, 2, 8)
    one_line = np.flatnonzero(row == 0)
    assert geometry.measure(points[one_line]).lattice == "none"
    corner = [0, 1, 8]
    assert geometry.measure(points[corner], row[corner], col[corner]) == (pytest.approx(PITCH), lattice)


def test_indices_alone():
    for lattice in ("hexagonal", "square"):
        _, row, col = planted(lattice, 5, 4)
        assert geometry.lattice_of_indices(row, col) == lattice
    assert geometry.lattice_of_indices([0, 0, 0], [0, 2, 4]) == "none"


def test_too_few_or_coinciding_spots():
    for points in (np.empty((0, 2)), np.zeros((1, 2)), np.zeros((5, 2))):
        measured = geometry.measure(points)
        assert np.isnan(measured.pitch) and measured.lattice == "none"


def test_a_doubled_spot_does_not_count_as_distance_zero():
    points, _, _ = planted("square", 6, 6)
    assert geometry.measure(np.concatenate([points, points[:3]])) == (pytest.approx(PITCH), "square")


@pytest.mark.parametrize("lattice", ["hexagonal", "square"])
@pytest.mark.parametrize("kept", [1.0, 0.9])
def test_neighbour_distance_is_the_pitch_of_a_lattice(lattice, kept):
    points, row, col = planted(lattice, 30, 30)
    hole = np.hypot(row - 15, col - 15) < 6
    keep = np.random.default_rng(0).random(len(points)) < kept
    assert geometry.neighbour_distance(points[keep & ~hole]) == pytest.approx(PITCH, rel=0.03)


def test_neighbour_distance_of_cells_is_a_length_of_their_density():
    rng = np.random.default_rng(0)
    for n in (500, 8000):
        random = rng.random((n, 2)) * 1000
        assert geometry.neighbour_distance(random) == pytest.approx(0.98 * 1000 / np.sqrt(n), rel=0.05)
    assert geometry.neighbour_distance(np.concatenate([random, random])) == geometry.neighbour_distance(random)
    assert geometry.neighbour_distance(random * 7 - 3) == pytest.approx(7 * geometry.neighbour_distance(random))


def test_neighbour_distance_of_few_points():
    assert geometry.neighbour_distance([[0, 0], [3, 4]]) == 5
    assert np.isnan(geometry.neighbour_distance([[1, 1], [1, 1]]))
