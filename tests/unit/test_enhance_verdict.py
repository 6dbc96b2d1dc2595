"""The verdict on de-noised genes, against planted rates: what is better by truth, and how often chance is called so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from mmsrl._thinning import split_counts
from mmsrl.enhance import estimators
from mmsrl.enhance.estimators import Decoder, Source, gene_blocks
from mmsrl.enhance.evidence import SHARES, choose_pooling, judge
from mmsrl.enhance.verdict import BETTER, UNDECIDED, WORSE, Saved, enough, saved, tissue_blocks, verdicts
from mmsrl.graph import block_diagonal, plain_graph, smooth

CELLS, GENES = 900, 400


def planted(seed: int) -> tuple[Any, Any]:
    """Return places, (n, 2), and rates, (n, G), of cells of irregular places and structured depth, in two sections.

    Genes have from a hundredth of a molecule to ten in a cell. By turns they follow nothing, four domains, the cell
    alone, or both; one in four differs between the sections.
    """
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 30, (CELLS, 2))
    across = places[:, 0] / 30 + 0.1 * np.sin(places[:, 1] / 5)
    domain = np.digitize(across, [0.25, 0.5, 0.75])
    section = np.repeat([0, 1], CELLS // 2)
    kind = np.arange(GENES) % 4
    rates = np.tile(10 ** rng.uniform(-2, 1, GENES), (CELLS, 1))
    rates *= np.where(kind % 2 == 1, np.exp(rng.normal(0, 0.5, (4, GENES)))[domain], 1.0)
    rates *= np.where(kind >= 2, np.exp(rng.normal(0, 0.6, rates.shape)), 1.0)
    rates *= np.where(rng.random(GENES) < 0.25, np.exp(rng.normal(0, 0.5, (2, GENES)))[section], 1.0)
    depth = np.exp(0.6 * np.sin(places[:, 1] / 6) + 0.4 * rng.normal(size=CELLS) + 0.4 * section)
    return [places[section == s] for s in (0, 1)], rates * depth[:, None]


def judged(seed: int) -> pd.DataFrame:
    """Return the evidence, and ``truth``: what is saved of the strongest estimate were infinitely many held out."""
    places, rates = planted(seed)
    counts = sp.csr_matrix(np.random.default_rng(seed).poisson(rates).astype(np.float32))
    fit, choose, held = split_counts(counts, SHARES, seed)
    every = np.arange(CELLS)
    pooling = choose_pooling(places, fit, choose, every)
    library = np.maximum(np.asarray(fit.sum(axis=1)), 1)
    logs = np.log1p(fit.toarray() / library * np.median(library))
    u, s, _ = np.linalg.svd(logs - logs.mean(axis=0), full_matrices=False)
    decoder = Decoder.fit(smooth(pooling.graph, u[:, :8] * s[:8], 1), fit)
    parts = (decoder, Source.of(fit, pooling.graph), choose)
    table = judge(*parts, held, tissue_blocks(places)).table
    # Deviances differ by what is linear in the counts: of the rates themselves they are as expected.
    expected = judge(*parts, sp.csr_matrix(SHARES[2] * rates), tissue_blocks(places)).table
    others = expected[["deviance_normalised", "deviance_smoothed", "deviance_mean"]]
    table["truth"] = others.min(axis=1) - expected["deviance_enhanced"]
    return table


def test_judging_some_spots_is_judging_their_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    places, rates = planted(0)
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(rates).astype(np.float32))
    fit, choose, held = split_counts(counts, SHARES, 0)
    graph = block_diagonal([plain_graph(own, 1.0) for own in places])
    decoder = Decoder.fit(np.concatenate(places), fit)
    blocks = tissue_blocks(places)
    every = judge(decoder, Source.of(fit, graph), choose, held, blocks).table
    monkeypatch.setattr(estimators, "VALUES", CELLS * 3)  # three genes at a time
    assert [block.stop - block.start for block in gene_blocks(CELLS, 7)] == [3, 3, 1]
    in_blocks = judge(decoder, Source.of(fit, graph), choose, held, blocks).table
    pd.testing.assert_frame_equal(in_blocks, every, rtol=1e-6, check_exact=False)
    spots = np.sort(np.random.default_rng(1).choice(CELLS, CELLS // 2, replace=False))
    source = Source.of(fit, graph, spots)
    some = judge(decoder.at(spots), source, choose[spots], held[spots], blocks[:, spots]).table
    np.testing.assert_array_equal(some["held_out"], np.asarray(held[spots].sum(axis=0)).ravel())
    # Half of the spots say the same with a larger error.
    both = some["judged"] & every["judged"]
    off = (some["gain"] - every["gain"]) / some["gain_se"]
    assert both.sum() > 30 and np.abs(off[both]).median() < 1.5
    assert (some["gain_se"] / every["gain_se"])[both].median() > 1.1


@pytest.fixture(scope="module")
def evidence() -> pd.DataFrame:
    return pd.concat([judged(seed) for seed in range(4)])


def test_chance_is_hardly_ever_called_better(evidence):
    none = evidence[evidence["judged"] & (evidence["truth"] <= 0)]
    assert len(none) > 100
    assert (none["verdict"] == BETTER).mean() <= 0.025
    # What the sign alone would say.
    assert ((none["gain"] > 0) & (none["structure"] > 0)).mean() > 0.15


def test_planted_gains_are_found_and_not_called_worse(evidence):
    gaining = evidence[evidence["judged"] & (evidence["truth"] > 0)]
    assert (gaining["verdict"] == WORSE).mean() <= 0.025
    plain = gaining[(gaining["held_out"] > 1000) & (gaining["truth"] > 30)]
    assert len(plain) > 50
    assert (plain["verdict"] == BETTER).mean() > 0.8


def test_standard_error_is_that_of_leaving_blocks_out():
    rng = np.random.default_rng(0)
    other = rng.uniform(50, 150, (40, 3))
    mine = other * rng.normal(0.95, 0.02, (40, 3))
    found = saved(mine, other)
    left_out = np.stack([1 - np.delete(mine, b, 0).sum(axis=0) / np.delete(other, b, 0).sum(axis=0) for b in range(40)])
    jackknife = np.sqrt(39 / 40 * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.share, 1 - mine.sum(axis=0) / other.sum(axis=0))
    np.testing.assert_allclose(found.error, jackknife, rtol=0.05)


def test_better_needs_all_comparisons_and_worse_one():
    one = Saved(np.array([0.3, 0.3, 0.3, 0.3, 0.3]), np.full(5, 0.1))
    other = Saved(np.array([0.3, 0.1, -0.3, 0.3, np.nan]), np.full(5, 0.1))
    enough = np.array([True, True, True, False, False])
    expected = [BETTER, UNDECIDED, WORSE, UNDECIDED, UNDECIDED]
    assert verdicts([one, other], 50, enough).tolist() == expected
    # Of few blocks more is asked.
    assert verdicts([one, other], 3, enough).tolist() == [UNDECIDED] * 5


def test_few_molecules_or_few_places_get_no_verdict():
    counts = np.zeros((30, 3))
    counts[:, 0], counts[:9, 1], counts[:, 2] = 2, 10, 1
    assert enough(sp.csc_matrix(counts), sp.identity(30, format="csr")).tolist() == [True, False, False]


@pytest.mark.parametrize(("side", "least", "most"), [(8, 20, 30), (14, 20, 40), (40, 40, 60), (200, 90, 130)])
def test_blocks_are_about_as_many_whatever_the_size(side, least, most):
    places = np.indices((side, side)).reshape(2, -1).T.astype(float)
    blocks = tissue_blocks([places])
    assert least <= blocks.shape[0] <= most
    np.testing.assert_array_equal(np.asarray(blocks.sum(axis=0)).ravel(), 1.0)
