"""The consensus finds what its members share, and knows where it is wrong."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mmsrl.domains import average
from mmsrl.domains.consensus import consensus
from mmsrl.domains.neighbourhood import CONFIDENCE_SPOTS, confidence, neighbourhood

SIDE = 24
PLACES = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE)), axis=-1).reshape(-1, 2).astype(float)
LAYERS = (PLACES[:, 1] // 6).astype(int)
PATCHES = np.random.default_rng(5).integers(4, size=len(PLACES))
ONE_SECTION = np.zeros(len(PLACES), dtype=int)


def noisy(truth, share, seed):
    """One-hot memberships with a share of the spots elsewhere, and the groups numbered at random."""
    rng = np.random.default_rng(seed)
    wrong = rng.random(len(truth)) < share
    labels = np.where(wrong, rng.integers(4, size=len(truth)), truth)
    return np.eye(4, dtype=np.float32)[rng.permutation(4)[labels]]


def test_consensus_is_better_than_its_members_whatever_their_numbering():
    members = [noisy(LAYERS, 0.4, seed) for seed in range(12)]
    single = [adjusted_rand_score(LAYERS, member.argmax(axis=1)) for member in members]
    mean = average.consensus(members)
    assert np.allclose(mean.sum(axis=1), 1)
    assert adjusted_rand_score(LAYERS, mean.argmax(axis=1)) > 0.95 > max(single)


def test_consensus_is_the_mean_of_memberships_where_the_numbering_is_the_same():
    members = [np.random.default_rng(seed).dirichlet(np.eye(4)[k] * 20 + 1) for seed in range(3) for k in LAYERS]
    members = np.array(members).reshape(3, -1, 4)
    shuffled = [member[:, np.random.default_rng(i).permutation(4)] for i, member in enumerate(members)]
    mean = average.consensus(shuffled)
    expected = members.mean(axis=0)
    assert np.allclose(mean[:, average.matching(expected, mean)], expected)


def test_agreement_of_members():
    members = [noisy(LAYERS, 0.0, 0), noisy(LAYERS, 0.0, 1), noisy(PATCHES, 0.0, 2)]
    table = average.agreement(members)
    assert table[0, 1] == 1 and table[0, 2] == table[2, 0] < 0.1
    assert average.mean_agreement(table) == pytest.approx((table[0, 1] + 2 * table[0, 2]) / 3)
    assert average.mean_agreement(average.agreement(members[:1])) == 1


def test_neighbourhood_is_of_the_nearest_spots_of_the_same_section():
    around = neighbourhood(PLACES, ONE_SECTION, 5)
    middle = 10 * SIDE + 10
    assert set(around[middle].indices) == {middle, middle - 1, middle + 1, middle - SIDE, middle + SIDE}
    assert np.allclose(around.sum(axis=1), 1)
    sections = np.repeat([0, 1], 4)
    on_top = neighbourhood(np.tile(PLACES[:4], (2, 1)), sections, 19)
    assert np.allclose(on_top.toarray(), (sections[:, None] == sections) / 4)


def test_confidence_ranks_errors():
    members = [noisy(LAYERS, 0.75, seed) for seed in range(5)]
    mean = average.consensus(members)
    labels = mean.argmax(axis=1)
    sure = confidence(mean, labels, neighbourhood(PLACES, ONE_SECTION, CONFIDENCE_SPOTS))
    assert sure.dtype == np.float32 and 0 <= sure.min() and sure.max() <= 1
    wrong = average.matching(np.eye(4)[labels], np.eye(4)[LAYERS])[labels] != LAYERS
    half = np.argsort(-sure)[: len(sure) // 2]
    assert wrong[half].mean() < 0.5 * wrong.mean()


def test_domains_are_numbered_by_size_and_facts_are_kept():
    uneven = np.select([PLACES[:, 1] < 12, PLACES[:, 1] < 19], [2, 1], 0)
    samples = np.resize(("a", "b"), len(PLACES))
    found = consensus([noisy(uneven, 0.0, seed) for seed in range(4)], PLACES, samples)
    sizes = np.bincount(found.labels)
    assert len(sizes) == 4 and sizes[0] == 0 and (np.diff(sizes[1:]) <= 0).all()
    assert found.facts["n_domains"] == 3 and found.facts["members"] == 4
    assert list(found.facts["spots"]) == ["a", "b"]
    assert sum(found.facts["spots"]["a"].values()) == len(PLACES) // 2
    assert set(found.facts["confidence"]) == {"1", "2", "3"}
    assert [message["level"] for message in found.messages] == ["warning"]
    assert "4 domains were requested; only 3 have spots in the consensus" in found.messages[0]["text"]


def test_stripes_one_spot_wide_stay_and_scattered_errors_of_members_go():
    stripes = (PLACES[:, 1] % 4).astype(int)
    found = consensus([noisy(stripes, 0.4, seed) for seed in range(12)], PLACES, ONE_SECTION)
    assert adjusted_rand_score(stripes, found.labels) > 0.95


def test_one_member_is_its_own_consensus():
    member = noisy(LAYERS, 0.1, 0)
    found = consensus([member], PLACES, ONE_SECTION)
    assert adjusted_rand_score(member.argmax(axis=1), found.labels) == 1
    assert not found.messages
