"""Moderated linear models: against a dense restatement, and where there is nothing to find."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2, false_discovery_control
from statsmodels.regression.linear_model import WLS

from mmsrl.compare.gene_tests import gene_differences
from mmsrl.linear_models import library_sizes, moderated_effect, squeezed_variances, voom

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/bench_study.py"))
DESIGN = np.column_stack([np.ones(6), [0, 0, 0, 1, 1, 1], [0, 1, 0, 1, 0, 1]]).astype(float)


def test_estimates_are_those_of_weighted_least_squares_and_errors_are_moderated() -> None:
    random = np.random.default_rng(0)
    values, weights = random.normal(size=(6, 40)), random.uniform(0.5, 2.0, (6, 40))
    contrast = np.array([0.0, 1.0, -0.5])
    found = moderated_effect(values, DESIGN, contrast, weights)
    fits = [WLS(values[:, g], DESIGN, weights[:, g]).fit() for g in range(40)]
    moderated, _ = squeezed_variances(np.array([fit.scale for fit in fits]), 3)
    tests = [fit.t_test(contrast) for fit in fits]
    errors = [
        float(test.sd.item()) * np.sqrt(v / fit.scale) for test, fit, v in zip(tests, fits, moderated, strict=True)
    ]
    np.testing.assert_allclose(found.estimate, [test.effect.item() for test in tests], atol=1e-10)
    np.testing.assert_allclose(found.t, found.estimate / errors, rtol=1e-8)
    np.testing.assert_allclose((found.low + found.high) / 2, found.estimate, atol=1e-10)
    np.testing.assert_allclose(found.p_value, 2 * np.minimum(found.p_greater, 1 - found.p_greater), rtol=1e-8)


def test_prior_degrees_of_freedom_of_variances_are_found() -> None:
    """Variances drawn from the model of Smyth (2004): own ones about a true one that has a prior."""
    random = np.random.default_rng(1)
    true = 2.0 * 8.0 / chi2.rvs(8, size=20_000, random_state=random)
    own = true * chi2.rvs(4, size=20_000, random_state=random) / 4.0
    moderated, prior = squeezed_variances(own, 4)
    assert prior == pytest.approx(8.0, rel=0.1)
    assert np.mean((np.log(moderated) - np.log(true)) ** 2) < 0.4 * np.mean((np.log(own) - np.log(true)) ** 2)
    alike, prior = squeezed_variances(np.full(50, 3.0), 4)
    assert prior == np.inf and np.ptp(alike) == 0.0


def test_weights_follow_the_variance_of_the_fitted_count() -> None:
    random = np.random.default_rng(2)
    mean = np.repeat([5.0, 500.0], 500)
    library = np.array([1.0, 1.0, 1.0, 1.0, 8.0, 8.0])
    counts = random.poisson(library[:, None] * mean).astype(float)
    weights = voom(counts, counts.sum(axis=1), DESIGN)[1]
    # log2 of a Poisson count has the variance 1/(mean ln² 2).
    expected = np.outer(library, mean) * np.log(2.0) ** 2
    shallow, deep = weights[0], weights[4]
    assert np.median(shallow[mean == 500]) == pytest.approx(np.median(expected[0, mean == 500]), rel=0.35)
    assert np.median(deep[mean == 5]) > 3 * np.median(shallow[mean == 5])


def test_library_sizes_leave_aside_genes_that_rise() -> None:
    counts = np.full((4, 100), 100.0)
    counts[2:] *= 2.0
    counts[3, :10] *= 50.0
    size = library_sizes(counts)
    np.testing.assert_allclose(size[[2, 3]] / size[0], 2.0, rtol=0.02)
    few = np.full((2, 30), 1.0)
    np.testing.assert_array_equal(library_sizes(few), [30.0, 30.0])


@pytest.mark.parametrize("noise", BENCH["NOISE"].values(), ids=BENCH["NOISE"])
@pytest.mark.parametrize("n", [4, 6])
def test_genes_without_a_difference_are_called_as_often_as_they_should_be(noise, n: int) -> None:
    p = []
    for seed in range(4):
        found = gene_differences(BENCH["pseudobulks"](noise, n, 3_000, seed), BENCH["arms_of"](n))
        assert not isinstance(found, str)
        p.append(found.p_value)
    shares = [(np.concatenate(p) <= level).mean() / level for level in (0.05, 0.001)]
    assert 0.75 <= shares[0] <= 1.25
    assert shares[1] <= 2.5


def test_few_genes_do_not_lean_on_each_other_too_much() -> None:
    """Of studies of 90 genes without a difference hardly more than 5 % have one at a false discovery rate of 5 %."""
    noise, called = BENCH["NOISE"]["dispersion .05"], []
    for seed in range(200):
        found = gene_differences(BENCH["pseudobulks"](noise, 4, 120, seed), BENCH["arms_of"](4))
        assert not isinstance(found, str)
        called.append(false_discovery_control(found.p_value).min() < 0.05)
    assert np.mean(called) <= 0.08


def test_two_shallow_replicates_of_one_condition_make_no_difference() -> None:
    """The mean depth of a condition would let genes in whose logs are biased in these two."""
    p, median = [], []
    for seed in range(4):
        random = np.random.default_rng(seed)
        depth = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.02, 0.02])
        mean = 10.0 ** random.uniform(0.0, 3.0, 2_000) * depth[:, None]
        found = gene_differences(random.poisson(random.gamma(20.0, mean / 20.0)).astype(float), BENCH["arms_of"](8))
        assert not isinstance(found, str)
        p.append(found.p_value)
        median.append(np.median(found.log2_fold_change))
    assert (np.concatenate(p) <= 0.05).mean() <= 0.05 * 1.75
    assert np.abs(median).max() < 0.1
