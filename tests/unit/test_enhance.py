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
from mmsrl.enhance.api import _decoder, enhance
from mmsrl.enhance.cli import main
from mmsrl.enhance.estimators import Decoder, correlation, deviance, mixed, mixing_weights
from mmsrl.train.api import as_anndata, train


@pytest.fixture(scope="module")
def trained() -> tuple[ad.AnnData, dict]:
    adata = section(depth=2.0)
    result = train(adata, device="cpu", show_progress=False)
    return adata, result.model


@pytest.fixture(scope="module")
def found(trained):
    return enhance(trained[0], trained[1], device="cpu")


def test_enhanced_expression_predicts_held_out_counts_better(found):
    assert found.facts["better_than"]["normalised"] > 0.5
    assert found.facts["better_than"]["smoothed"] > 0.5
    patterned = found.genes[~found.genes["gene"].str.startswith("noise")]
    assert patterned["helped"].mean() > 0.5
    assert (patterned["structure"] > 0.0).all()
    assert patterned["structure"].median() > 0.1 > found.genes["structure"].drop(patterned.index).max()
    assert not found.messages


def test_values_are_near_the_planted_rates_and_on_the_scale_of_the_counts(trained, found):
    adata, _ = trained
    values = found.spots.to_df()
    np.testing.assert_allclose(values.sum(axis=1), 1e4, rtol=0.1)  # all genes are modelled
    depth = adata.obs["depth"].to_numpy()
    raw = adata.to_df().div(adata.to_df().sum(axis=1), axis=0)
    for gene in ("rising_0", "rising_3"):
        truth = 0.5 + 4.0 * depth
        assert np.corrcoef(values[gene], truth)[0, 1] > np.corrcoef(raw[gene], truth)[0, 1] + 0.1
    counts = 1e4 * adata.to_df().sum() / adata.X.sum()
    np.testing.assert_allclose(values.mean(), counts, rtol=0.3)


def test_genes_without_a_pattern_come_out_flat(found):
    spread = found.spots.to_df().std() / found.spots.to_df().mean()
    noise = spread.index.str.startswith("noise")
    assert spread[noise].median() < 0.2 < spread[~noise].median()


def test_fewer_genes_are_those_that_gain_most(trained):
    some = enhance(trained[0], trained[1], n_enhanced_genes=20, device="cpu")
    assert some.spots.n_vars == 20 == some.genes["written"].sum()
    assert not some.spots.var_names.str.startswith("noise").any()
    assert "the 20 are written that gain most" in some.messages[0]["text"]


def test_genes_are_written_by_name(trained):
    adata, model = trained
    names = list(model["genes"])[3:5]
    some = enhance(adata, model, enhanced_genes=[names[1], "unheard of", names[0]], device="cpu")
    assert some.spots.var_names.tolist() == names  # in the order of the model
    assert some.messages[0]["level"] == "warning"
    assert "unheard of not among the" in some.messages[0]["text"]
    none = enhance(adata, model, enhanced_genes=["unheard of"], n_enhanced_genes=5, device="cpu")
    assert none.spots.n_vars == 5
    assert "written as without the list" in none.messages[0]["text"]


def test_published_preset_is_answered_by_default(trained):
    adata, model = trained
    result = enhance(adata, {**model, "preset": "stmmr"}, device="cpu")
    assert "preset stmmr has no decoder of counts here" in result.messages[0]["text"]
    assert result.facts["better_than"]["normalised"] > 0.5


def test_several_sections(trained):
    sections = [section("a", 0), section("b", 1)]
    model = train(sections, device="cpu", show_progress=False).model
    result = enhance(sections, model, device="cpu")
    assert result.spots.obs_names[0] == "a0-1-a"
    assert result.spots.obs["sample"].value_counts().to_dict() == {"a": 480, "b": 480}
    assert result.facts["better_than"]["normalised"] > 0.5


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
    np.testing.assert_allclose(deviance(sp.csc_matrix(x), mu), 2 * terms.sum(axis=0))
    np.testing.assert_allclose(correlation(x, mu)[1], np.corrcoef(x[:, 1], mu[:, 1])[0, 1])
    assert correlation(x, np.ones_like(x)).max() == 0.0


def test_decoder_in_blocks_is_softmax():
    rng = np.random.default_rng(0)
    z, weight, bias = rng.normal(size=(30, 4)), rng.normal(size=(9, 4)), rng.normal(size=9)
    decoder = Decoder.of(z, weight, bias, rows=7)
    expected = torch.softmax(torch.as_tensor(z @ weight.T + bias), dim=1).numpy()
    np.testing.assert_allclose(np.hstack([decoder.share(slice(0, 5)), decoder.share(slice(5, 9))]), expected)


def test_model_of_other_genes_is_an_error(trained):
    adata, model = trained
    with pytest.raises(InputError, match="genes that the counts lack"):
        enhance(adata[:, :50].copy(), model, device="cpu")


def test_a_part_of_a_unit_keeps_the_scale_of_the_whole(trained):
    adata, model = trained
    low = np.flatnonzero((adata.obs["depth"] < 0.5).to_numpy())
    z = np.asarray(adata.obsm["X_mmsrl"])
    whole = _decoder(torch.as_tensor(z), model["state"]).share(slice(0, 20))
    part = _decoder(torch.as_tensor(z[low]), model["state"]).share(slice(0, 20))
    np.testing.assert_allclose(part, whole[low], rtol=1e-5)


def test_model_without_its_embedding_is_an_error(trained):
    adata, model = trained
    other = adata.copy()
    other.obsm["X_mmsrl"] = other.obsm["X_mmsrl"][:, :2]
    with pytest.raises(InputError, match="sample S: the model goes with obsm\\['X_mmsrl'\\] of 3 columns"):
        enhance(other, model, device="cpu")


def test_command_writes_tables_and_refuses_other_files(tmp_path):
    adata = section()
    adata.write_h5ad(tmp_path / "S.qc.h5ad")
    result = train(adata, device="cpu", show_progress=False)
    as_anndata(result)[::-1].write_h5ad(tmp_path / "S.embedding.h5ad")
    torch.save(result.model, tmp_path / "S.model.pt")
    arguments = ["--id", "S", "--counts", f"{tmp_path}/S.qc.h5ad", "--embedding", f"{tmp_path}/S.embedding.h5ad"]
    arguments += ["--output-dir", str(tmp_path), "--device", "cpu", "--model"]
    run = CliRunner().invoke(main, [*arguments, f"{tmp_path}/S.model.pt"])
    assert run.exit_code == 0, run.output
    summary = json.loads((tmp_path / "S.enhance.json").read_text())
    table = pd.read_csv(tmp_path / "S.enhanced_genes.tsv", sep="\t")
    assert len(table) == summary["result"]["n_genes"] == adata.n_vars
    assert ad.read_h5ad(tmp_path / "S.enhanced.h5ad").X.dtype == np.float32
    for content in (b"nothing", (tmp_path / "S.model.pt").read_bytes()[:5000]):
        (tmp_path / "odd.pt").write_bytes(content)
        run = CliRunner().invoke(main, [*arguments, f"{tmp_path}/odd.pt"])
        assert run.exit_code == 2
        assert "odd.pt: no model of mmsrl-train" in run.output
