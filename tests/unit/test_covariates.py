"""Whether domains follow sections or depth."""

from __future__ import annotations

import numpy as np
import pytest

from mmsrl.domains.covariates import covariates, depth_explained, section_association
from mmsrl.page.stages import covariate_facts, section_matrix, train_facts

SECTION = np.repeat(["a", "b"], 100)


def test_depth_explained_is_the_variance_between_domains_over_all_variance() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(1, 4, 500)
    total = np.exp(5 + labels + random.normal(size=500))
    depth = np.log(total)
    within = sum(((depth[labels == k] - depth[labels == k].mean()) ** 2).sum() for k in (1, 2, 3))
    assert depth_explained(total, labels) == pytest.approx(1 - within / ((depth - depth.mean()) ** 2).sum())


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (np.repeat([1, 2], 100), 1.0),
        (np.tile([1, 2], 100), 0.0),
        (np.repeat([1, 2, 2, 3], 50), np.sqrt(0.5)),  # each shares half of its spots with the other
        (np.ones(200, dtype=int), 0.0),
    ],
)
def test_section_association_is_cramers_v(labels: np.ndarray, expected: float) -> None:
    assert section_association(labels, SECTION) == pytest.approx(expected, abs=1e-9)


def test_domains_that_follow_sections_or_depth_are_warned_about_and_others_are_not() -> None:
    apart, mixed = np.repeat([1, 2], 100), np.tile([1, 2], 100)
    facts, messages = covariates(apart, SECTION, np.where(apart == 1, 100.0, 1000.0))
    assert [message["level"] for message in messages] == ["warning", "warning"]
    assert facts == {"depth_explained": pytest.approx(1.0), "section_association": pytest.approx(1.0)}
    facts, messages = covariates(mixed, SECTION, np.where(apart == 1, 100.0, 1000.0))
    assert [message["level"] for message in messages] == ["info", "info"]
    assert covariates(apart, np.repeat("a", 200), None) == ({}, [])


def test_report_tells_what_components_and_domains_follow() -> None:
    result = {"depth_explained": 0.25, "section_association": 0.5, "spots": {"a": {"1": 30, "2": 10}, "b": {"1": 0}}}
    train = {"n_spots": 40, "log": {"depth_correlation": [0.1, -0.45]}, "residuals": {"depth_correlation": [0.2]}}
    assert covariate_facts(result, train) == {
        "Variance of log depth explained by domains": "25 %",
        "Largest correlation of a component with log depth": "0.45 (log), 0.20 (residuals)",
        "Cramér’s V of domain and section": "0.50",
    }
    assert covariate_facts({}, {}) == {}
    colors = {"1": "#111111", "2": "#222222"}
    matrix = section_matrix(result, colors, "unit")
    assert matrix is not None
    assert [row.heading.name for row in matrix.rows] == ["a", "b"]
    assert [tuple(cell) for cell in matrix.rows[0].cells] == [("75.0 %", 0.75), ("25.0 %", 0.25)]
    assert section_matrix({"spots": {"a": {"1": 3}}}, colors, "unit") is None


def test_training_says_how_sections_mix_and_nothing_of_epochs_where_there_are_none() -> None:
    result = {"epochs": 0, "n_weights": 0, "section_mixing": {"ilisi": 1.3227, "ilisi_scaled": 0.3227}}
    assert train_facts(result, {"preset": "default"}) == {
        "Preset": "default",
        "Section mixing (iLISI)": "1.32",
    }
