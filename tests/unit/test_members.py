"""The default's ensemble: its members, their components, bandwidth and alignment, against plain restatements."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from halves import section
from scipy.stats import poisson

from mmsrl.normalisation import log_normalised, standard_components
from mmsrl.residuals import (
    beyond_depth,
    depth_artefact,
    log_components,
    log_projection,
    residual_components,
    robust,
)
from mmsrl.train.align import align_sections
from mmsrl.train.api import as_anndata, choose_settings, stack, train
from mmsrl.train.bandwidth import (
    choose_bandwidth,
    explained_by_neighbours,
    neighbour_weights,
    spatial_components,
    structure_p,
)
from mmsrl.train.members import KINDS, build_members
from mmsrl.train.presets import SPOT_SHARES

BARE = {"device": "cpu", "show_progress": False}


def test_members_are_all_combinations_and_the_first_is_the_units_embedding() -> None:
    adata = section(image=4)
    result = train(adata, **BARE)
    found = {(member.facts["normalisation"], member.facts["graph"]) for member in result.members}
    assert found == {(n, g) for n in ("log", "residuals") for g in KINDS}
    assert len(result.members) == len(found) * len(SPOT_SHARES)
    for member in result.members:
        assert member.embedding.dtype == np.float32
        assert member.embedding.shape == (120, member.facts["components"])
        assert "image" in member.facts
    np.testing.assert_array_equal(result.members[0].embedding, adata.obsm["X_mmsrl"])
    assert [entry["name"] for entry in result.facts["members"]] == [member.name for member in result.members]
    assert sum("the image predicts" in message["text"] for message in result.messages) == 1
    written = as_anndata(result)
    last = len(result.members) - 1
    np.testing.assert_array_equal(written.obsm[f"member_{last}"], result.members[last].embedding)
    for key in ("structure_p", "structure_p_with_depth"):
        assert written.uns[key] == result.facts[key]


def test_the_first_member_alone_is_that_of_the_ensemble() -> None:
    unit = stack([section("one"), section("two", seed=1)], 60)
    settings = choose_settings("default", {})
    whole = build_members(unit, settings, None, 0, True).members
    (only,) = build_members(unit, settings, None, 0, True, first_only=True).members
    np.testing.assert_array_equal(only.embedding, whole[0].embedding)


def test_a_given_width_is_that_of_every_member() -> None:
    unit = stack([section()], 60)
    wide = build_members(unit, choose_settings("default", {"kernel_width": 2.0}), None, 0, False).members
    assert [member.facts["kernel_width"] for member in wide] == [2.0] * 4


def test_residual_components_are_those_of_the_dense_residuals() -> None:
    counts = np.random.default_rng(0).poisson(np.random.default_rng(1).gamma(1.0, 2.0, (60, 40)))
    counts[:, 0] += 1
    total = counts.sum(axis=1, keepdims=True)
    mean = total * counts.sum(axis=0) / total.sum()
    dense = np.minimum((counts - mean) / np.sqrt(mean), np.sqrt(60))
    dense = (dense - dense.mean(axis=0)) / dense.std(axis=0)
    left, lengths, _ = np.linalg.svd(dense, full_matrices=False)
    scores = residual_components(sp.csr_matrix(counts, dtype=np.float32), 5, 0).scores
    np.testing.assert_allclose(np.abs(scores), np.abs(left[:, :5] * lengths[:5]), atol=2e-3)


def test_depth_artefact_is_the_expected_score_of_average_composition() -> None:
    random = np.random.default_rng(0)
    share = random.dirichlet(np.ones(30))
    library = 20.0 * 16.0 ** random.random(400)
    counts = sp.csr_matrix(random.poisson(library[:, None] * share), dtype=np.float32)
    library = np.maximum(np.asarray(counts.sum(axis=1), dtype=float).ravel(), 1.0)
    expression = log_normalised(counts, library)
    scores, _ = standard_components(expression, np.zeros(400, int), 3, 0)
    bias = depth_artefact(log_projection(expression, library, counts, scores), library)
    # The dense restatement at one spot: every count that the spot could have, weighted by its probability.
    dense = expression.toarray()
    scale = dense.std(axis=0, ddof=1)
    ceiling = dense.mean(axis=0) + 10.0 * scale
    standard = np.minimum(dense, ceiling) / scale
    axes = np.linalg.svd(standard - standard.mean(axis=0), full_matrices=False)[2][:3]
    x, spot = np.arange(80)[:, None], int(np.argsort(library)[200])
    rates = library[spot] * np.asarray(counts.sum(axis=0)).ravel() / library.sum()
    logs = np.minimum(np.log1p(np.median(library) / library[spot] * x), ceiling)
    expected = (poisson.pmf(x, rates) * logs).sum(axis=0) / scale - standard.mean(axis=0)
    np.testing.assert_allclose(np.abs(bias[spot]), np.abs(axes @ expected), atol=0.05)
    # With it taken off, depth explains nothing of a section without structure.
    left = log_components(counts, library, 3, 0).scores
    before, after = (abs(np.corrcoef(np.log(library), values[:, 0])[0, 1]) for values in (scores, left))
    assert after < before / 2 and before > 0.5


def test_robust_scores_are_cut_and_else_as_they_were() -> None:
    scores = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    scores[0] = 100.0
    cut = robust(scores)
    np.testing.assert_array_equal(cut[np.abs(scores).max(axis=1) < 3.0], scores[np.abs(scores).max(axis=1) < 3.0])
    assert cut[0].max() < 5.0


def lattice(side: int = 20) -> np.ndarray:
    """Return a square lattice with a pitch of one."""
    y, x = np.mgrid[:side, :side]
    return np.column_stack([x.ravel(), y.ravel()]).astype(float)


def test_neighbour_weights_leave_the_spot_out_and_add_up_to_one() -> None:
    places = lattice(6)
    weights, targets = neighbour_weights([places, places], 1.0, 0)
    dense = np.exp(-((places[:, None] - places) ** 2).sum(axis=2) / 2.0)
    dense[dense < 0.02] = 0.0
    np.fill_diagonal(dense, 0.0)
    dense /= dense.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(weights.toarray(), np.kron(np.eye(2), dense), atol=1e-6)
    assert len(targets) == 72


def test_bandwidth_grows_with_the_structure_and_noise_has_the_widest() -> None:
    places, random = lattice(30), np.random.default_rng(0)

    def waves(length: float) -> np.ndarray:
        return np.sin(2.0 * np.pi * places / length) + random.normal(0.0, 0.7, places.shape)

    fine, coarse = (choose_bandwidth(waves(length), [places], 0) for length in (6.0, 30.0))
    assert fine < 1.5 < coarse
    assert choose_bandwidth(random.normal(size=places.shape), [places], 0) >= 4.0


def test_spatial_components_are_told_from_noise() -> None:
    places, random = lattice(), np.random.default_rng(0)
    scores = random.normal(size=(400, 8))
    scores[:, [1, 4, 5, 6]] += 2.0 * (places[:, :1] > 9)
    assert np.flatnonzero(spatial_components(scores, [places], 1.5, 0)).tolist() == [1, 4, 5, 6]
    weights, targets = neighbour_weights([places], 1.5, 0)
    explained = explained_by_neighbours(scores, weights, targets)
    assert explained[1] > 0.3 > 0.1 > explained[0]


def test_structure_p_is_uniform_without_structure_and_least_with_it() -> None:
    places = lattice(12)
    p = [structure_p(np.random.default_rng(seed).normal(size=(144, 4)), [places], seed) for seed in range(60)]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) <= 0.05) <= 0.15
    bands = np.random.default_rng(0).normal(size=(144, 4)) + (places[:, :1] > 5)
    assert structure_p(bands, [places], 0) == pytest.approx(0.005)


def test_alignment_takes_off_a_shift_and_leaves_what_one_section_has_alone() -> None:
    random = np.random.default_rng(0)
    centres = 6.0 * random.normal(size=(3, 5))
    kinds = [np.repeat([0, 1], 150), np.repeat([1, 2], 150)]
    points = np.concatenate([centres[kind] + 0.3 * random.normal(size=(300, 5)) for kind in kinds])
    part = np.repeat([0, 1], 300)
    shift = random.normal(size=5)
    moved = points + np.outer(part, shift)
    found = align_sections(moved, moved, part, 0)
    np.testing.assert_allclose((found - moved)[part == 1].mean(axis=0), -shift, atol=0.2)
    np.testing.assert_array_equal(found[part == 0], moved[part == 0])


def test_what_depth_tells_is_no_structure_beyond_it_and_bands_across_it_are() -> None:
    random = np.random.default_rng(0)
    places = np.argwhere(np.ones((20, 20))).astype(float)
    library = 1000.0 * 16.0 ** (places[:, 0] / 19.0 - 0.5) * random.lognormal(0.0, 0.2, 400)
    noise = random.normal(size=(400, 4))
    follows = noise + np.sqrt(library / 1000.0)[:, None]
    section = np.zeros(400, dtype=np.int64)
    assert structure_p(follows, [places], 0) == pytest.approx(0.005)
    assert structure_p(beyond_depth(follows, library, section), [places], 0) > 0.05
    bands = follows + 2.0 * (places[:, 1:] // 5 % 2)
    assert structure_p(beyond_depth(bands, library, section), [places], 0) == pytest.approx(0.005)
