"""The image in the default preset: it counts as far as it explains expression, and no further."""

from __future__ import annotations

import numpy as np
import pytest

from mmsrl.graph import plain_graph, smooth
from mmsrl.heldout import predict_held_out, spatial_blocks
from mmsrl.train.image import add_image, nugget

SIDE = 40
PLACES = np.array([(float(r), float(c)) for r in range(SIDE) for c in range(SIDE)])
GRAPH = plain_graph(PLACES, 1.0)
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
    predicted, _ = predict_held_out(x, smooth(GRAPH, standard, 1), spatial_blocks([PLACES]), 0)
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


def test_a_block_is_predicted_by_regressions_that_never_saw_it() -> None:
    x, image, blocks = expression(noise=0.1), picture(0.1), spatial_blocks([PLACES])
    before, fold = predict_held_out(x, image, blocks, 0)
    assert all(np.unique(fold[blocks == block]).size == 1 for block in np.unique(blocks))
    changed = x.copy()
    changed[fold == 3] = 1e3
    after, _ = predict_held_out(changed, image, blocks, 0)
    np.testing.assert_array_equal(after[fold == 3], before[fold == 3])
    assert not np.allclose(after[fold != 3], before[fold != 3])


def test_nugget_is_the_variance_that_neighbours_do_not_share() -> None:
    found = nugget(expression(noise=1.5), [PLACES])
    np.testing.assert_allclose(found, 1.5**2, rtol=0.15)
    assert nugget(expression(noise=0.1), [PLACES])[0] == pytest.approx(0.01, rel=0.3)  # whatever the borders
    halves = nugget(expression(noise=1.5), [PLACES[:800], PLACES[800:]])  # no neighbours across sections
    np.testing.assert_allclose(halves, found, rtol=0.1)
