"""Landmarks of large units: who is drawn, and where the others are placed."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import planted
import pytest
from scipy.stats import spearmanr

from mmsrl.trajectory import api
from mmsrl.trajectory.api import trajectory
from mmsrl.trajectory.landmarks import FEWEST, between, drawn, of_nearest, within_components


def test_landmarks_are_as_many_of_the_candidates_as_of_all_spots() -> None:
    candidates = np.arange(40_000) < 8_000
    found = drawn(candidates, 3_000, seed=0)
    assert len(found) == 3_000 and (np.diff(found) > 0).all()
    assert candidates[found].sum() == 600
    few = np.arange(40_000) < 200
    assert few[drawn(few, 3_000, seed=0)].sum() == FEWEST
    one = np.arange(40_000) == 7
    assert 7 in drawn(one, 3_000, seed=0)
    np.testing.assert_array_equal(drawn(candidates, 40_000, seed=0), np.arange(40_000))


def test_spots_are_placed_between_their_nearest_landmarks() -> None:
    embedding = np.array([[0.0], [1.0], [2.0], [10.0], [0.4]])
    weights = between(embedding, np.array([0, 1, 2, 3])).toarray()
    np.testing.assert_allclose(weights[:4], np.eye(4))
    distance = np.abs(embedding[:4, 0] - 0.4)
    expected = np.exp(-0.5 * (distance / distance.max()) ** 2)
    np.testing.assert_allclose(weights[4], expected / expected.sum())


def test_no_spot_is_placed_between_parts_that_nothing_connects() -> None:
    embedding = np.array([[0.0], [1.0], [20.0], [21.0], [22.0], [0.5]])
    landmarks, component = np.arange(5), np.array([0, 0, 1, 1, 1])
    placed = within_components(between(embedding, landmarks), component)
    np.testing.assert_allclose(placed.toarray()[5], [0.5, 0.5, 0.0, 0.0, 0.0])
    np.testing.assert_array_equal(of_nearest(placed, component), [0, 0, 1, 1, 1, 0])


@pytest.fixture
def labelled() -> ad.AnnData:
    """A section whose embedding is a noisy bow, with domains along it, of which one has a single spot."""
    adata = planted.section(depth=2.0)
    along = np.linspace(0.0, 3.0, adata.n_obs)
    bow = np.column_stack([np.cos(along), np.sin(along), np.zeros(adata.n_obs)])
    adata.obsm["X_mmsrl"] = (bow + np.random.default_rng(0).normal(0.0, 0.05, bow.shape)).astype(np.float32)
    domain = np.digitize(along, [1.0, 2.0]).astype(str).astype(object)
    domain[0] = "alone"
    adata.obs["domain"] = pd.Categorical(domain)
    return adata


def test_landmarks_order_spots_as_all_of_them_do(labelled: ad.AnnData, monkeypatch: pytest.MonkeyPatch) -> None:
    every = trajectory(labelled.copy(), root="domain:0")
    monkeypatch.setattr(api, "LANDMARKS", labelled.n_obs // 2)
    some = trajectory(labelled.copy(), root="domain:0")
    one, other = (found.spots.obs["pseudotime_rank"] for found in (some, every))
    assert spearmanr(one, other).statistic > 0.95
    assert any("drawn at random" in message["text"] for message in some.messages)
    assert not any("drawn at random" in message["text"] for message in every.messages)


def test_connections_keep_the_names_of_domains_without_a_landmark(
    labelled: ad.AnnData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "LANDMARKS", labelled.n_obs // 3)
    monkeypatch.setattr(api, "drawn", lambda *_: np.arange(1, labelled.n_obs, 3))  # not the spot that is alone
    found = trajectory(labelled.copy(), root="domain:0")
    names = found.facts["domains"]
    assert found.spots.uns["paga"]["connectivities"].shape == (len(names),) * 2
    edges = {frozenset((edge["one"], edge["other"])) for edge in found.facts["paga"]}
    assert edges == {frozenset("01"), frozenset("12")}
