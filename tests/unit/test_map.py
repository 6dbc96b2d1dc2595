"""Mapping onto a reference: planted sections whose bands are known, and references that cannot be used."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import planted
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from sklearn.metrics import adjusted_rand_score

from mmsrl._errors import InputError
from mmsrl._files import write_summary
from mmsrl._sections import in_pitches
from mmsrl._tables import read_mapped
from mmsrl._thinning import split_counts
from mmsrl.assemble.api import reference_labels
from mmsrl.map.api import map_section
from mmsrl.map.cli import main
from mmsrl.map.embed import embed
from mmsrl.map.label import discriminant
from mmsrl.map.reference import Reference, check_reference, find_reference, read_reference
from mmsrl.projection import project, restrict
from mmsrl.residuals import log_components, residual_components
from mmsrl.train.api import Training, train
from mmsrl.train.files import read_model, write_model
from mmsrl.train.projections import read_projections

BARE = {"device": "cpu", "show_progress": False}


@pytest.fixture(scope="module")
def trained() -> tuple[ad.AnnData, Training]:
    adata = planted.section("R")
    return adata, train(adata, **BARE)


@pytest.fixture
def reference(trained: tuple[ad.AnnData, Training]) -> Reference:
    adata, result = trained
    return Reference("R", result.model, [adata.copy()])


def agreement(found: pd.DataFrame, adata: ad.AnnData) -> float:
    return float(adjusted_rand_score(adata.obs["domain"], found["reference_domain"]))


def foreign(seed: int = 3) -> ad.AnnData:
    """Return a section of the same genes, each of which is expressed where and as much as another is in the bands."""
    adata = planted.section("F", seed=seed)
    scale = np.random.default_rng(1).permutation(np.geomspace(0.1, 10.0, adata.n_vars))
    adata.X = sp.csr_matrix(np.random.default_rng(2).poisson(adata.X.toarray() * scale), dtype=np.float32)
    return adata


def test_members_of_the_references_own_spots_are_its_embedding(trained: tuple[ad.AnnData, Training]) -> None:
    adata, result = trained
    fitted, smoothings = read_projections(result.model)
    unit = result.unit
    made = embed(fitted, smoothings, unit.counts, np.asarray(unit.library), [in_pitches(adata)], shifted=True)
    assert len(made) == len(result.members)
    for own, member in zip(made, result.members, strict=True):
        np.testing.assert_allclose(own, member.embedding, atol=2e-3)


def test_members_of_sections_trained_jointly_have_their_shifts() -> None:
    one, other = planted.section("a"), planted.section("b", seed=1)
    other.X = sp.csr_matrix(other.X.multiply(np.where(np.arange(other.n_vars) % 3, 1.0, 4.0)), dtype=np.float32)
    result = train([one, other], **BARE)
    fitted, smoothings = read_projections(result.model)
    assert np.abs(fitted["log"].shifts).max() > 0.1
    unit = result.unit
    made = embed(fitted, smoothings, unit.counts, np.asarray(unit.library), unit.coordinates, shifted=True)
    for own, member in zip(made, result.members, strict=True):
        np.testing.assert_allclose(own, member.embedding, atol=5e-3)


@pytest.mark.parametrize("components", [log_components, residual_components])
def test_missing_genes_are_solved_for_by_least_squares(components) -> None:
    counts = planted.section("R").X
    library = np.asarray(counts.sum(axis=1), dtype=float).ravel()
    arguments = (counts, library) if components is log_components else (counts,)
    projection = components(*arguments, 5, 0).projection._replace(kind="residuals")
    genes = np.arange(0, counts.shape[1], 2)
    some = sp.csr_matrix(counts[:, genes])
    total = np.asarray(some.sum(axis=1)).ravel() / projection.share[genes].sum()
    root = np.sqrt(np.outer(total, projection.share[genes]))
    values = np.minimum(some.toarray() / root - root, projection.ceiling[genes])
    values = values * projection.inverse[genes] - projection.centre[genes]
    dense = np.linalg.lstsq(projection.axes[genes], values.T, rcond=None)[0].T
    np.testing.assert_allclose(project(restrict(projection, genes), some, library), dense, atol=2e-3)


def test_a_section_gets_the_bands_of_the_reference(reference: Reference) -> None:
    adata = planted.section("N", seed=1)
    found = map_section(adata, reference)
    assert agreement(found.table, adata) > 0.9
    assert found.facts["unlike"] == 0 and found.facts["n_genes"] == found.facts["genes_of_model"] == adata.n_vars
    assert sum(found.facts["domains"].values()) == adata.n_obs
    assert list(found.table["reference_domain"].cat.categories) == ["1", "2", "3", "4", "unlike"]
    assert found.posterior.shape == (adata.n_obs, 4)
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0, atol=1e-5)
    assert found.table["reference_confidence"].between(0, 1).all()


def test_same_seed_same_labels(reference: Reference) -> None:
    one, other = (map_section(planted.section("N", seed=1, depth=0.5), reference).table for _ in range(2))
    pd.testing.assert_frame_equal(one, other)


def test_depth_missing_genes_and_a_batch_of_genes_are_handled(reference: Reference) -> None:
    adata = planted.section("N", seed=2)
    adata.X = split_counts(adata.X, [0.4, 0.6], 0)[0]
    factor = np.exp(np.random.default_rng(0).normal(0.0, 0.3, adata.n_vars))
    adata.X = sp.csr_matrix(np.random.default_rng(1).poisson(adata.X.toarray() * factor), dtype=np.float32)
    adata = adata[:, np.random.default_rng(2).random(adata.n_vars) < 0.7].copy()
    found = map_section(adata, reference)
    assert agreement(found.table, adata) > 0.75
    assert found.facts["unlike"] < 0.1 * adata.n_obs
    assert found.facts["depth"] < 0.6
    assert any("solved by least squares" in message["text"] for message in found.messages)


def test_a_part_of_the_tissue_has_only_its_own_bands(reference: Reference) -> None:
    adata = planted.section("N", seed=1)
    adata = adata[adata.obs["domain"].isin(["1", "2"])].copy()
    found = map_section(adata, reference)
    assert agreement(found.table, adata) > 0.85
    assert found.facts["domains"]["3"] + found.facts["domains"]["4"] <= 0.02 * adata.n_obs


def test_bandwidth_is_a_length_where_pitches_are_known(reference: Reference) -> None:
    reference.sections[0].uns["mmsrl"]["pitch_um"] = 100.0
    near, far, unknown = (planted.section("N", seed=1, depth=0.15) for _ in range(3))
    near.uns["mmsrl"]["pitch_um"], far.uns["mmsrl"]["pitch_um"] = 100.0, 1000.0
    # At ten times the pitch no neighbour is within the bandwidth, and noise is left.
    alike, apart = (map_section(adata, reference) for adata in (near, far))
    assert agreement(alike.table, near) > agreement(apart.table, far) + 0.1
    told = map_section(unknown, reference)
    assert any("spacing in µm is unknown" in message["text"] for message in told.messages)
    pd.testing.assert_frame_equal(told.table, alike.table)


def test_genes_are_matched_by_id_where_there_are_ids(reference: Reference) -> None:
    ids = [f"ENSG{i:011d}" for i in range(reference.sections[0].n_vars)]
    reference.sections[0].var["gene_ids"] = ids
    adata = planted.section("N", seed=1)
    adata.var["gene_ids"] = [f"{gene}.2" for gene in ids]
    adata.var_names = [f"other{i}" for i in range(adata.n_vars)]
    assert agreement(map_section(adata, reference).table, adata) > 0.9


def test_another_tissue_is_unlike(reference: Reference) -> None:
    adata = foreign()
    found = map_section(adata, reference)
    assert found.facts["unlike"] >= 0.9 * adata.n_obs
    unlike = found.table["reference_domain"] == "unlike"
    assert found.table["reference_confidence"][unlike].isna().all()
    assert any(message["level"] == "warning" for message in found.messages)
    assert found.facts["median_confidence"] is None or np.isfinite(found.facts["median_confidence"])


def test_a_piece_of_another_tissue_alone_is_unlike(reference: Reference) -> None:
    adata, other = planted.section("N", seed=1), foreign()
    place = np.asarray(adata.obsm["spatial"])
    strange = place[:, 0] >= 1200.0
    adata.X = sp.csr_matrix(np.where(strange[:, None], other.X.toarray(), adata.X.toarray()))
    unlike = (map_section(adata, reference).table["reference_domain"] == "unlike").to_numpy()
    # A neighbourhood of 37 spots reaches three to four pitches.
    assert unlike[place[:, 0] >= 1500.0].mean() > 0.9
    assert unlike[place[:, 0] < 900.0].mean() < 0.05


def test_likeness_does_not_fall_with_depth(reference: Reference) -> None:
    deep, shallow = planted.section("N", seed=1), planted.section("N", seed=1)
    shallow.X = split_counts(shallow.X, [0.1, 0.9], 0)[0]
    kept = np.asarray(shallow.X.sum(axis=1)).ravel() > 0
    one, other = map_section(deep, reference), map_section(shallow[kept].copy(), reference)
    assert other.facts["own_correlation"][0] < one.facts["own_correlation"][0] - 0.05
    assert abs(one.facts["median_likeness"] - other.facts["median_likeness"]) < 0.06


def test_discriminant_is_that_of_scikit_learn() -> None:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    random = np.random.default_rng(0)
    domain = random.integers(0, 3, 300)
    points = random.normal(size=(300, 4)) + domain[:, None]
    # With equal priors it would weight the covariances of the classes equally too; here every spot counts the same.
    known = LinearDiscriminantAnalysis(solver="lsqr").fit(points, domain)
    expected = known.predict_proba(points) / known.priors_
    expected /= expected.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(discriminant(points, domain, 3).posterior(points), expected, atol=1e-4)


def test_what_cannot_be_mapped_is_said(reference: Reference) -> None:
    mouse = planted.section("M")
    mouse.var_names = [f"m{name}" for name in mouse.var_names]
    with pytest.raises(InputError, match="sample M has 0 of the 140 genes of reference R, too few"):
        map_section(mouse, reference)
    normalised = planted.section("N")
    normalised.uns["mmsrl"]["expression"] = "normalised"
    with pytest.raises(InputError, match="sample N: its expression is normalised"):
        map_section(normalised, reference)
    fractions = planted.section("N")
    fractions.X = fractions.X * 0.37
    with pytest.raises(InputError, match="sample N: X must hold raw counts"):
        map_section(fractions, reference)


@pytest.fixture
def results(tmp_path: Path, trained: tuple[ad.AnnData, Training]) -> Path:
    """Write the files of a run's results that a reference is read from."""
    adata, result = trained
    for stage in ("train", "domains", "qc"):
        (tmp_path / stage).mkdir()
    write_model(tmp_path / "train/R.model.npz", result.model)
    parameters = {"preset": "default"}
    write_summary(tmp_path / "train", "train", "R", parameters=parameters, result=result.facts)
    (tmp_path / "domains/R.domains.csv").write_text(planted.domains_csv(adata))
    adata.write_h5ad(tmp_path / "qc/R.qc.h5ad")
    return tmp_path


def test_command_writes_labels_that_assemble_reads(results: Path) -> None:
    adata = planted.section("N", seed=1)
    adata.write_h5ad(results / "N.qc.h5ad")
    arguments = ["--id", "N", "--counts", results / "N.qc.h5ad", "--reference", results, "--output-dir", results]
    run = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert run.exit_code == 0, run.output
    told = json.loads((results / "N.map.json").read_text())
    assert {"reference", "n_genes", "genes_of_model", "domains", "unlike", "median_confidence"} <= set(told["result"])
    assert told["result"]["reference"] == "R" and told["stage"] == "map"
    table = reference_labels({"N": read_mapped(results / "N.map.csv")})["N"]
    assert table.index.tolist() == adata.obs_names.tolist()
    assert adjusted_rand_score(adata.obs["domain"], table["reference_domain"]) > 0.9
    in_memory = map_section(adata, read_reference(results)).table
    assert (in_memory["reference_domain"].astype(str).to_numpy() == table["reference_domain"].astype(str)).all()


def test_a_reference_is_found_by_its_unit(results: Path) -> None:
    found = check_reference(results)
    assert found.unit == "R" and [path.name for path in found.counts] == ["R.qc.h5ad"]
    (results / "train/S.model.npz").write_bytes((results / "train/R.model.npz").read_bytes())
    with pytest.raises(InputError, match=r"it holds 2 units \(R, S\); name one: reference_unit"):
        find_reference(results)
    assert find_reference(results, "R").unit == "R"
    with pytest.raises(InputError, match="it holds no unit T; reference_unit may be R, S"):
        find_reference(results, "T")
    with pytest.raises(InputError, match=r"domains/S.domains.csv is missing"):
        find_reference(results, "S")


def test_a_reference_that_cannot_be_used_is_said_before_anything_is_computed(results: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        check_reference(results / "nowhere")
    with pytest.raises(InputError, match=r"there is no train/<unit>.model.npz"):
        check_reference(results / "qc")
    path = results / "train/R.model.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"R.model.npz: no model of mmsrl-train, or truncated"):
        check_reference(results)
    path.write_bytes(whole)
    write_model(path, read_model(path) | {"preset": "mmsrl"})
    with pytest.raises(InputError, match="reference R: it was trained with preset mmsrl"):
        read_reference(results)
    path.rename(path.with_name("R.model.pt"))
    with pytest.raises(InputError, match="of an earlier version of mmsrl; run the reference again"):
        check_reference(results)
    path.write_bytes(whole)
    (results / "qc/R.qc.h5ad").unlink()
    with pytest.raises(InputError, match=r"qc/R.qc.h5ad is missing"):
        check_reference(results)
