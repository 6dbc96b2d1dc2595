"""Markers are the genes that were planted, tests are those of the libraries, and noise is not called significant."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scanpy as sc
import scipy.sparse as sp
from click.testing import CliRunner
from planted import BANDS, MARKERS, domains_csv, section

from mmsrl._errors import InputError
from mmsrl._gene_sets import read_gmt
from mmsrl._thinning import split_counts
from mmsrl.markers.api import _first, markers
from mmsrl.markers.cli import main
from mmsrl.markers.expression import by_domain
from mmsrl.markers.gene_sets import over_represented
from mmsrl.markers.lattice import adjacency, contacts, morans_i
from mmsrl.markers.ranks import rank_sums


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


def test_rank_sums_are_those_of_scanpy():
    counts = sparse_counts()
    domain = np.arange(60) % 3
    z, p = rank_sums(counts, domain, 3)
    adata = ad.AnnData(counts, obs=pd.DataFrame({"d": pd.Categorical(domain.astype(str))}, index=map(str, range(60))))
    sc.tl.rank_genes_groups(adata, "d", method="wilcoxon", tie_correct=True)
    for k in range(3):
        frame = sc.get.rank_genes_groups_df(adata, str(k)).set_index("names").loc[adata.var_names]
        np.testing.assert_allclose(z[k], frame["scores"], atol=1e-5)
        np.testing.assert_allclose(p[k], frame["pvals"], atol=1e-6)


def test_morans_i_is_that_of_scanpy_and_its_p_value_is_right_under_chance():
    points = np.argwhere(np.ones((15, 15))).astype(float)
    graph = adjacency(points, lattice=True)
    assert graph.sum() == 2 * 2 * 15 * 14
    values = sp.csr_matrix(np.random.default_rng(0).poisson(1.0, (225, 400)).astype(np.float64))
    index, p = morans_i(values, graph)
    weights = sp.csr_matrix(sp.diags(1 / np.asarray(graph.sum(axis=1)).ravel()) @ graph)
    np.testing.assert_allclose(index, sc.metrics.morans_i(weights, values.T.tocsr()), atol=1e-8)
    assert 0.02 < (p < 0.05).mean() < 0.09
    assert np.isnan(morans_i(sp.csr_matrix(np.ones((225, 1))), graph)[0]).all()


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
    overall = (11 + 0.5) / (24 + 1)
    elsewhere = (2 + overall) / (12 + 1)
    assert found.fold[0, 0] == pytest.approx(np.log2((9 + elsewhere) / (12 + 1) / elsewhere))


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

    found = by_domain(counts, domain, 5)

    for k in range(4):
        assert (found.fold_next[k, marked[k]] >= 0.5).mean() > 0.9
    unseen = np.asarray(counts[domain == 4].sum(axis=0)).ravel() == 0
    assert unseen.sum() > 1_000 and (found.fold[4, unseen] < 0).all()


def test_planted_genes_are_found_and_noise_is_not():
    found = markers(section(), seed=0)
    for band in range(1, BANDS + 1):
        own = found.genes[(found.genes["domain"] == str(band)) & found.genes["marker"]]
        assert set(own["gene"].head(MARKERS)) == {f"B{band}_{i}" for i in range(MARKERS)}
        assert own["specific"].head(MARKERS).all()
    noise = found.genes["gene"].str.startswith("noise")
    # Noise is a larger share of the molecules where there are fewer others: a few genes pass.
    assert found.genes.loc[noise, "marker"].mean() < 0.01
    assert found.spatial["gene"].head(5 * MARKERS).str.match(r"B\d|rising").all()
    assert min(found.facts["recovered"].values()) > 0.8


def test_domains_found_in_noise_have_no_markers():
    """Where the same counts make and test the domains, half of all genes come out significant."""
    noise = section(depth=0.5)[:, -60:].copy()
    noise.obs["domain"] = pd.Categorical(np.where(noise.X[:, :8].toarray().sum(axis=1) > 4, "1", "2"))
    found = markers(noise, seed=0)
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
    assert "one domain only" in found.messages[0]["text"]


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
