"""Where sections differ in what a domain does, genes are tested over sections: p-values hold, and markers are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from planted import BANDS, MARKERS, section
from scipy.stats import norm

from mmsrl.markers.api import markers
from mmsrl.markers.offset import enrichment, sums
from mmsrl.markers.pseudobulk import mean_excess_p, over_sections


def drawn(
    n_sections: int, deviation: float, fold: Any = 1.0, genes: int = 1_000, seed: int = 0, share: float = 0.3
) -> Any:
    """Sums of sections of 300 spots, a share of them in the domain.

    ``deviation``: of the log fold change over sections, gene by gene; genes also differ between sections.
    """
    random = np.random.default_rng(seed)
    n = 300
    section_of = np.repeat(np.arange(n_sections), n)
    domain = np.tile((np.arange(n) < share * n).astype(int), n_sections)
    depth = random.lognormal(0.0, 0.5, len(domain))
    rate = np.exp(random.uniform(np.log(0.05), np.log(5.0), genes) + random.normal(0, 0.7, (n_sections, genes)))
    # The mean of the factor is 1: the test is of molecules, not of their logarithm.
    effect = fold * np.exp(random.normal(-(deviation**2) / 2.0, deviation, (n_sections, genes)))
    mean = depth[:, None] * rate[section_of] * np.where(domain[:, None] == 1, effect[section_of], 1.0)
    return sums(sp.csr_matrix(random.poisson(mean)), 2_000.0 * depth, section_of, domain, 2)


def over(found: Any) -> Any:
    return over_sections(found, np.array([False, True])).p_value[1]


@pytest.mark.parametrize(
    ("n_sections", "deviation", "share"), [(3, 0.0, 0.3), (3, 0.3, 0.3), (4, 0.3, 0.3), (6, 0.3, 0.3), (4, 0.0, 0.03)]
)
def test_p_values_are_below_a_level_as_often_as_it_says(n_sections: int, deviation: float, share: float) -> None:
    p = np.concatenate([over(drawn(n_sections, deviation, seed=seed, share=share)) for seed in range(4)])
    p = p[np.isfinite(p)]
    assert 0.05 * 0.7 <= (p <= 0.05).mean() <= 0.05 * 1.3
    assert (p <= 0.001).mean() <= 0.001 * 3.0


def test_estimates_without_noise_between_sections_are_tested_as_normal_ones() -> None:
    """Many genes tell the variance of Poisson counts, so that the test is close to one of known variance."""
    random = np.random.default_rng(0)
    precision = random.uniform(50.0, 100.0, (5, 4_000))
    excess = random.normal(0.0, precision**-0.5)
    z = (precision * excess).sum(axis=0) / np.sqrt(precision.sum(axis=0))
    p = mean_excess_p(excess, precision)
    assert np.quantile(np.abs(norm.isf(p) - z), 0.9) < 0.15


def test_genes_that_one_domain_has_more_of_in_all_sections_are_found() -> None:
    planted = np.arange(1_000) < 100
    p = over(drawn(4, 0.2, np.where(planted, 3.0, 1.0)))
    assert (p[planted] <= 0.001).mean() > 0.85


def test_domains_of_few_sections_and_genes_of_few_molecules_are_not_tested() -> None:
    found = drawn(3, 0.0, genes=200)
    found.molecules[:, :, :5] = 0.0
    assert np.isnan(over(found)[:5]).all() and np.isfinite(over(found)[20:]).mean() > 0.9
    assert np.isnan(over_sections(found, np.array([False, True])).p_value[0]).all()
    # A section all of the domain says nothing, and two are too few.
    found.library[:, 2, 0] = 0.0
    without = over_sections(found, np.array([True, True]))
    assert without.n_sections.tolist() == [2, 2] and np.isnan(without.p_value).all()


def test_spots_call_significant_what_differs_between_sections_and_sections_do_not() -> None:
    """Four sections, half of the spots in the domain; no gene has more in it on average."""
    random = np.random.default_rng(0)
    section_of, domain = np.repeat(np.arange(4), 200), np.tile(np.arange(200) % 2, 4)
    effect = np.exp(random.normal(0.0, 0.3, (4, 400)))
    rate = random.uniform(0.5, 3.0, 400)
    depth = random.lognormal(0.0, 0.3, 800)
    mean = depth[:, None] * rate * np.where(domain[:, None] == 1, effect[section_of], 1.0)
    found = sums(sp.csr_matrix(random.poisson(mean)), 2_000.0 * depth, section_of, domain, 2)
    spots, sections = enrichment(found).p_value[1], over_sections(found, np.ones(2, dtype=bool)).p_value[1]
    assert (spots <= 0.05).mean() > 5 * 0.05 and (spots <= 0.001).mean() > 50 * 0.001
    assert (sections <= 0.05).mean() <= 1.5 * 0.05


def test_markers_of_sections_with_replicates_are_tested_over_them() -> None:
    found = markers([section(name, seed) for seed, name in enumerate("abc")], seed=0)
    assert found.facts["pseudobulk"] == {"sections": 3, "domains": [str(k) for k in range(1, BANDS + 1)]}
    marked = found.genes[found.genes["marker"]]
    assert (marked["p_adjusted_pseudobulk"] < 0.05).all() and (marked["p_adjusted"] < 0.05).all()
    planted = {f"B{band}_{i}" for band in range(1, BANDS + 1) for i in range(MARKERS)}
    assert len(planted & set(marked["gene"])) > 0.9 * len(planted)
    two = markers([section(name, seed) for seed, name in enumerate("ab")], seed=0)
    assert two.genes[["p_value_pseudobulk", "p_adjusted_pseudobulk"]].isna().all(None)
    assert two.facts["pseudobulk"] == {"sections": 0, "domains": []} and two.genes["marker"].any()
