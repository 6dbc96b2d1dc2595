"""Pseudotime follows a planted gradient and says how sure it is; genes that change are told from those that do not."""

import json
from itertools import combinations

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from planted import MARKERS, domains_csv, section
from scipy.interpolate import CubicSpline
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree
from scipy.stats import spearmanr

from mmsrl._errors import InputError
from mmsrl.evaluate.order import names_in_order, order_agreement
from mmsrl.trajectory.api import LEAST_EXPLAINED, SURE, _join, trajectory
from mmsrl.trajectory.cli import main
from mmsrl.trajectory.root import ends, parse, ranks, tip
from mmsrl.trajectory.trends import Trends, spline_basis, trends


def embedded(name: str = "S", seed: int = 0, members: int = 3) -> ad.AnnData:
    """The planted section with embeddings that run along its depth; the first is the unit's."""
    adata = section(name, seed)
    rng = np.random.default_rng(seed)
    depth = adata.obs["depth"].to_numpy()
    curve = np.column_stack([4 * depth, np.sin(3 * depth), np.zeros(adata.n_obs)])
    drawn = [(curve + rng.normal(scale=0.15, size=curve.shape)).astype(np.float32) for _ in range(max(members, 1))]
    adata.obsm["X_mmsrl"] = drawn[0]
    for i in range(members):
        adata.obsm[f"member_{i}"] = drawn[i]
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


def test_ranks_spread_spots_evenly_in_the_order_of_pseudotime() -> None:
    adata = embedded(members=1)
    found = trajectory(adata, root="domain:1")
    rank, time = adata.obs["pseudotime_rank"].to_numpy(), adata.obs["pseudotime"].to_numpy()
    np.testing.assert_allclose(np.sort(rank), np.linspace(0, 1, len(rank)), atol=2 / len(rank))
    assert spearmanr(rank, time).statistic == pytest.approx(1.0)
    assert list(found.facts["median_rank"].values()) == pytest.approx([0.125, 0.375, 0.625, 0.875], abs=0.05)
    np.testing.assert_allclose(ranks(np.array([5.0, 1.0, 1.0, 9.0])), [2 / 3, 1 / 6, 1 / 6, 1.0])


@pytest.mark.parametrize("fold", [0.1, 10.0])
def test_without_a_root_direction_is_not_known_and_depth_does_not_choose_it(fold: float) -> None:
    """Ten times more or fewer molecules at one end, and so more or fewer genes detected there."""
    adata = embedded()
    rng = np.random.default_rng(0)
    gradient = fold ** adata.obs["depth"].to_numpy()
    adata.X = sp.csr_matrix(rng.poisson(3 * adata.X.toarray() * gradient[:, None]).astype(np.float32))
    found = trajectory(adata)
    root = found.facts["root"]
    assert not root["direction_known"] and (root["domain"], root["end"]["domain"]) == ("1", "4")
    assert "pseudotime starts at one end of the longest diffusion distance, in domain 1," in root["rule"]
    assert found.messages == [{"level": "info", "text": root["rule"]}]
    assert spearmanr(adata.obs["pseudotime"], adata.obs["depth"]).statistic > 0.97
    assert all(pair["share"] == 1.0 for pair in found.facts["order_agreement"]["pairs"])


def test_members_say_how_sure_the_order_is() -> None:
    adata = embedded()
    found = trajectory(adata, root="domain:1")
    order = found.facts["order_agreement"]
    assert order["members"] == 2 and min(order["correlation"]) > 0.97 and not order["unsure"]
    assert [(pair["first"], pair["then"], pair["share"]) for pair in order["pairs"]] == [
        (one, other, 1.0) for one, other in combinations("1234", 2)
    ]
    # In two of three further members the last band lies between the first two.
    depth = adata.obs["depth"].to_numpy()
    folded = np.where(depth > 0.75, depth - 0.6, depth)
    for i, along in enumerate((folded, folded, depth), start=1):
        noise = np.random.default_rng(i).normal(scale=0.1, size=(adata.n_obs, 2))
        adata.obsm[f"member_{i}"] = np.column_stack([4 * along, np.sin(3 * along)]) + noise
    found = trajectory(adata, root="domain:1")
    unsure = {(pair["first"], pair["then"]): pair["share"] for pair in found.facts["order_agreement"]["unsure"]}
    assert unsure == pytest.approx({("2", "4"): 1 / 3, ("3", "4"): 1 / 3})
    (message,) = found.messages
    assert message["level"] == "warning"
    assert "the order is uncertain: domain 2 comes before domain 4 in only 1 of 3 members; domain 3" in message["text"]


def test_spots_without_an_order_have_none_that_members_agree_on() -> None:
    """One cloud, of which every member is a draw."""
    adata = embedded()
    for i, key in enumerate(("X_mmsrl", "member_1", "member_2")):
        adata.obsm[key] = np.random.default_rng(i).standard_normal((adata.n_obs, 5)).astype(np.float32)
    (_, doubt) = trajectory(adata).messages
    assert doubt["level"] == "warning" and "the median correlation of the members with this order is" in doubt["text"]


def test_of_many_spots_some_are_compared_the_root_among_them(monkeypatch) -> None:
    monkeypatch.setattr("mmsrl.trajectory.agreement.SPOTS", 150)
    found = trajectory(embedded(), root="spot:S3-1")
    assert min(found.facts["order_agreement"]["correlation"]) > 0.95


def test_a_member_in_which_the_root_lies_apart_has_no_order_and_counts_against_it() -> None:
    adata = embedded()
    adata.obsm["member_1"][:9] += 100.0
    found = trajectory(adata, root=f"spot:{adata.obs_names[0]}", n_neighbors=5)
    order = found.facts["order_agreement"]
    assert order["correlation"][0] == 0.0 < 0.9 < order["correlation"][1]
    assert {pair["share"] for pair in order["pairs"]} == {0.5}


def test_one_embedding_does_not_say_how_sure_the_order_is() -> None:
    found = trajectory(embedded(members=0), root="domain:1")
    assert found.facts["order_agreement"] is None
    assert "only one embedding" in found.messages[0]["text"]


def test_root_that_is_not_in_the_unit_is_said_and_none_taken() -> None:
    found = trajectory(embedded(), root="gene:NOT_THERE")
    assert "gene NOT_THERE is not in this unit; the root is ignored" in found.messages[0]["text"]
    assert not found.facts["root"]["direction_known"]


def test_spots_that_are_not_connected_have_no_pseudotime_and_that_is_said() -> None:
    adata = embedded()
    apart = adata.obs["domain"] == "4"
    for key in ("X_mmsrl", "member_1", "member_2"):
        adata.obsm[key][apart] += 100.0
    found = trajectory(adata, root="domain:1")
    assert adata.obs["pseudotime"][apart].isna().all()
    assert adata.obs["pseudotime"][~apart].notna().all()
    assert found.facts["components"] == 2
    assert found.facts["spots_without"] == apart.sum()
    assert "2 connected components" in found.messages[0]["text"]
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
    assert "spot b5 is in 2 sections (give spot:b5-a or spot:b5-b); the root is ignored" in text
    assert trajectory(sections, root="spot:b5-b").facts["root"]["sample"] == "b"


def test_neighbours_of_a_section_of_cells_are_exact() -> None:
    points = np.random.default_rng(0).normal(size=(9000, 10)).astype(np.float32)
    spots = ad.AnnData(obs=pd.DataFrame(index=pd.RangeIndex(len(points)).astype(str)), obsm={"X_mmsrl": points})
    _join(spots, 15, seed=0)
    near = cKDTree(points).query(points, k=15)[1][:, 1:]  # the first is the spot itself
    found = spots.obsp["distances"].tocsr()
    assert all(set(found[row].indices) == set(near[row]) for row in range(len(points)))


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
        obsm={
            "X_mmsrl": np.column_stack([4 * depth, np.sin(3 * depth)]) + rng.normal(scale=0.02, size=(8500, 2)),
            "spatial": np.column_stack([100.0 * depth, rng.uniform(0, 100, 8500)]),
        },
        uns={"mmsrl": {"sample": "S"}},
    )
    found = trajectory(adata, root="domain:1")
    assert found.facts["components"] == 1
    assert spearmanr(adata.obs["pseudotime"], depth).statistic > 0.99


def test_genes_that_rise_are_told_from_noise() -> None:
    found = trajectory(embedded(), root="domain:1")
    assert found.genes.loc[found.genes["changing"], "gene"].str.match(r"rising|B\d").all()
    assert found.genes.head(4 * MARKERS)["gene"].str.match(r"rising|B\d").all()
    rising = found.genes[found.genes["gene"].str.startswith("rising")]
    assert (rising["correlation"] > 0.4).all() and (rising["peak"] > 0.7).all()
    falling = found.genes[found.genes["gene"].str.startswith("B1")]
    assert (falling["correlation"] < -0.2).all() and (falling["peak"] < 0.3).all()
    assert falling["changing"].all() and rising["changing"].all()
    assert set(found.facts["curves"]) == {row["gene"] for row in found.facts["genes"]}


N = 900
RANK = np.linspace(0, 1, N)
BLOCKS = 4 * (np.arange(N) % 30) // 30 + 4 * (4 * (np.arange(N) // 30) // 30)
"""Of a section of 30 × 30 spots, pseudotime from the first row to the last: 4 × 4 blocks."""
ONE_SECTION = np.zeros(N, dtype=int)


def fit(counts: np.ndarray, library: np.ndarray, part: np.ndarray = ONE_SECTION) -> Trends:
    return trends(sp.csr_matrix(counts.astype(float)), library.astype(float), RANK, part, BLOCKS)


def changing(found: Trends) -> np.ndarray:
    return found.explained - SURE * found.error >= LEAST_EXPLAINED


def test_trends_are_least_squares_of_rates_weighted_by_library_and_errors_the_jackknife() -> None:
    rng = np.random.default_rng(0)
    library = rng.integers(50, 500, N).astype(float)
    counts = rng.poisson(library[:, None] * 0.01 * np.column_stack([1 + 2 * RANK, 1 + 0 * RANK]))
    found = fit(counts, library)

    def plain(kept: np.ndarray) -> tuple[float, np.ndarray]:
        basis = spline_basis(RANK, np.quantile(RANK, np.linspace(0.02, 0.98, 4)))
        weight = np.sqrt(library[kept])
        rate = counts[kept, 0] / library[kept]
        beta = np.linalg.lstsq(basis[kept] * weight[:, None], rate * weight, rcond=None)[0]
        level = np.average(rate, weights=library[kept])
        rest, all_ = ((weight * (rate - value)) ** 2 for value in (basis[kept] @ beta, level))
        return 1 - rest.sum() / all_.sum(), basis @ beta

    whole, curve = plain(np.ones(N, dtype=bool))
    assert found.explained[0] == pytest.approx(whole)
    parts = np.array([plain(BLOCKS != b)[0] for b in range(16)])
    assert found.error[0] == pytest.approx(np.sqrt(15 / 16 * ((parts - parts.mean()) ** 2).sum()))
    assert found.curves[-1, 0] == pytest.approx(1e4 * curve[-1])
    assert found.change[0] == pytest.approx(200, rel=0.1) and found.peak[0] == 1.0  # 1 % to 3 % of the molecules
    weighted = np.cov(RANK, counts[:, 0] / library, aweights=library)
    assert found.correlation[0] == pytest.approx(weighted[0, 1] / np.sqrt(weighted[0, 0] * weighted[1, 1]))
    assert changing(found).tolist() == [True, False]


@pytest.mark.parametrize("fold", [1 / 64, 64.0])
def test_a_gradient_of_depth_makes_no_gene_change(fold: float) -> None:
    """Genes of 0.02 to 30 molecules in the median spot, more variable than Poisson; libraries 64 times apart."""
    rng = np.random.default_rng(1)
    share = np.geomspace(1e-5, 1.5e-2, 200)
    depth = 2000 * fold ** (RANK - 0.5) * rng.lognormal(0, 0.3, N)
    counts = rng.poisson(rng.gamma(5.0, 0.2, (N, 200)) * share * depth[:, None])
    found = fit(counts, depth)
    assert found.explained.max() < 0.04 and not changing(found).any()
    # What log-normalised values make of it.
    logs = np.log1p(counts / depth[:, None] * 2000)
    assert fit(logs, np.ones(N)).explained.max() > LEAST_EXPLAINED


def test_a_difference_of_sections_makes_no_gene_change() -> None:
    rng = np.random.default_rng(2)
    part = (RANK + rng.normal(0, 0.3, N) > 0.5).astype(int)  # one holds the beginning, the other the end
    library = np.full(N, 1000.0)
    batch = rng.poisson(library * np.where(part, 0.02, 0.01))
    along = rng.poisson(library * (0.01 + 0.02 * RANK))
    found = fit(np.column_stack([batch, along]), library, part)
    assert found.explained[0] < 0.02
    assert changing(found).tolist() == [False, True]
    assert changing(fit(np.column_stack([batch, along]), library)).all()


def test_few_genes_that_vary_over_the_tissue_by_themselves_are_said_to_change() -> None:
    """Smooth fields drawn at random, of a width of a tenth of the section, which know nothing of pseudotime.

    Of wider ones more are: one in seven of those of a sixth of the section.
    """
    rng = np.random.default_rng(3)
    fields = gaussian_filter(rng.standard_normal((30, 30, 300)), (3, 3, 0), mode="nearest").reshape(N, 300)
    fields = (fields - fields.mean(axis=0)) / fields.std(axis=0)
    library = 1000 * rng.lognormal(0, 0.4, N)
    counts = rng.poisson(library[:, None] * 0.01 * np.exp(0.5 * fields))
    found = fit(counts, library)
    assert (found.explained >= LEAST_EXPLAINED).mean() > 0.7
    assert changing(found).mean() < 0.1


def test_too_little_tissue_for_errors_is_said() -> None:
    adata = embedded()
    found = trajectory(adata[(adata.obs["array_row"] < 6) & (adata.obs["array_col"] < 12)].copy(), root="domain:1")
    assert "too little tissue for standard errors" in found.messages[-1]["text"]
    assert found.facts["n_changing"] == 0 and found.facts["genes"] == []


def test_too_little_tissue_for_blocks_has_no_errors() -> None:
    rng = np.random.default_rng(0)
    found = trends(
        sp.csr_matrix(rng.poisson(1.0, (30, 2)).astype(float)),
        np.full(30, 100.0),
        np.linspace(0, 1, 30),
        np.zeros(30, dtype=int),
        np.arange(30) // 10,
    )
    assert np.isnan(found.error).all() and not changing(found).any()


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
        obsm={**adata.obsm, "spatial": adata.obsm["spatial"] / 100},
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
    assert summary["result"]["n_changing"] == table["changing"].sum() > 0
    assert not {"p_value", "p_adjusted"} & set(table)
    assert summary["result"]["order_agreement"]["members"] == 2
