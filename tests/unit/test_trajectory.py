"""Pseudotime follows a planted gradient and says where it cannot; genes that change are told from those that do not."""

import json

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from planted import MARKERS, domains_csv, section
from scipy.interpolate import CubicSpline
from scipy.stats import spearmanr

from mmsrl._errors import InputError
from mmsrl.evaluate.order import names_in_order, order_agreement
from mmsrl.trajectory.api import trajectory
from mmsrl.trajectory.cli import main
from mmsrl.trajectory.root import ends, parse, tip
from mmsrl.trajectory.trends import spline_basis, trends


def embedded(name: str = "S", seed: int = 0) -> ad.AnnData:
    """The planted section with an embedding that runs along its depth."""
    adata = section(name, seed)
    rng = np.random.default_rng(seed)
    depth = adata.obs["depth"].to_numpy()
    curve = np.column_stack([4 * depth, np.sin(3 * depth), np.zeros(adata.n_obs)])
    adata.obsm["X_mmsrl"] = (curve + rng.normal(scale=0.15, size=curve.shape)).astype(np.float32)
    return adata


@pytest.mark.parametrize("root", ["domain:1", "gene:B1_0", "spot:S3-1"])
def test_pseudotime_follows_the_gradient_from_the_root_asked_for(root: str) -> None:
    adata = embedded()
    found = trajectory(adata, root=root)
    assert found.facts["root"]["domain"] == "1"
    assert spearmanr(adata.obs["pseudotime"], adata.obs["depth"]).statistic > 0.97
    assert adata.obs["pseudotime"].min() == 0.0
    assert adata.obsm["X_umap"].shape == (adata.n_obs, 2)
    medians = list(found.facts["median_pseudotime"].values())
    assert medians == sorted(medians)
    edges = {(edge["one"], edge["other"]) for edge in found.facts["paga"][:3]}
    assert edges == {("1", "2"), ("2", "3"), ("3", "4")}
    assert not found.messages


def test_root_that_is_found_is_an_end_and_its_rule_is_said() -> None:
    found = trajectory(embedded())
    assert found.facts["root"]["domain"] in ("1", "4")
    assert "more genes are detected" in found.facts["root"]["rule"]


def test_root_that_is_not_in_the_unit_is_said_and_another_found() -> None:
    found = trajectory(embedded(), root="gene:NOT_THERE")
    assert "gene NOT_THERE is not in this unit" in found.messages[0]["text"]
    assert "longest way" in found.facts["root"]["rule"]


def test_spots_that_are_not_connected_have_no_pseudotime_and_that_is_said() -> None:
    adata = embedded()
    apart = adata.obs["domain"] == "4"
    adata.obsm["X_mmsrl"][apart] += 100.0
    found = trajectory(adata, root="domain:1")
    assert adata.obs["pseudotime"][apart].isna().all()
    assert adata.obs["pseudotime"][~apart].notna().all()
    assert found.facts["components"] == 2
    assert found.facts["spots_without"] == apart.sum()
    assert "2 parts that nothing connects" in found.messages[0]["text"]
    # Asked for, the smaller part is ordered.
    trajectory(adata, root="domain:4")
    assert adata.obs["pseudotime"][apart].notna().all()


def test_one_domain_has_an_order_and_no_connections() -> None:
    adata = embedded()
    adata.obs["domain"] = pd.Categorical(["1"] * adata.n_obs)
    found = trajectory(adata)
    assert abs(spearmanr(adata.obs["pseudotime"], adata.obs["depth"]).statistic) > 0.97
    assert found.facts["paga"] == [] and list(found.facts["median_pseudotime"]) == ["1"]
    assert adata.obsm["X_umap"].shape == (adata.n_obs, 2)
    paga = found.spots.uns["paga"]
    assert paga["groups"] == "domain"
    assert paga["connectivities"].shape == paga["connectivities_tree"].shape == (1, 1)
    assert paga["connectivities"].nnz == 0


def test_domains_that_nothing_connects_have_no_connections() -> None:
    adata = embedded()
    adata.obsm["X_mmsrl"] += 100.0 * adata.obs["domain"].astype(int).to_numpy(np.float32)[:, None]
    found = trajectory(adata, root="domain:1")
    assert found.facts["components"] == adata.obs["domain"].nunique()
    assert found.facts["paga"] == [] and found.spots.uns["paga"]["connectivities"].nnz == 0
    assert adata.obs["pseudotime"].notna().sum() == (adata.obs["domain"] == "1").sum()


def test_a_spot_of_several_sections_is_no_root() -> None:
    sections = [embedded("a", 0), embedded("b", 1)]
    for adata in sections:
        adata.obs_names = [f"b{i}" for i in range(adata.n_obs)]
    text = trajectory(sections, root="spot:b5").messages[0]["text"]
    assert "spot b5 is in 2 sections (spot:b5-a or spot:b5-b says which); the root was found as without one" in text
    assert trajectory(sections, root="spot:b5-b").facts["root"]["sample"] == "b"


def test_a_graph_wants_two_neighbours() -> None:
    with pytest.raises(InputError, match="n_neighbors 1: must be 2 or more"):
        trajectory(embedded(), n_neighbors=1)


def test_sections_of_a_group_are_on_one_scale() -> None:
    sections = [embedded("a", 0), embedded("b", 1)]
    found = trajectory(sections, root="domain:1")
    assert found.spots.obs_names[0] == "a0-1-a"
    for adata in sections:
        assert spearmanr(adata.obs["pseudotime"], adata.obs["depth"]).statistic > 0.95


def test_same_input_gives_the_same_result() -> None:
    one, other = trajectory(embedded()), trajectory(embedded())
    np.testing.assert_array_equal(one.spots.obs["pseudotime"], other.spots.obs["pseudotime"])
    np.testing.assert_array_equal(one.spots.obsm["X_umap"], other.spots.obsm["X_umap"])


def test_large_smooth_tissue_is_ordered_along_its_longest_way() -> None:
    """Of so many spots neighbours are searched for approximately, and the slowest components are close to constant."""
    rng = np.random.default_rng(0)
    depth = np.sort(rng.uniform(size=8500))
    names = [f"s{i}" for i in range(len(depth))]
    adata = ad.AnnData(
        sp.csr_matrix(rng.poisson(1.0, (len(depth), 20)).astype(np.float32)),
        obs=pd.DataFrame({"domain": pd.Categorical(np.where(depth < 0.5, "1", "2"))}, index=names),
        obsm={"X_mmsrl": np.column_stack([4 * depth, np.sin(3 * depth)]) + rng.normal(scale=0.02, size=(8500, 2))},
        uns={"mmsrl": {"sample": "S"}},
    )
    found = trajectory(adata, root="domain:1")
    assert found.facts["components"] == 1
    assert spearmanr(adata.obs["pseudotime"], depth).statistic > 0.99


def test_genes_that_rise_are_told_from_noise() -> None:
    found = trajectory(embedded(), root="domain:1")
    first = found.genes.head(5 * MARKERS)["gene"]
    assert first.str.match(r"rising|B\d").all()
    rising = found.genes[found.genes["gene"].str.startswith("rising")]
    assert (rising["correlation"] > 0.4).all() and (rising["peak"] > 0.7).all()
    falling = found.genes[found.genes["gene"].str.startswith("B1")]
    assert (falling["correlation"] < -0.2).all() and (falling["peak"] < 0.3).all()
    assert set(found.facts["curves"]) == {row["gene"] for row in found.facts["genes"]}


def test_f_test_holds_its_level_on_noise_and_equals_plain_least_squares() -> None:
    rng = np.random.default_rng(0)
    values = sp.csr_matrix(rng.poisson(1.0, (300, 500)).astype(float))
    time = rng.exponential(size=300)
    found = trends(values, time)
    assert 0.02 < (found.p_value < 0.05).mean() < 0.08
    x = (np.argsort(np.argsort(time)) + 0.5) / 300
    basis = spline_basis(x, np.quantile(x, np.linspace(0.02, 0.98, 4)))
    y = values[:, 0].toarray().ravel()
    fit = basis @ np.linalg.lstsq(basis, y, rcond=None)[0]
    assert found.explained[0] == pytest.approx(1 - ((y - fit) ** 2).sum() / ((y - y.mean()) ** 2).sum())
    assert found.correlation[0] == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert found.change[0] == pytest.approx(np.ptp(fit), rel=0.05)


def test_single_precision_makes_no_trends_of_noise() -> None:
    rng = np.random.default_rng(0)
    values, time = sp.csr_matrix(rng.normal(5.0, 0.2, (8000, 12))), rng.random(8000)
    found, exact = trends(values.astype(np.float32), time), trends(values, time)
    np.testing.assert_allclose(found.p_value, exact.p_value, rtol=1e-3)
    np.testing.assert_allclose(found.explained, exact.explained, rtol=1e-3)


def test_spline_is_natural_and_cubic() -> None:
    knots = np.array([0.1, 0.4, 0.6, 0.9])
    values = np.array([1.0, 3.0, -1.0, 2.0])
    reference = CubicSpline(knots, values, bc_type="natural")
    weights = np.linalg.solve(spline_basis(knots, knots), values)
    x = np.linspace(0.1, 0.9, 50)
    np.testing.assert_allclose(spline_basis(x, knots) @ weights, reference(x), atol=1e-9)


def test_tips_and_ends_of_a_line() -> None:
    line = np.arange(20.0)[:, None]
    assert set(ends(line)) == {0, 19}
    assert tip(line, line.ravel() < 5) == 0
    assert tip(line, np.arange(20) == 7) == 7


@pytest.mark.parametrize("text", ["MBP", "gene:", "layer:1"])
def test_root_that_cannot_be_read_says_how_to_write_it(text: str) -> None:
    with pytest.raises(InputError, match="write domain:NAME, gene:NAME or spot:BARCODE"):
        parse(text)


def test_order_of_labels_is_scored() -> None:
    order = names_in_order(" WM, L6 ,L5,L4")
    time = np.array([0.0, 0.1, 0.5, 0.6, 0.8, 0.9])
    found = order_agreement(time, ["WM", "WM", "L6", "L6", "L5", "L5"], order)
    assert found is not None
    assert found.medians == 1.0
    assert found.median_by_label == pytest.approx({"WM": 0.05, "L6": 0.55, "L5": 0.85})
    backwards = order_agreement(1 - time, ["WM", "WM", "L6", "L6", "L5", "L5"], order)
    assert backwards is not None and backwards.medians == -1.0 and backwards.spots < -0.9
    assert order_agreement(time[:4], ["WM", "WM", "L6", "L6"], order) is None


def test_command_writes_what_later_stages_read(tmp_path) -> None:
    adata = embedded()
    adata.write_h5ad(tmp_path / "S.qc.h5ad")
    (tmp_path / "S.domains.csv").write_text(domains_csv(adata))
    located = ad.AnnData(
        obs=pd.DataFrame({"sample": "S", "barcode": adata.obs_names}, index=adata.obs_names),
        obsm={"X_mmsrl": adata.obsm["X_mmsrl"], "spatial": adata.obsm["spatial"] / 100},
    )[::-1]
    located.write_h5ad(tmp_path / "S.embedding.h5ad")
    arguments = ["--id", "S", "--counts", f"{tmp_path}/S.qc.h5ad", "--domains", f"{tmp_path}/S.domains.csv"]
    arguments += ["--embedding", f"{tmp_path}/S.embedding.h5ad", "--root", "domain:1", "--output-dir", str(tmp_path)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    spots = ad.read_h5ad(tmp_path / "S.trajectory.h5ad")
    assert spearmanr(spots.obs["pseudotime"], adata.obs.loc[spots.obs["barcode"], "depth"]).statistic > 0.97
    summary = json.loads((tmp_path / "S.trajectory.json").read_text())
    assert summary["parameters"]["root"] == "domain:1"
    table = pd.read_csv(tmp_path / "S.trends.tsv", sep="\t")
    changing = (table["p_adjusted"] < 0.05) & (table["explained"] >= 0.05)
    assert summary["result"]["n_changing"] == changing.sum() > 0
