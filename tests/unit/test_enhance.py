"""De-noised expression is nearer to a planted truth than what it is compared with, and the evidence says so."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from click.testing import CliRunner
from planted import section

from mmsrl._errors import InputError
from mmsrl._sections import common_target
from mmsrl.enhance.api import enhance
from mmsrl.enhance.cli import main
from mmsrl.enhance.estimators import SHRINKAGE, Decoder, correlation, deviance, mixed, mixing_weights, shrunk_deviances
from mmsrl.train.api import as_anndata, train
from mmsrl.train.files import write_model
from mmsrl.train.presets import Published
from mmsrl.train.published import Inputs, PublishedModel


@pytest.fixture(scope="module")
def trained() -> tuple[ad.AnnData, dict]:
    adata = section(depth=2.0)
    result = train(adata, show_progress=False)
    return adata, result.model


@pytest.fixture(scope="module")
def found(trained):
    return enhance(trained[0], trained[1])


@pytest.fixture(scope="module")
def everything(trained):
    return enhance(trained[0], trained[1], n_enhanced_genes=trained[0].n_vars)


def test_enhanced_expression_predicts_held_out_counts_better(found):
    noise = found.genes["gene"].str.startswith("noise")
    told = found.genes[found.genes["judged"]]
    assert (told["verdict"][~noise] == "better").mean() > 0.5
    assert not (told["verdict"][noise] == "better").any()
    assert not (told["verdict"] == "worse").any()
    assert (found.genes["structure"][~noise] > 0.0).all()
    assert found.genes["structure"][~noise].median() > 0.1 > found.genes["structure"][noise].max()
    counted = told["verdict"].value_counts()
    assert found.facts["verdicts"] == {name: counted.get(name, 0) for name in ("better", "worse", "undecided")}
    assert sum(found.facts["verdicts"].values()) == found.facts["n_judged"] == len(told)


def test_only_genes_that_are_shown_to_gain_are_written(found):
    better = found.genes.loc[found.genes["verdict"] == "better", "gene"]
    assert found.spots.var_names.tolist() == better.tolist()
    assert "that de-noising improves on held-out molecules" in found.messages[0]["text"]
    with pytest.raises(KeyError):  # and no other gene can be read as if it were not expressed
        found.spots[:, "noise_0"]


def test_values_are_near_the_planted_rates_and_on_the_scale_of_the_counts(trained, everything):
    adata, _ = trained
    target = common_target([adata])
    assert everything.spots.uns["mmsrl"]["target_sum"] == target
    values = np.expm1(everything.spots.to_df())
    np.testing.assert_allclose(values.sum(axis=1), target, rtol=0.1)  # all genes are modelled
    depth = adata.obs["depth"].to_numpy()
    raw = adata.to_df().div(adata.to_df().sum(axis=1), axis=0)
    for gene in ("rising_0", "rising_3"):
        truth = 0.5 + 4.0 * depth
        assert np.corrcoef(values[gene], truth)[0, 1] > np.corrcoef(raw[gene], truth)[0, 1] + 0.1
    counts = target * adata.to_df().sum() / adata.X.sum()
    np.testing.assert_allclose(values.mean(), counts, rtol=0.3)


def test_genes_without_a_pattern_come_out_flat(everything):
    values = np.expm1(everything.spots.to_df())
    spread = values.std() / values.mean()
    noise = spread.index.str.startswith("noise")
    assert spread[noise].median() < 0.2 < spread[~noise].median()


def test_fewer_genes_are_those_that_gain_most(trained):
    some = enhance(trained[0], trained[1], n_enhanced_genes=20)
    assert some.spots.n_vars == 20 == some.genes["written"].sum()
    assert not some.spots.var_names.str.startswith("noise").any()
    assert "modelled genes are written: those with the most spatial structure" in some.messages[0]["text"]


def test_genes_are_written_by_name(trained):
    adata, model = trained
    names = list(model["genes"])[3:5]
    some = enhance(adata, model, enhanced_genes=[names[1], "unheard of", names[0]])
    assert some.spots.var_names.tolist() == names  # in the order of the model
    assert some.messages[0]["level"] == "warning"
    assert "unheard of not among the" in some.messages[0]["text"]
    none = enhance(adata, model, enhanced_genes=["unheard of"], n_enhanced_genes=5)
    assert none.spots.n_vars == 5
    assert "the list is ignored" in none.messages[0]["text"]


def test_published_preset_also_gets_the_mean_of_its_decoder():
    adata = section(depth=2.0)
    trained = train(adata, preset="stmmr", hidden_dim=32, epochs=2, n_top_genes=50, device="cpu", show_progress=False)
    result = enhance(adata, trained.model, n_enhanced_genes=20)
    graph = sp.csr_matrix(np.full((480, 480), 1 / 480))
    inputs = Inputs(trained.unit.expression, torch.zeros(480, 50), None, graph)
    model = PublishedModel(inputs, Published(**trained.model["settings"]), block=512)
    model.load_state_dict({name: torch.as_tensor(value) for name, value in trained.model["state"].items()})
    with torch.no_grad():
        mean = model.eval().mu(model.decode(torch.as_tensor(trained.latent))).exp().numpy()
    columns = [trained.unit.genes.index(gene) for gene in result.spots.var_names]
    expected = mean[:, columns] / mean.max(axis=1, keepdims=True)
    np.testing.assert_allclose(result.spots.layers["published_mean"], expected, rtol=1e-4)
    assert set(result.genes["gene"]) == set(trained.unit.genes)
    assert "layers['published_mean'] is the enhanced expression of 'stmmr'" in result.messages[-1]["text"]


def test_several_sections(trained):
    sections = [section("a", 0), section("b", 1)]
    model = train(sections, show_progress=False).model
    result = enhance(sections, model)
    assert result.spots.obs_names[0] == "a0-1-a"
    assert result.spots.obs["sample"].value_counts().to_dict() == {"a": 480, "b": 480}
    assert result.facts["verdicts"]["better"] > 20


def test_weights_find_the_estimate_that_made_the_counts():
    rng = np.random.default_rng(0)
    library = rng.uniform(500, 1500, 400)
    right, wrong = rng.uniform(0, 0.02, (2, 400, 6))
    flat = np.full((400, 6), 0.01)
    counts = sp.csc_matrix(rng.poisson(library[:, None] * (0.7 * right + 0.3 * flat)))
    weights = mixing_weights([right, wrong, flat], counts, library)
    np.testing.assert_allclose(weights.sum(axis=0), 1.0)
    np.testing.assert_allclose(weights[0], 0.7, atol=0.15)
    assert weights[1].max() < 0.1
    np.testing.assert_allclose(
        mixed([right, wrong, flat], weights)[0], (weights * [right[0], wrong[0], flat[0]]).sum(0)
    )
    # Nothing seen: the mean.
    np.testing.assert_array_equal(mixing_weights([right, flat], sp.csc_matrix((400, 6)), library)[1], 1.0)


def test_deviance_and_correlation_are_the_plain_ones():
    rng = np.random.default_rng(0)
    x, mu = rng.poisson(2.0, (50, 4)).astype(float), rng.uniform(0.5, 3.0, (50, 4))
    terms = np.where(x > 0, x * np.log(np.where(x > 0, x, 1) / mu), 0) - (x - mu)
    blocks = sp.csr_matrix(np.repeat(np.eye(2), [20, 30], axis=1))
    by_block = np.stack([2 * terms[:20].sum(axis=0), 2 * terms[20:].sum(axis=0)])
    np.testing.assert_allclose(deviance(sp.csc_matrix(x), mu, blocks), by_block)
    mean = rng.uniform(0.5, 3.0, (50, 4))
    shrunk = [deviance(sp.csc_matrix(x), (1 - a) * mu + a * mean, blocks) for a in SHRINKAGE]
    np.testing.assert_allclose(shrunk_deviances(sp.csc_matrix(x), mu, mean, blocks), shrunk)
    np.testing.assert_allclose(correlation(x, mu)[1], np.corrcoef(x[:, 1], mu[:, 1])[0, 1])
    assert correlation(x, np.ones_like(x)).max() == 0.0


def test_decoder_finds_shares_that_are_linear_in_the_embedding_whatever_its_units():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(3000, 2))
    truth = np.column_stack([0.02 + 0.004 * z[:, 0], np.full(3000, 0.03), 0.95 - 0.004 * z[:, 0]])
    library = rng.uniform(500, 4000, 3000)
    counts = sp.csr_matrix(rng.poisson(library[:, None] * truth))
    shares = Decoder.fit(z * [7.0, 0.1] + 3.0, counts).share(slice(0, 3))
    np.testing.assert_allclose(shares[:, :2], truth[:, :2], atol=2e-3)
    np.testing.assert_allclose(shares[:, 1], 0.03, rtol=0.05)


def test_decoder_puts_no_share_below_zero():
    z = np.linspace(-1, 1, 50)[:, None]
    counts = sp.csr_matrix(np.where(z > 0.9, [5.0, 10.0], [0.0, 10.0]))
    assert Decoder.fit(z, counts).share(np.array([0])).min() > 0.0


def test_model_of_other_genes_is_an_error(trained):
    adata, model = trained
    with pytest.raises(InputError, match="genes that the counts lack"):
        enhance(adata[:, :50].copy(), model)


def test_model_without_its_embedding_is_an_error(trained):
    adata, model = trained
    other = adata.copy()
    del other.obsm["X_mmsrl"]
    with pytest.raises(InputError, match="sample S: obsm\\['X_mmsrl'\\] is missing"):
        enhance(other, model)


def test_command_writes_tables_and_refuses_other_files(tmp_path):
    adata = section()
    adata.write_h5ad(tmp_path / "S.qc.h5ad")
    result = train(adata, show_progress=False)
    as_anndata(result)[::-1].write_h5ad(tmp_path / "S.embedding.h5ad")
    write_model(tmp_path / "S.model.npz", result.model)
    arguments = ["--id", "S", "--counts", f"{tmp_path}/S.qc.h5ad", "--embedding", f"{tmp_path}/S.embedding.h5ad"]
    arguments += ["--output-dir", str(tmp_path), "--model"]
    run = CliRunner().invoke(main, [*arguments, f"{tmp_path}/S.model.npz"])
    assert run.exit_code == 0, run.output
    summary = json.loads((tmp_path / "S.enhance.json").read_text())
    table = pd.read_csv(tmp_path / "S.enhanced_genes.tsv", sep="\t")
    assert len(table) == summary["result"]["n_genes"] == adata.n_vars
    spots = ad.read_h5ad(tmp_path / "S.enhanced.h5ad")
    assert spots.X.dtype == np.float32 and spots.shape == (adata.n_obs, summary["result"]["n_written"])
    np.testing.assert_array_equal(spots.obsm["spatial"], adata.obsm["spatial"])
    for content in (b"nothing", (tmp_path / "S.model.npz").read_bytes()[:500]):
        (tmp_path / "odd.pt").write_bytes(content)
        run = CliRunner().invoke(main, [*arguments, f"{tmp_path}/odd.pt"])
        assert run.exit_code == 2
        assert "odd.pt: no model of mmsrl-train" in run.output
