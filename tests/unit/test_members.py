"""The default's ensemble: what its members share, and that each is what it would be on its own."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from halves import section

from mmsrl.train.api import as_anndata, choose_settings, stack, train
from mmsrl.train.members import build_members
from mmsrl.train.presets import MEMBER_COMPONENTS, MEMBER_WIDTHS

BARE = {"device": "cpu", "show_progress": False, "decoder": False}


def test_members_are_every_width_with_every_number_of_components_and_the_first_is_the_units_embedding() -> None:
    adata = section(image=4)
    result = train(adata, **BARE)
    found = [(member.facts["kernel_width"], member.facts["components"]) for member in result.members]
    assert found == list(product(MEMBER_WIDTHS, MEMBER_COMPONENTS))
    assert found[0] == (result.facts["kernel_width"], result.facts["components"]) == (1.0, 30)
    for member in result.members:
        assert member.embedding.dtype == np.float32
        assert member.embedding.shape == (120, member.facts["components"])
        assert 0.0 < member.facts["variance_kept"] <= 1.0
        assert "image" in member.facts
    np.testing.assert_array_equal(result.members[0].embedding, adata.obsm["X_mmsrl"])
    assert [entry["name"] for entry in result.facts["members"]] == [member.name for member in result.members]
    assert sum("the image predicts" in message["text"] for message in result.messages) == 1


@pytest.mark.parametrize("correct", [False, True])
def test_a_member_is_what_it_would_be_on_its_own(correct: bool) -> None:
    unit = stack([section("one"), section("two", seed=1)], 60)
    settings = choose_settings("default", {})
    members = build_members(unit, settings, None, 0, correct)
    for member in members[3::4]:  # of all components, so that Harmony sees the same
        alone = choose_settings("default", {key: member.facts[key] for key in ("kernel_width", "components")})
        (only,) = build_members(unit, alone, None, 0, correct)
        np.testing.assert_array_equal(only.embedding, member.embedding)
        assert only.facts == member.facts
    first = build_members(unit, settings.of_first(), None, 0, False)[0].facts
    uncorrected = build_members(unit, settings, None, 0, False)[0].facts
    assert first["variance_kept"] == pytest.approx(uncorrected["variance_kept"], rel=1e-4)


def test_members_of_a_given_constant_differ_in_the_other() -> None:
    unit = stack([section()], 60)
    wide = build_members(unit, choose_settings("default", {"kernel_width": 2.0}), None, 0, False)
    assert [member.name for member in wide] == [f"width 2, {size} components" for size in MEMBER_COMPONENTS]
    settings = choose_settings("default", {"kernel_width": 2.0, "components": 5})
    assert [member.embedding.shape for member in build_members(unit, settings, None, 0, False)] == [(120, 5)]


def test_members_that_few_genes_make_the_same_are_made_once() -> None:
    unit = stack([section(n_genes=20)], 20)
    members = build_members(unit, choose_settings("default", {}), None, 0, False)
    assert [member.facts["components"] for member in members] == [19, 15] * 3


def test_the_seed_is_of_chance_alone() -> None:
    one, other = (train(section(), seed=seed, **BARE).members for seed in (0, 5))
    assert [member.name for member in one] == [member.name for member in other]
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_allclose(mine.embedding, theirs.embedding, atol=1e-3)


def test_members_are_written_beside_the_embedding_of_the_default_alone() -> None:
    written = as_anndata(train(section(), kernel_width=1.0, **BARE))
    assert set(written.obsm) == {"X_mmsrl", "spatial", "member_0", "member_1", "member_2", "member_3"}
    assert written.uns["members"].tolist()[0] == "width 1, 30 components"
    published = as_anndata(train(section(), preset="mmsrl", epochs=1, device="cpu", show_progress=False))
    assert set(published.obsm) == {"X_mmsrl", "spatial"} and not published.uns
