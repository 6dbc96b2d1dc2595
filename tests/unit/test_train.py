"""Training on AnnData, from sections to embedding."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pytest
import scipy.sparse as sp
from halves import half, section
from sklearn.metrics import silhouette_score

from mmsrl import _sections
from mmsrl._errors import InputError
from mmsrl.normalisation import standard_components
from mmsrl.train import api
from mmsrl.train.api import choose_settings, spatial_graph, stack, train
from mmsrl.train.presets import PRESETS, PUBLISHED
from mmsrl.train.sections import harmonise, section_mixing

PRESET_NAMES = list(PRESETS)

QUICK = {"device": "cpu", "show_progress": False}
SHORT = {preset: {**QUICK, "epochs": 3} for preset in PUBLISHED} | {"default": QUICK}
SHORT["stmmr"]["hidden_dim"] = 64


@pytest.mark.parametrize("image", [0, 5])
@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_planted_halves_are_apart_in_the_embedding(preset: str, image: int) -> None:
    adata = section(image=image)
    result = train(adata, preset=preset, **SHORT[preset])
    z = adata.obsm["X_mmsrl"]
    assert z.shape[0] == 120
    assert z.dtype == np.float32
    assert np.isfinite(z).all()
    assert silhouette_score(z[:, :2], half(adata)) > 0.4
    assert len(result.history) == SHORT[preset].get("epochs", 0)
    assert result.facts["n_spots"] == 120
    texts = " ".join(message["text"] for message in result.messages)
    assert ("expression alone" in texts) == (image == 0)
    assert ("image branch contributes nothing" in texts) == (image == 0 and preset != "default")


@pytest.mark.parametrize("preset", ["default", "mmsrl"])
def test_same_seed_same_embedding_and_labels_are_never_read(preset: str) -> None:
    first, second = section(image=4), section(image=4)
    second.obs["label"] = second.obs["layer"] = np.where(half(second), "a", "b")
    results = [train(adata, preset=preset, seed=7, **SHORT[preset]) for adata in (first, second)]
    np.testing.assert_array_equal(first.obsm["X_mmsrl"], second.obsm["X_mmsrl"])
    for name, value in results[0].model["state"].items():
        np.testing.assert_array_equal(value, results[1].model["state"][name])


@pytest.mark.parametrize("preset", PRESET_NAMES)
def test_sections_are_trained_jointly_on_their_common_genes(preset: str) -> None:
    one, two = section("one", image=0), section("two", seed=1, shift=1.0)
    two = two[:, 5:].copy()
    for adata in (one, two):
        adata.obsm["X_image_descriptor"] = np.random.default_rng(3).standard_normal((120, 8)).astype(np.float32)
    two.obsm["X_image_descriptor"] += 4.0  # another stain: variance 4 between, 1 within
    result = train([one, two], preset=preset, **SHORT[preset])
    assert one.obsm["X_mmsrl"].shape == two.obsm["X_mmsrl"].shape
    np.testing.assert_array_equal(result.embedding, np.vstack([one.obsm["X_mmsrl"], two.obsm["X_mmsrl"]]))
    assert result.facts["n_genes"] == 55
    assert result.facts["samples"] == {"one": 120, "two": 120}
    assert 1.0 <= result.facts["section_mixing"]["ilisi"] <= 2.0
    texts = " ".join(message["text"] for message in result.messages)
    assert "55 genes are common to all sections (one 60, two 55)" in texts
    # The published presets concatenate sections without any correction.
    assert ("Harmony" in texts) == (preset == "default")
    # 80 % as estimated from 120 spots.
    assert bool(re.search("8[0-9]% of the variance of image descriptors", texts)) == (preset == "default")


def test_genes_in_another_order_are_the_same_genes() -> None:
    one, two = section("one"), section("two", seed=1)
    unit = stack([one, two[:, ::-1].copy()], 3000)
    same = stack([one, two], 3000)
    assert unit.genes == same.genes
    np.testing.assert_array_equal(unit.counts.toarray(), same.counts.toarray())
    np.testing.assert_array_equal(unit.expression.toarray(), same.expression.toarray())


def test_expression_is_log1p_of_counts_scaled_to_the_median_library() -> None:
    adata = section()
    adata.X.data[:5] = 0.0  # stored zeros
    counts = adata.X.toarray()
    library = counts.sum(axis=1, keepdims=True)
    unit = stack([adata], 3000)
    np.testing.assert_allclose(unit.expression.toarray(), np.log1p(counts / library * np.median(library)), rtol=1e-5)
    assert unit.counts.nnz == unit.expression.nnz == (counts > 0).sum()
    np.testing.assert_array_equal(adata.X.toarray(), counts)  # the input is left as it was


@pytest.mark.parametrize("preset", ["default", "mmsrl"])
def test_correction_mixes_sections_that_a_shift_keeps_apart(preset: str) -> None:
    mixing = {}
    for corrected in (False, True):
        sections = [section("one"), section("two", seed=1, shift=0.8)]
        result = train(sections, preset=preset, batch_correction=corrected, **SHORT[preset])
        mixing[corrected] = result.facts["section_mixing"]["ilisi_scaled"]
        apart = silhouette_score(result.embedding[:, :2], np.concatenate([half(a) for a in sections]))
        assert apart > 0.3  # the halves stay what they are
    # The default leaves out components that are not spatial within sections, and with them part of the shift.
    assert mixing[True] > mixing[False] + (0.1 if preset == "mmsrl" else 0.02)


def test_a_section_without_image_joins_others_that_have_one() -> None:
    sections = [section("one"), section("two", seed=1), section("three", seed=2)]
    for adata in sections[:2]:
        adata.obsm["X_image_descriptor"] = np.random.default_rng(3).standard_normal((120, 8)).astype(np.float32)
    unit = stack(sections, 3000)
    assert unit.image is not None
    assert (unit.image[unit.section == 2] == 0).all()
    assert (unit.image[unit.section != 2] != 0).all()
    assert any("three has no image features" in message["text"] for message in unit.messages)


def test_coordinates_are_in_spot_pitches_whatever_their_unit() -> None:
    near, far = section(), section()
    far.obsm["spatial"] = far.obsm["spatial"] * 37.0 + 1e6
    far.uns["mmsrl"]["pitch_px"] *= 37.0
    for adata in (near, far):
        spatial_graph(adata)
    expected = near.obsp["spatial_gaussian"].toarray()
    np.testing.assert_allclose(far.obsp["spatial_gaussian"].toarray(), expected, atol=1e-9)
    del far.uns["mmsrl"]  # as read by scanpy: the pitch is measured
    spatial_graph(far, key="measured")
    np.testing.assert_allclose(far.obsp["measured"].toarray(), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("pitch_um", "lattice", "cells"),
    [
        (200.0, "square", False),
        (100.0, "none", False),
        (16.0, "square", True),
        (None, "none", True),
        (None, None, False),
    ],
)
def test_spots_are_of_cell_size_by_their_pitch_else_by_their_lattice(
    pitch_um: float | None, lattice: str | None, cells: bool
) -> None:
    adata = section()
    adata.uns["mmsrl"] = {"pitch_um": pitch_um if pitch_um else np.nan} | ({"lattice": lattice} if lattice else {})
    assert stack([adata], 50).cells == cells


def test_spots_without_array_coordinates_are_trained_in_pitches() -> None:
    adata = section()
    del adata.obs["array_row"]
    result = train(adata, preset="mmsrl", **SHORT["mmsrl"])
    assert any("no array coordinates" in message["text"] for message in result.messages)


def test_highly_variable_genes_are_chosen() -> None:
    adata = section(n_genes=400)
    unit = stack([adata], 50)
    assert len(unit.genes) == 50
    assert unit.counts.shape == (120, 50)
    np.testing.assert_array_equal(unit.counts.toarray(), adata[:, unit.genes].X.toarray())


@pytest.mark.parametrize("n_top_genes", [50, 3000])
def test_sections_whose_counts_stay_on_disk_are_stacked_as_those_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, n_top_genes: int
) -> None:
    monkeypatch.setattr(_sections, "BLOCK_SPOTS", 50)  # the last block is a part of one
    one, two = section("s1", n_genes=200), section("s2", seed=1, n_genes=190)
    on_disk = []
    for name, adata in (("one", one), ("two", two)):
        adata.write_h5ad(tmp_path / f"{name}.h5ad")
        on_disk.append(ad.read_h5ad(tmp_path / f"{name}.h5ad", backed="r"))
    expected, found = stack([one, two], n_top_genes), stack(on_disk, n_top_genes)
    assert found.genes == expected.genes
    for name in ("counts", "expression"):
        assert (getattr(found, name) != getattr(expected, name)).nnz == 0


def test_variable_genes_of_many_spots_are_found_on_as_many_of_each_section(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "VARIABLE_SPOTS", 160)
    drawn: list[np.ndarray] = []

    def watched(sections, genes, spots=None):
        drawn.extend([] if spots is None else [spots])
        return _sections.counts_of(sections, genes, spots)

    monkeypatch.setattr(api, "counts_of", watched)
    sections = [section("s1", n_genes=200), section("s2", seed=1, n_genes=200)]
    unit = stack(sections, 50)
    (spots,) = drawn
    assert np.bincount(unit.section[spots]).tolist() == [80, 80]
    assert unit.counts.shape == (240, 50)
    parts = [sections[0][spots[:80]].copy(), sections[1][spots[80:] - 120].copy()]
    assert unit.genes == stack(parts, 50).genes


def test_settings_come_from_the_preset_and_are_changed_by_name() -> None:
    assert choose_settings("mmsrl", {"epochs": None}) == PRESETS["mmsrl"]
    assert choose_settings("mmsrl", {"epochs": 7}).epochs == 7
    with pytest.raises(InputError, match="'default' has no setting 'reconstruction_weight'"):
        choose_settings("default", {"reconstruction_weight": 100.0})
    with pytest.raises(InputError, match="did you mean 'kernel_width'"):
        choose_settings("mmsrl", {"kernel_widht": 1.0})
    with pytest.raises(InputError, match="preset 'best' is not one of default, mmsrl, stmmr"):
        choose_settings("best", {})


def test_several_sections_have_the_published_settings_of_joint_training() -> None:
    joint = choose_settings("stmmr", {"epochs": 7}, joint=True)
    assert (joint.epochs, joint.reconstruction_weight) == (7, 100.0)
    assert choose_settings("mmsrl", {}, joint=True).epochs == 300
    assert choose_settings("default", {}, joint=True) == PRESETS["default"]
    with pytest.raises(InputError, match="'mmsrl' has no setting 'readout'"):
        choose_settings("mmsrl", {"readout": "kmeans"})


def test_variable_genes_and_image_scale_of_published_presets_are_those_of_the_concatenation() -> None:
    one, two = section("one", image=0), section("two", seed=1)
    rng = np.random.default_rng(3)
    for shift, adata in enumerate((one, two)):
        adata.obsm["X_image_descriptor"] = (rng.standard_normal((120, 8)) + 4 * shift).astype(np.float32)
    pooled, apart = (stack([one, two], 20, by_section=choice) for choice in (False, True))
    joint = ad.concat([one, two])
    joint.obsm["spatial"] = np.vstack([one.obsm["spatial"], two.obsm["spatial"] + 100])
    joint.uns = one.uns
    assert pooled.genes == stack([joint], 20).genes != apart.genes
    assert pooled.image is not None and apart.image is not None
    gap = [abs(unit.image[:120].mean(axis=0) - unit.image[120:].mean(axis=0)).max() for unit in (pooled, apart)]
    assert gap[0] > 1.0 > gap[1]


@pytest.mark.parametrize(
    ("preset", "settings", "message"),
    [
        ("default", {"components": 0}, "components 0: must be greater than 0"),
        ("mmsrl", {"consistency_loss": "foo"}, "consistency_loss 'foo' is not one of consistency, contrastive"),
        ("default", {"device": "gpu"}, "device 'gpu' is not one of auto, cpu, cuda"),
    ],
)
def test_settings_that_do_not_exist_are_refused(preset: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        train(section(), preset=preset, **(SHORT[preset] | settings))


def test_array_coordinates_that_are_no_numbers_are_not_taken() -> None:
    adata = section()
    adata.obs["array_row"], adata.obs["array_col"] = "A1", 1
    assert stack([adata], 50).array_coordinates is None


def test_components_of_each_sections_own_image_are_not_taken_and_that_is_said() -> None:
    sections = [section("one", image=5), section("two", image=5)]
    for adata in sections:
        adata.obsm.pop("X_image_descriptor", None)
    unit = stack(sections, 50)
    assert unit.image is None
    assert any("obsm['X_image_descriptor']" in message["text"] for message in unit.messages)


def test_width_must_be_positive() -> None:
    with pytest.raises(InputError, match="kernel_width 0.0: must be greater than 0"):
        train(section(), kernel_width=0.0, **QUICK)


def test_the_default_has_no_weights_to_train() -> None:
    result = train(section(image=4), **QUICK)
    assert result.history == [] and result.model["state"] == {}
    assert result.facts["n_weights"] == result.facts["epochs"] == 0


def test_masked_reconstruction_needs_as_many_hidden_values_as_genes() -> None:
    with pytest.raises(InputError, match="32 hidden values with 60 genes.*masked_weight"):
        train(section(), preset="mmsrl", hidden_dim=32, **SHORT["mmsrl"])
    train(section(), preset="mmsrl", hidden_dim=32, masked_weight=0.0, **SHORT["mmsrl"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: b.uns["mmsrl"].update(sample="one"), "different names"),
        (lambda a, b: setattr(b, "var_names", [f"other{i}" for i in range(60)]), "no gene in common"),
        (lambda a, b: b.obsm.pop("spatial"), r"obsm\['spatial'\] is missing"),
        (lambda a, b: b.obsm.update(spatial=np.ones((120, 3))), r"shape \(120, 3\): x and y"),
        (lambda a, b: b.obsm["spatial"].__setitem__((7, 0), np.nan), "1 spots have no coordinates, such as .*7"),
        (lambda a, b: b.X.data.__setitem__(-1, 0.5), "X must hold raw counts, but 1 values are not whole"),
        (lambda a, b: (b.uns.clear(), b.obsm.update(spatial=np.ones((120, 2)))), "no spot lies at a place of its own"),
    ],
)
def test_bad_sections_are_named(change, message: str) -> None:
    one, two = section("one"), section("two")
    change(one, two)
    with pytest.raises(InputError, match=message):
        train([one, two], **QUICK)


def test_standard_components_are_those_of_the_dense_standardised_matrix() -> None:
    rng = np.random.default_rng(0)
    x = np.log1p(rng.poisson(0.5, (80, 30))) * rng.uniform(0.1, 5.0, 30)
    x[0, 3], x[:, 7] = 200.0, 0.0  # an outlier beyond ten deviations, and a gene that never varies
    for of in (np.zeros(80, int), np.repeat([0, 1], [30, 50])):
        scores, kept = standard_components(sp.csr_matrix(x.astype(np.float32)), of, 6, seed=0)
        parts = []
        for part in (x[of == s] for s in np.unique(of)):
            spread = part.std(axis=0, ddof=1)
            z = np.minimum((part - part.mean(axis=0)) / np.where(spread > 0, spread, 1.0), 10.0)
            parts.append(z - z.mean(axis=0))
        u, s, _ = np.linalg.svd(np.vstack(parts), full_matrices=False)
        np.testing.assert_allclose(np.abs(scores), np.abs(u * s)[:, :6], atol=2e-3)
        assert kept == pytest.approx(float((s[:6] ** 2).sum() / (s**2).sum()), rel=1e-4)


def test_standardised_in_its_own_section_a_gene_no_longer_tells_sections_apart() -> None:
    sections = [section("one"), section("two", seed=1, shift=0.8)]
    expression, of = sp.csr_matrix(np.log1p(np.vstack([a.X.toarray() for a in sections]))), np.repeat([0, 1], 120)
    pooled, _ = standard_components(expression, np.zeros(240, int), 10, seed=0)
    own, _ = standard_components(expression, of, 10, seed=0)
    assert section_mixing(pooled, of)["ilisi_scaled"] < 0.3
    assert section_mixing(own, of)["ilisi_scaled"] > 0.9


def test_section_mixing_is_0_apart_and_1_together() -> None:
    rng = np.random.default_rng(0)
    where, of = rng.standard_normal((600, 3)), np.repeat([0, 1, 2], 200)
    assert section_mixing(where, of)["ilisi_scaled"] > 0.9
    assert section_mixing(where + 100 * of[:, None], of)["ilisi_scaled"] == pytest.approx(0.0, abs=1e-9)


def test_section_mixing_of_many_spots_is_that_of_a_sample() -> None:
    rng = np.random.default_rng(0)
    of = np.repeat([0, 1], [30_000, 15_000])
    assert section_mixing(rng.standard_normal((45_000, 3)), of)["ilisi_scaled"] > 0.9
    assert section_mixing(rng.standard_normal((45_000, 3)) + 9 * of[:, None], of)["ilisi_scaled"] < 0.01


def test_harmony_takes_a_group_of_few_spots() -> None:
    values = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float32)
    assert np.isfinite(harmonise(values, np.repeat([0, 1], 6), 0)).all()


def test_harmony_is_reproducible() -> None:
    rng = np.random.default_rng(0)
    values, of = rng.standard_normal((300, 5)).astype(np.float32), np.repeat([0, 1], 150)
    values[of == 1] += 2
    first = harmonise(values, of, 0)
    assert first.shape == values.shape
    np.testing.assert_array_equal(first, harmonise(values, of, 0))
