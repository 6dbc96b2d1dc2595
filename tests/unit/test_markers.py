"""Markers are the genes that were planted, tests are those of the libraries, and noise is not called significant."""

import json

import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from click.testing import CliRunner
from planted import BANDS, MARKERS, configuration, domains_csv, section
from scipy.stats import binom, false_discovery_control

from mmsrl._errors import InputError
from mmsrl._gmt import read_gmt
from mmsrl._thinning import split_counts
from mmsrl.domains.api import domains
from mmsrl.markers.api import _first, markers
from mmsrl.markers.cli import main
from mmsrl.markers.domain_means import by_domain
from mmsrl.markers.folds import fold_changes
from mmsrl.markers.lattice import adjacency, contacts
from mmsrl.markers.offset import enrichment, sums
from mmsrl.markers.over_representation import over_represented
from mmsrl.markers.spatial import morans_i
from mmsrl.markers.table import depth_alone
from mmsrl.train.api import train


def sparse_counts(n=60, genes=15, seed=0):
    return sp.csr_matrix(np.random.default_rng(seed).poisson(0.7, (n, genes)).astype(np.float32))


def test_parts_of_a_split_add_up_and_are_independent():
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(4.0, (400, 200)).astype(np.float32))
    one, other = split_counts(counts, (0.5, 0.5), 0)
    assert (one + other != counts).nnz == 0
    assert abs(np.corrcoef(one.toarray().ravel(), other.toarray().ravel())[0, 1]) < 0.01
    assert one.sum() == pytest.approx(counts.sum() / 2, rel=0.01)
    again = split_counts(counts, (0.5, 0.5), 0)[0]
    assert (again != one).nnz == 0
    three = split_counts(counts, (0.5, 0.25, 0.25), 0)
    assert (sum(three) != counts).nnz == 0
    assert three[2].sum() == pytest.approx(counts.sum() / 4, rel=0.02)


def test_few_molecules_have_the_mid_p_of_the_exact_test():
    """At one depth and without overdispersion the molecules in a domain are binomial."""
    domain = np.repeat([0, 1], [100, 400])
    counts = np.zeros((500, 30), dtype=np.float32)
    for gene in range(30):
        counts[np.arange(gene), gene] = 1.0  # of 40 molecules, so many in the first domain
        counts[100 + np.arange(40 - gene), gene] = 1.0
    found = sums(sp.csr_matrix(counts), np.full(500, 1000.0), np.zeros(500, int), domain, 2)._replace(
        dispersion=np.zeros(30)
    )
    inside = np.arange(30)
    exact = binom.sf(inside, 40, 0.2) + binom.pmf(inside, 40, 0.2) / 2
    ratio = enrichment(found).p_value[0] / exact
    np.testing.assert_allclose(ratio[exact > 1e-3], 1.0, atol=0.15)
    assert (ratio > 0.85).all()  # further out too large, never too small


def test_molecules_are_compared_within_sections_and_with_the_library():
    """Twice the library, or a section that has ten times as much of a gene, is no difference between domains."""
    section_of, domain = np.repeat([0, 0, 1, 1], 50), np.repeat([0, 1, 0, 1], 50)
    library = np.where(domain == 0, 2000.0, 1000.0) * np.tile([0.5, 1.5], 100)
    counts = (library[:, None] / 1000.0 * np.where(section_of == 0, 10.0, 1.0)[:, None]).astype(np.float32)
    found = sums(sp.csr_matrix(counts), library, section_of, domain, 2)
    np.testing.assert_allclose(enrichment(found).z, 0.0, atol=1e-9)
    np.testing.assert_allclose(fold_changes(found, 1).log2, 0.0, atol=1e-3)
    counts[(section_of == 1) & (domain == 0)] *= 3.0
    folds = fold_changes(sums(sp.csr_matrix(counts), library, section_of, domain, 2), 1)
    assert folds.sections_up[0, 0] == 1 and folds.log2[0, 0] > 0 > folds.log2[1, 0]


def test_statistic_is_that_of_least_squares_spot_by_spot():
    """Counts times what a regression on the log of the library, weighted by it, leaves of the domain."""
    random = np.random.default_rng(0)
    section_of, domain = np.repeat([0, 1], 150), random.integers(0, 3, 300)
    library = random.lognormal(7.0, 0.5, 300)
    counts = random.poisson(library[:, None] * np.full(20, 0.01)).astype(float)
    found = sums(sp.csr_matrix(counts), library, section_of, domain, 3)._replace(dispersion=np.full(20, 0.1))
    excess, variance = np.zeros((3, 20)), np.zeros((3, 20))
    for s in (0, 1):
        own = section_of == s
        design = np.column_stack([np.ones(own.sum()), np.log(library[own])])
        root = np.sqrt(library[own])[:, None]
        member = np.eye(3)[domain[own]]
        left = member - design @ np.linalg.lstsq(root * design, root * member, rcond=None)[0]
        total, whole = counts[own].sum(axis=0), library[own].sum()
        excess += left.T @ counts[own]
        variance += (left**2).T @ library[own, None] * total / whole
        variance += 0.1 * (left**2).T @ library[own, None] ** 2 * total * (total - 1) / whole**2
    np.testing.assert_allclose(enrichment(found).z, excess / np.sqrt(variance), rtol=1e-9, atol=1e-9)


def test_a_domain_that_depth_tells_wholly_is_not_tested():
    domain = np.repeat([0, 1], 100)
    library = np.where(domain == 0, 2000.0, 1000.0)
    counts = np.random.default_rng(0).poisson(library[:, None] * np.full(5, 0.01))
    found = sums(sp.csr_matrix(counts), library, np.zeros(200, dtype=int), domain, 2)
    assert np.isnan(enrichment(found).p_value).all()


def test_dispersion_is_that_of_the_counts():
    random = np.random.default_rng(0)
    library = random.lognormal(7.0, 0.5, 1000)
    mean = library[:, None] * np.repeat([0.002, 0.01], 200) * np.where(np.arange(1000) < 300, 3.0, 1.0)[:, None]
    counts = random.poisson(mean * random.gamma(2.0, 0.5, mean.shape))
    domain = (np.arange(1000) >= 300).astype(int)
    found = sums(sp.csr_matrix(counts), library, np.zeros(1000, int), domain, 2)
    assert np.median(found.dispersion) == pytest.approx(0.5, rel=0.05)


def test_intervals_of_fold_changes_hold_what_was_planted_nineteen_times_of_twenty():
    random = np.random.default_rng(0)
    section_of, domain = np.repeat([0, 1], 500), np.tile(np.arange(500) < 100, 2).astype(int)
    library = random.lognormal(7.0, 0.4, 1000)
    level = np.where(section_of == 0, 1.0, 3.0)[:, None]
    mean = library[:, None] * level * np.full(1500, 5e-4) * np.where(domain == 1, 2.0, 1.0)[:, None]
    counts = random.poisson(mean * random.gamma(2.0, 0.5, mean.shape))
    folds = fold_changes(sums(sp.csr_matrix(counts), library, section_of, domain, 2), 1)
    assert 0.93 < ((folds.low[1] < 1.0) & (folds.high[1] > 1.0)).mean() < 0.97
    assert np.median(folds.log2[1]) == pytest.approx(1.0, abs=0.03)


def test_morans_i_is_that_of_scanpy_where_spots_are_of_one_depth():
    points = np.argwhere(np.ones((15, 15))).astype(float)
    graph = adjacency(points, lattice=False)
    counts = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, (225, 40)).astype(np.float64))
    found = morans_i(counts, np.full(225, 1000.0), graph)
    weights = sp.csr_matrix(sp.diags(1 / np.asarray(graph.sum(axis=1)).ravel()) @ graph)
    np.testing.assert_allclose(found.i, sc.metrics.morans_i(weights, counts.T.tocsr()), atol=1e-8)


def test_moments_of_morans_i_are_those_of_permutations():
    """At one depth: mean, deviation and skewness of the permuted, hence the p-value far out."""
    random = np.random.default_rng(1)
    points = np.argwhere(np.ones((12, 12))).astype(float)
    graph = adjacency(points, lattice=True)
    one = random.poisson(0.6, 144).astype(float)
    permuted = np.stack([random.permutation(one) for _ in range(20_000)], axis=1)
    found = morans_i(sp.csr_matrix(permuted), np.full(144, 1000.0), graph)
    for level in (0.05, 0.001):
        assert (found.p_value <= level).mean() == pytest.approx(level, rel=0.35)


def test_a_gene_of_few_molecules_is_not_called_spatial():
    points = np.argwhere(np.ones((30, 30))).astype(float)
    graph = adjacency(points, lattice=True)
    counts = np.zeros((900, 2))
    counts[:4, 0] = 1.0  # four molecules, side by side
    counts[:120, 1] = 1.0
    found = morans_i(sp.csr_matrix(counts), np.full(900, 1000.0), graph)
    assert np.isnan(found.p_value[0]) and np.isfinite(found.i).all()
    assert found.p_value[1] < 1e-20


def test_contacts_are_counted_and_compared_with_shuffles():
    points = np.argwhere(np.ones((12, 12))).astype(float)
    graph = adjacency(points, lattice=True)
    bands = (points[:, 0] // 4).astype(int)
    found = contacts(bands, graph, 3, seed=0)
    np.testing.assert_array_equal(found.observed, found.observed.T)
    # Every pair once, also those within a domain.
    assert np.triu(found.observed).sum() == graph.nnz / 2 == pytest.approx(np.triu(found.expected).sum())
    assert found.observed[0, 0] == 4 * 11 + 3 * 12
    assert found.observed[0, 1] == found.observed[1, 2] == 12
    assert found.observed[0, 2] == 0
    assert found.z[0, 0] > 5
    assert found.z[0, 2] < -5
    shuffled = contacts(np.random.default_rng(1).permutation(bands), graph, 3, seed=0)
    assert np.abs(shuffled.z).max() < 4


def test_spots_without_a_lattice_have_their_nearest_as_neighbours():
    points = np.random.default_rng(0).uniform(size=(50, 2))
    graph = adjacency(points, lattice=False)
    assert (graph != graph.T).nnz == 0
    assert graph.diagonal().sum() == 0
    assert np.diff(graph.indptr).min() >= 6


def test_rates_are_of_molecules_and_not_of_spots():
    counts = sp.csr_matrix(np.array([[9, 1], [0, 2], [1, 9], [1, 1]], dtype=np.float32))
    found = by_domain(counts, np.array([0, 0, 1, 1]), 2)
    np.testing.assert_allclose(found.rate, [[7500, 2500], [1e4 * 2 / 12, 1e4 * 10 / 12]])
    np.testing.assert_allclose(found.share, [[0.5, 1.0], [1.0, 1.0]])
    library = np.asarray(counts.sum(axis=1)).ravel()
    folds = fold_changes(sums(counts, library, np.zeros(4, int), np.array([0, 0, 1, 1]), 2), 2)
    overall = (11 + 0.5) / (24 + 1)
    elsewhere = (2 + overall) / (12 + 1)
    assert folds.log2[0, 0] == pytest.approx(np.log2((9 + elsewhere) / (12 + 1) / elsewhere))


def test_a_domain_of_a_few_shallow_spots_takes_no_gene_from_the_others_and_gets_none():
    """Half a molecule of every gene alike would be more than most genes have in the domains that are there."""
    random = np.random.default_rng(0)
    share = random.lognormal(0, 1.6, 2_000)
    marked = random.permutation(2_000)[:200].reshape(4, 50)
    rate = np.tile(share, (5, 1))
    for k in range(4):
        rate[k, marked[k]] *= 4
    domain = np.repeat(np.arange(5), [200, 200, 200, 200, 3])
    depth = np.where(domain < 4, 5_000, 300)[:, None]
    counts = sp.csr_matrix(random.poisson(depth * (rate / rate.sum(axis=1, keepdims=True))[domain]).astype(np.float32))

    library = np.asarray(counts.sum(axis=1), dtype=float).ravel()
    folds = fold_changes(sums(counts, library, np.zeros(len(domain), int), domain, 5), 2_000)

    for k in range(4):
        assert (folds.log2_next[k, marked[k]] >= 0.5).mean() > 0.9
    unseen = np.asarray(counts[domain == 4].sum(axis=0)).ravel() == 0
    assert unseen.sum() > 1_000 and (folds.log2[4, unseen] < 0).all()


def test_planted_genes_are_found_and_noise_is_not():
    found = markers(section(), seed=0)
    for band in range(1, BANDS + 1):
        own = found.genes[(found.genes["domain"] == str(band)) & found.genes["marker"]]
        assert set(own["gene"].head(MARKERS)) == {f"B{band}_{i}" for i in range(MARKERS)}
        assert own["specific"].head(MARKERS).all()
    noise = found.genes["gene"].str.startswith("noise")
    # Noise is a larger share of the molecules where there are fewer others: a few genes pass.
    assert found.genes.loc[noise, "marker"].mean() <= 0.01
    assert found.spatial["gene"].head(5 * MARKERS).str.match(r"B\d|rising").all()
    assert min(found.facts["recovered"].values()) > 0.8


def test_domains_found_in_noise_have_no_markers():
    """Where the same counts make and test the domains, half of all genes come out significant."""
    noise = section(depth=0.5)[:, -60:].copy()
    noise.obs["domain"] = pd.Categorical(np.where(noise.X[:, :8].toarray().sum(axis=1) > 4, "1", "2"))
    found = markers(noise, seed=0)
    assert not found.genes["marker"].any()


def test_domains_are_found_anew_as_they_were_found(monkeypatch):
    """Training and read-out get the unit's settings; half of the molecules is all they see."""
    seen = {}

    def trained(sections, **settings):
        seen.update(settings, total=sum(adata.X.sum() for adata in sections), image="X_image" in sections[0].obsm)
        return train(sections, **settings)

    def read(embeddings, n_domains, **settings):
        seen.update(n_domains=n_domains, **{f"read_{name}": value for name, value in settings.items()})
        return domains(embeddings, n_domains, **settings)

    monkeypatch.setattr("mmsrl.markers.api.train", trained)
    monkeypatch.setattr("mmsrl.markers.api.domains", read)
    adata = section()
    adata.obsm["X_image"] = np.random.default_rng(0).normal(size=(adata.n_obs, 3)).astype(np.float32)
    markers(adata, readout="kmeans", seed=3, domain_seed=5, kernel_width=1.5, n_top_genes=90, epochs=None)
    assert seen["image"] and seen["total"] == pytest.approx(adata.X.sum() / 2, rel=0.02)
    assert (seen["kernel_width"], seen["n_top_genes"], seen["seed"]) == (1.5, 90, 3)
    assert (seen["n_domains"], seen["read_readout"], seen["read_seed"]) == (BANDS, "kmeans", 5)


def test_domains_of_a_published_preset_have_intervals_and_no_p_values():
    found = markers(section(), preset="mmsrl", readout="leiden", hidden_dim=100)
    assert found.genes[["score", "p_value", "p_adjusted"]].isna().all(axis=None)
    assert found.facts["recovered"] == {} and "no p-values" in found.messages[0]["text"]
    assert (found.genes["marker"] == (found.genes["log2_fold_change_low"] >= 0.5)).all()
    for band in range(1, BANDS + 1):
        own = found.genes[(found.genes["domain"] == str(band)) & found.genes["marker"]]
        assert set(own["gene"].head(MARKERS)) == {f"B{band}_{i}" for i in range(MARKERS)}


def test_counts_too_few_to_be_divided_are_said():
    adata = section()[::12].copy()
    adata.X = sp.csr_matrix(adata.X.multiply(np.random.default_rng(0).random(adata.shape) < 0.002))
    adata.X.eliminate_zeros()
    found = markers(adata)
    assert "too few to find the domains again" in found.messages[0]["text"]
    assert not found.genes["marker"].any()


def test_sections_of_a_group_are_described_together_and_apart():
    found = markers([section("a", 0), section("b", 1)], seed=0)
    own = found.genes[found.genes["marker"] & found.genes["gene"].str.startswith("B1")]
    assert (own["samples_up"] == 2).all()
    assert set(found.spatial["sample"]) == set(found.neighbours["sample"]) == {"a", "b"}


def test_a_section_without_a_domain_has_no_gene_up_in_it():
    one, other = section("a", 0), section("b", 1)
    other = other[other.obs["domain"] != "1"].copy()
    found = markers([one, other], seed=0)
    own = found.genes[found.genes["marker"] & (found.genes["domain"] == "1")]
    assert len(own) and (own["samples_up"] == 1).all()
    assert "1" not in set(found.neighbours["domain"][found.neighbours["sample"] == "b"])


def test_a_section_in_one_domain_has_no_gene_up_in_it():
    one, other = section("a", 0), section("b", 1)
    other = other[other.obs["domain"] == "1"].copy()
    found = markers([one, other], seed=0)
    own = found.genes[found.genes["marker"] & (found.genes["domain"] == "1")]
    assert len(own) and (own["samples_up"] == 1).all()


def test_domains_of_uncorrected_sections_are_found_again_uncorrected():
    """A batch effect makes each section a domain: genes are tested between these, not between others of their names."""
    one, other = section("a", 0), section("b", 1)
    other.X = sp.csr_matrix(other.X.multiply(np.exp(np.random.default_rng(2).normal(0, 1.5, other.n_vars))).rint())
    for adata, domain in ((one, "1"), (other, "2")):
        adata.obs["domain"] = domain
    found = markers([one, other], batch_correction=False)
    assert found.facts["recovered"] == {"1": 1.0, "2": 1.0}
    assert max(markers([one, other]).facts["recovered"].values()) < 0.6


def test_counts_may_be_dense_and_names_of_domains_numbers():
    adata = section()
    expected = markers(adata, seed=0).genes
    adata.X = adata.X.toarray()
    adata.obs["domain"] = adata.obs["domain"].astype(int)
    pd.testing.assert_frame_equal(markers(adata, seed=0).genes, expected)


def test_what_is_no_count_or_has_no_name_of_its_own_is_said():
    adata = section()
    adata.layers["counts"] = adata.X.copy()
    adata.X = adata.X.log1p()
    with pytest.raises(InputError, match=r"sample S: X must hold raw counts.*layers\['counts'\]"):
        markers(adata)
    twice = section()
    twice.var_names = ["gene"] * twice.n_vars
    with pytest.raises(InputError, match="sample S: gene names are not unique"):
        markers(twice)


def test_one_domain_has_no_markers_and_that_is_said():
    adata = section()
    adata.obs["domain"] = pd.Categorical(["1"] * adata.n_obs)
    found = markers(adata)
    assert not len(found.genes)
    assert "only one domain" in found.messages[0]["text"]


def test_sets_rich_in_markers_come_first():
    tested = [f"g{i}" for i in range(100)]
    sets = {"rich": tested[:8], "plain": tested[40:60], "small": tested[:3], "other": ["x", "y", "z", "u", "v"]}
    found = over_represented(tested[:10], tested, sets).set_index("gene_set")
    assert list(found.index) == ["rich", "plain"]
    assert found.loc["rich", "n_both"] == 8
    assert found.loc["rich", "expected"] == pytest.approx(0.8)
    assert found.loc["rich", "p_adjusted"] < 1e-6
    assert over_represented([g.upper() for g in tested[:10]], tested, sets)["n_both"].max() == 8


@pytest.mark.parametrize(
    ("content", "message"),
    [("", "holds no gene set"), ("a\tb\n", "line 1 is no gene set"), ("a\t\tx\n\na\t\ty\n", "line 3: a second set")],
)
def test_file_that_is_no_gmt_is_named(tmp_path, content, message):
    path = tmp_path / "sets.gmt"
    path.write_text(content)
    with pytest.raises(InputError, match=f"sets.gmt: {message}"):
        read_gmt(path)


def test_command_writes_tables_that_agree_with_its_summary(tmp_path):
    adata = section()
    adata.write_h5ad(tmp_path / "S.qc.h5ad")
    (tmp_path / "S.domains.csv").write_text(domains_csv(adata))
    (tmp_path / "sets.gmt").write_text("band\tof band 1\t" + "\t".join(f"B1_{i}" for i in range(MARKERS)) + "\n")
    arguments = ["--id", "S", "--counts", f"{tmp_path}/S.qc.h5ad", "--domains", f"{tmp_path}/S.domains.csv"]
    arguments += configuration(tmp_path, "S")
    arguments += ["--gene-sets", f"{tmp_path}/sets.gmt", "--output-dir", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "S.markers.json").read_text())
    table = pd.read_csv(tmp_path / "S.markers.tsv", sep="\t", dtype={"domain": str})
    assert summary["result"]["n_markers"] == table.groupby("domain")["marker"].sum().to_dict()
    assert summary["result"]["gene_sets"][0]["domain"] == "1"
    assert pd.read_csv(tmp_path / "S.neighbours.tsv", sep="\t").shape == (BANDS**2, 6)
    assert (tmp_path / "S.spatial_genes.tsv").exists()


def test_section_without_domains_is_an_error_that_names_it():
    adata = section()
    del adata.obs["domain"]
    with pytest.raises(InputError, match="sample S: every spot must have a domain"):
        markers(adata)


def test_specific_markers_are_listed_wherever_they_stand():
    marked = pd.DataFrame({"gene": range(100), "specific": [g >= 40 for g in range(100)]})
    assert _first(marked)["gene"].tolist() == [*range(30), *range(40, 55)]


def test_a_domain_of_depth_alone_is_told_from_one_that_genes_make():
    random = np.random.default_rng(0)
    domain = np.repeat([0, 1, 2], 200)
    rate = np.tile(random.lognormal(0.0, 1.0, 300), (600, 1))
    rate[domain == 2, :30] *= 4.0
    depth = np.where(domain == 1, 4_000.0, 1_000.0) * random.lognormal(0.0, 0.2, 600)
    counts = sp.csr_matrix(random.poisson(depth[:, None] * rate / rate.sum(axis=1, keepdims=True)))
    library, section = np.asarray(counts.sum(axis=1), dtype=float).ravel(), np.zeros(600, dtype=int)
    # Each against the third, which genes make: at equal depth the first two are one.
    for pair, expected in (((0, 1), {"0": 0.25, "1": 4.0}), ((0, 2), {}), ((1, 2), {})):
        rows = np.isin(domain, pair)
        group = np.searchsorted(pair, domain[rows])
        added = sums(sp.csr_matrix(counts[rows]), library[rows], section[rows], group, 2)
        p = enrichment(added).p_value
        table = pd.DataFrame(
            {"domain": np.repeat([str(k) for k in pair], 300), "p_adjusted": false_discovery_control(p, axis=1).ravel()}
        )
        found = depth_alone(table, np.ones(2, dtype=bool), library[rows], section[rows], group, [str(k) for k in pair])
        assert found == pytest.approx(expected, rel=0.1)
