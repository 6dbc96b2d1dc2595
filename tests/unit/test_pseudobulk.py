"""Where sections differ in what a domain does, genes are tested over sections: p-values hold, and markers are found."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from planted import BANDS, MARKERS, section

from mmsrl.markers.api import markers
from mmsrl.markers.offset import Sums, enrichment, sums
from mmsrl.markers.pseudobulk import over_sections, paired_test


def pseudobulks(n_sections: int, deviation: float, fold: Any = 1.0, genes: int = 1_000, seed: int = 0) -> Any:
    """Counts (S, 2, G) and libraries of a domain that has 30 % of the molecules, more or less by section.

    ``deviation``: of the log fold change over sections, gene by gene; genes also differ between sections.
    """
    random = np.random.default_rng(seed)
    size = random.uniform(0.1, 0.5, n_sections) * random.lognormal(0.0, 0.5, n_sections)
    library = np.column_stack([1.0 - size, size])
    level = np.exp(random.uniform(np.log(30.0), np.log(3_000.0), genes) + random.normal(0, 0.7, (n_sections, genes)))
    mean = library[:, :, None] * level[:, None]
    mean[:, 1] *= fold * np.exp(random.normal(0.0, deviation, (n_sections, genes)))
    return random.poisson(mean).astype(float), library * 1e6


@pytest.mark.parametrize(("n_sections", "deviation"), [(3, 0.0), (3, 0.3), (4, 0.3), (6, 0.3)])
def test_p_values_are_not_below_a_level_more_often_than_it_says(n_sections: int, deviation: float) -> None:
    p = np.concatenate([paired_test(*pseudobulks(n_sections, deviation, seed=seed))[1] for seed in range(3)])
    assert (p <= 0.05).mean() <= 0.05 * 1.25
    assert (p <= 0.001).mean() <= 0.001 * 2.5
    assert (p <= 0.05).mean() >= 0.05 * 0.75


def test_a_small_domain_makes_no_marker_of_genes_of_few_molecules() -> None:
    """One molecule in forty is of the domain: the log of a count near 0 is no unbiased estimate."""
    random = np.random.default_rng(0)
    library = np.tile([0.975, 0.025], (4, 1))
    level = np.exp(random.uniform(np.log(10.0), np.log(3_000.0), 3_000))
    p = paired_test(random.poisson(library[:, :, None] * level).astype(float), library * 1e6)[1]
    assert (p <= 0.05).mean() <= 0.05 * 1.5 and (p <= 0.001).mean() <= 0.001 * 2.5


def test_genes_that_one_domain_has_more_of_in_all_sections_are_found() -> None:
    planted = np.arange(1_000) < 100
    counts, library = pseudobulks(4, 0.3, np.where(planted, 4.0, 1.0))
    log2, p = paired_test(counts, library)
    assert np.median(log2[planted]) == pytest.approx(2.0, abs=0.15)
    assert (p[planted] <= 0.001).mean() > 0.9


def summed(counts: Any, library: Any) -> Sums:
    """A spot a pseudobulk: what sections and domains add up to is all that matters."""
    n = len(counts)
    spots = counts.reshape(2 * n, -1)
    return sums(sp.csr_matrix(spots), library.ravel(), np.repeat(np.arange(n), 2), np.tile([0, 1], n), 2)


def test_domains_of_few_sections_and_genes_of_few_molecules_are_not_tested() -> None:
    counts, library = pseudobulks(3, 0.3, genes=200)
    counts[:, :, :5] = 0.0
    counts[0, 0, :5] = 9.0
    found = over_sections(summed(counts, library), np.array([False, True]))
    assert found.n_sections.tolist() == [3, 3]
    assert np.isnan(found.p_value[0]).all()
    assert np.isnan(found.p_value[1, :5]).all() and np.isfinite(found.p_value[1, 5:]).all()
    # A section all of the domain says nothing, and two are too few.
    counts[2, 0], library[2, 0] = 0.0, 0.0
    found = over_sections(summed(counts, library), np.array([True, True]))
    assert found.n_sections.tolist() == [2, 2] and np.isnan(found.p_value).all()


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
    assert two.genes[["log2_fold_change_pseudobulk", "p_value_pseudobulk", "p_adjusted_pseudobulk"]].isna().all(None)
    assert two.facts["pseudobulk"] == {"sections": 0, "domains": []} and two.genes["marker"].any()
