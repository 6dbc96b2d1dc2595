"""The image in the default preset: it counts as far as it explains expression, and no further."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from mmsrl.graph import plain_graph, smooth
from mmsrl.heldout import predict_held_out, regions, spatial_blocks
from mmsrl.train.image import add_image, nugget

SIDE = 40
PLACES = np.array([(float(r), float(c)) for r in range(SIDE) for c in range(SIDE)])
GRAPH = plain_graph(PLACES, 1.0)
REGION = regions([PLACES])
DOMAIN = ((PLACES[:, 0] // 5 + PLACES[:, 1] // 8) % 2 * 2 - 1).astype(np.float32)
"""A chequerboard of -1 and 1."""


def expression(noise: float, seed: int = 0) -> np.ndarray:
    """Two components: the planted domain, and noise alone."""
    rng = np.random.default_rng(seed)
    return np.column_stack([DOMAIN, 0 * DOMAIN]) + noise * rng.standard_normal((len(PLACES), 2)).astype(np.float32)


def picture(noise: float, seed: int = 1) -> np.ndarray:
    """Five features, the first of which shows the domain."""
    features = np.random.default_rng(seed).standard_normal((len(PLACES), 5)).astype(np.float32)
    features[:, 0] = DOMAIN + noise * features[:, 0]
    return 30.0 + 7.0 * features


def error(values: np.ndarray) -> float:
    return float(np.mean((values - DOMAIN) ** 2))


def test_an_informative_image_brings_noisy_expression_nearer_to_the_domain() -> None:
    x = expression(noise=4.0)
    result = add_image(x, picture(0.2), GRAPH, [PLACES], 0)
    assert error(result.scores[:, 0]) < 0.5 * error(smooth(GRAPH, x, 1)[:, 0])
    assert result.weights[0] > 0.6
    assert result.weights[1] == 0.0  # nothing of the second component is in the image
    np.testing.assert_array_equal(result.scores[:, 1], smooth(GRAPH, x, 1)[:, 1])


def test_weight_is_near_the_best_one() -> None:
    x, image = expression(noise=2.0), picture(1.0)
    result = add_image(x, image, GRAPH, [PLACES], 0)
    alone = smooth(GRAPH, x, 1)[:, 0]
    standard = (image - image.mean(axis=0)) / image.std(axis=0)
    predicted = predict_held_out(x, smooth(GRAPH, standard, 1), REGION, 0, GRAPH)
    errors = [error((1 - w) * alone + w * predicted[:, 0]) for w in np.linspace(0, 1, 21)]
    assert 0.0 < result.weights[0] < 1.0
    assert error(result.scores[:, 0]) < min(errors[0], errors[-1])
    assert error(result.scores[:, 0]) < 1.2 * min(errors)


def test_deep_expression_needs_no_image_however_much_it_explains() -> None:
    result = add_image(expression(noise=0.02), picture(0.3), GRAPH, [PLACES], 0)
    assert result.explained[0] > 0.5
    np.testing.assert_array_equal(result.weights, 0.0)


@pytest.mark.parametrize("seed", range(3))
def test_an_image_of_noise_changes_nothing(seed: int) -> None:
    x = expression(noise=1.0, seed=seed)
    rng = np.random.default_rng(seed + 10)
    noise = smooth(GRAPH, rng.standard_normal((len(PLACES), 12)).astype(np.float32), 3)  # as smooth as tissue is
    result = add_image(x, noise, GRAPH, [PLACES], 0)
    np.testing.assert_array_equal(result.weights, 0.0)
    np.testing.assert_array_equal(result.scores, smooth(GRAPH, x, 1))


def test_too_little_tissue_to_hold_some_out_leaves_the_image_aside() -> None:
    few = np.array([(float(r), float(c)) for r in range(5) for c in range(5)])
    x = np.random.default_rng(0).standard_normal((25, 2)).astype(np.float32)
    graph = plain_graph(few, 1.0)
    result = add_image(x, x.copy(), graph, [few], 0)
    np.testing.assert_array_equal(result.scores, smooth(graph, x, 1))


def test_blocks_are_squares_of_one_section() -> None:
    blocks = spatial_blocks([PLACES, PLACES + 1e4], side=10.0)
    assert len(np.unique(blocks)) == 2 * 16
    assert np.bincount(blocks).tolist() == [100] * 32
    for block in np.unique(blocks[:1600]):
        assert np.ptp(PLACES[blocks[:1600] == block], axis=0).tolist() == [9.0, 9.0]


def test_regions_are_compact_of_equally_many_spots_and_of_one_section() -> None:
    region = regions([PLACES, PLACES + 1e4])
    assert np.bincount(region).tolist() == [200] * 16
    for r in range(16):
        rows = np.flatnonzero(region == r)
        assert rows.max() < 1600 or rows.min() >= 1600
        assert sorted(np.ptp(PLACES[rows % 1600], axis=0)) == [9.0, 19.0]
    assert np.bincount(regions([PLACES[:400]])).tolist() == [50] * 8  # 10 × 40 spots: fourteen squares
    assert np.bincount(regions([PLACES[:40]])).tolist() == [10] * 4 and regions([PLACES[:12]]) is None


def test_a_region_is_predicted_by_regressions_that_saw_neither_it_nor_what_smoothing_joins_with_it() -> None:
    x, image = expression(noise=0.1), picture(0.1)
    before = predict_held_out(x, image, REGION, 0, GRAPH)
    own = REGION == 3
    joined = (np.asarray(GRAPH @ own.astype(float)) > 0) & ~own
    assert joined.sum() > 30
    changed = x.copy()
    changed[own | joined] = 1e3
    after = predict_held_out(changed, image, REGION, 0, GRAPH)
    np.testing.assert_array_equal(after[own], before[own])
    assert not np.allclose(after[~own], before[~own])
    assert not np.allclose(predict_held_out(changed, image, REGION, 0)[own], before[own])  # without the graph it saw
    wide = plain_graph(PLACES, 30.0)
    assert predict_held_out(x, image, REGION, 0, wide) is None  # which joins all with all


@pytest.mark.parametrize("direction", [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_a_gradient_over_the_image_that_expression_does_not_follow_changes_nothing(direction: tuple) -> None:
    """Such as of illumination."""
    rng = np.random.default_rng(0)
    image = np.column_stack([PLACES @ direction, rng.standard_normal((len(PLACES), 3))]).astype(np.float32)
    x = expression(noise=2.0)
    result = add_image(x, image, GRAPH, [PLACES], 0)
    np.testing.assert_array_equal(result.weights, 0.0)
    np.testing.assert_array_equal(result.scores, smooth(GRAPH, x, 1))


def test_images_and_expression_that_vary_smoothly_by_themselves_seldom_meet() -> None:
    """Fields drawn at random, of the image and of expression: squares amid those that are seen would often agree."""
    rng = np.random.default_rng(0)

    def fields(width: float, k: int) -> np.ndarray:
        drawn = gaussian_filter(rng.standard_normal((SIDE, SIDE, k)), (width, width, 0), mode="nearest")
        return (drawn / drawn.std(axis=(0, 1))).reshape(-1, k).astype(np.float32)

    weights = []
    for _ in range(4):
        x = fields(5.0, 10) + 3 * rng.standard_normal((len(PLACES), 10)).astype(np.float32)
        weights.append(add_image(x, fields(5.0, 12), GRAPH, [PLACES], 0).weights)
    assert (np.concatenate(weights) > 0).mean() <= 0.05


def test_nugget_is_the_variance_that_neighbours_do_not_share() -> None:
    found = nugget(expression(noise=1.5), [PLACES])
    np.testing.assert_allclose(found, 1.5**2, rtol=0.15)
    assert nugget(expression(noise=0.1), [PLACES])[0] == pytest.approx(0.01, rel=0.3)  # whatever the borders
    halves = nugget(expression(noise=1.5), [PLACES[:800], PLACES[800:]])  # no neighbours across sections
    np.testing.assert_allclose(halves, found, rtol=0.1)
