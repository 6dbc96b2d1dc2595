"""Values that were normalised before: what they are taken for, and what each stage makes of them."""

from __future__ import annotations

import json
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from scipy.ndimage import gaussian_filter
from scipy.stats import t as student_t
from sklearn.metrics import adjusted_rand_score

from mmsrl._errors import InputError
from mmsrl.assemble.api import assemble_sample
from mmsrl.domains.api import domains
from mmsrl.enhance.cli import main as enhance_command
from mmsrl.ingest.api import read_h5ad
from mmsrl.markers.api import markers
from mmsrl.markers.values import COLUMNS, effect_table, effects, morans_i_of_values
from mmsrl.normalisation import most_varying, scale_of_values, stabilise
from mmsrl.page.api import read_sample
from mmsrl.qc.api import quality_control
from mmsrl.train.api import as_anndata, train
from mmsrl.trajectory.api import trajectory
from mmsrl.trajectory.trends import trends

N, GENES, BANDS = 900, 60, 3


def counts_in_bands(seed: int = 0) -> tuple[ad.AnnData, np.ndarray]:
    """Irregular cells in three bands; 8 genes are three times as high in each."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0.0, 300.0, (N, 2))
    band = (places[:, 1] // 100.0).astype(int)
    rate = np.tile(rng.gamma(2.0, 1.0, GENES), (N, 1))
    for b in range(BANDS):
        rate[np.ix_(band == b, range(8 * b, 8 * b + 8))] *= 3.0
    depth = rng.lognormal(0.0, 0.3, N)
    counts = rng.poisson(rate * depth[:, None]).astype(np.float32)
    adata = ad.AnnData(
        sp.csr_matrix(counts),
        obs=pd.DataFrame(index=pd.Index([f"c{i}" for i in range(N)])),
        var=pd.DataFrame(index=pd.Index([f"G{g}" for g in range(GENES)])),
        obsm={"spatial": places},
        uns={"mmsrl": {"sample": "S", "lattice": "none", "pitch_px": 10.0, "pitch_um": 10.0, "species": "unknown"}},
    )
    return adata, band


def normalised(adata: ad.AnnData, form: str) -> ad.AnnData:
    result = adata.copy()
    total = np.asarray(adata.X.sum(axis=1)).ravel()
    by_library = sp.csr_matrix(sp.diags(1e4 / np.maximum(total, 1)) @ adata.X).astype(np.float32)
    if form == "library":
        result.X = by_library
    elif form == "log":
        result.X = by_library.log1p()
    elif form == "volume":
        volume = np.random.default_rng(1).lognormal(0.0, 0.4, adata.n_obs)
        result.X = sp.csr_matrix(sp.diags(10.0 / volume) @ adata.X).astype(np.float32)
    else:
        x = by_library.log1p().toarray()
        result.X = sp.csr_matrix((x - x.mean(axis=0)) / x.std(axis=0))
    result.uns["mmsrl"]["expression"] = "normalised"
    return result


FORMS = {"library": "linear", "log": "logarithmic", "volume": "linear", "standardised": "standardised"}


@pytest.fixture(scope="module")
def analysed() -> dict[str, tuple[ad.AnnData, np.ndarray]]:
    """Each form after training and domains, with the planted bands."""
    adata, band = counts_in_bands()
    result = {}
    for form in FORMS:
        section = quality_control(normalised(adata, form)).adata
        trained = train(section, show_progress=False)
        found = domains(as_anndata(trained), BANDS)
        section.obs["domain"] = pd.Categorical(found.table["domain"].to_numpy())
        result[form] = (section, band)
    return result


@pytest.mark.parametrize(("form", "scale"), FORMS.items())
def test_scale_of_values_is_told(form, scale):
    adata, _ = counts_in_bands()
    assert scale_of_values(normalised(adata, form).X.data) == scale


def test_large_values_of_few_molecules_are_linear():
    assert scale_of_values(np.repeat([50.0, 100.0, 400.0], 100)) == "linear"  # e.g. 1, 2 and 8 of 200, times 10,000
    assert scale_of_values(np.log1p(np.repeat([50.0, 100.0, 400.0], 100))) == "logarithmic"


def test_values_and_their_logarithm_come_to_the_same():
    adata, _ = counts_in_bands()
    one, other = (stabilise(normalised(adata, form).X) for form in ("library", "log"))
    np.testing.assert_allclose(one.values.toarray(), other.values.toarray(), rtol=1e-4)
    assert one.scaled is None and other.scaled is None  # totals are equal already


def test_values_by_volume_are_also_scaled_to_totals():
    adata, _ = counts_in_bands()
    found = stabilise(normalised(adata, "volume").X)
    total = np.expm1(found.scaled.toarray()).sum(axis=1)
    np.testing.assert_allclose(total, total[0], rtol=1e-4)


def test_genes_that_vary_most_for_their_mean():
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 0.1, (50, 6)).astype(np.float32)
    x[:, 4] += rng.normal(0.0, 2.0, 50)
    x[:, 1] += rng.normal(0.0, 1.0, 50)
    assert most_varying(sp.csr_matrix(np.abs(x)), 2).columns.tolist() == [1, 4]


@pytest.mark.parametrize("form", FORMS)
def test_bands_are_found_in_every_form(analysed, form):
    section, band = analysed[form]
    assert adjusted_rand_score(band, section.obs["domain"]) > 0.9


@pytest.mark.parametrize("form", FORMS)
def test_markers_are_the_planted_genes_and_have_no_p_values(analysed, form):
    section, band = analysed[form]
    found = markers(section)
    assert found.genes.columns.tolist() == COLUMNS
    assert found.spatial["p_value"].isna().all()
    for name in section.obs["domain"].cat.categories:
        own = band[section.obs["domain"] == name]
        planted = {f"G{g}" for g in range(8 * np.bincount(own).argmax(), 8 * np.bincount(own).argmax() + 8)}
        marked = set(found.genes["gene"][(found.genes["domain"] == name) & found.genes["marker"]])
        assert len(marked & planted) >= 6 and not marked - planted
    assert set(found.spatial["gene"].head(20)) <= {f"G{g}" for g in range(24)}


def test_effects_are_those_of_a_dense_restatement():
    rng = np.random.default_rng(0)
    section, domain, blocks = np.repeat([0, 1], 120), rng.integers(0, 3, 240), rng.integers(0, 5, 240)
    blocks += 5 * section
    x = rng.gamma(2.0, 1.0, (240, 5)) * (1.0 + 4.0 * section[:, None])  # sections differ in every gene
    domain[(section == 1) & (domain == 2)] = 1  # and the third domain is in the first alone
    found = effects(sp.csr_matrix(x), section, domain, 3, blocks)

    def means(rows, k, others):
        weights, parts = [], []
        for s in range(2):
            own, rest = rows & (section == s) & (domain == k), rows & (section == s) & np.isin(domain, others)
            if own.any() and rest.any():
                weights.append(own.sum() * rest.sum() / (own.sum() + rest.sum()))
                parts.append((x[own].mean(axis=0), x[rest].mean(axis=0)))
        return np.average(parts, axis=0, weights=weights)

    others = [[1, 2], [0, 2], [0, 1]]
    centred = x - np.stack([x[section == s].mean(axis=0) for s in range(2)])[section]
    deviation = np.sqrt((centred**2).mean(axis=0))
    everything = np.ones(240, dtype=bool)
    for k in range(3):
        own, rest = means(everything, k, others[k])
        np.testing.assert_allclose(found.effect[k], (own - rest) / deviation)
        np.testing.assert_allclose(found.log2[k], np.log2(own / rest))
        apart = [np.subtract(*means(everything, k, [j])) / deviation for j in others[k]]
        np.testing.assert_allclose(found.effect_next[k], np.min(apart, axis=0))
        mine = range(5) if k == 2 else range(10)
        left_out = np.stack([np.subtract(*means(blocks != b, k, others[k])) / deviation for b in mine])
        error = np.sqrt((len(left_out) - 1) * left_out.var(axis=0))
        reach = student_t.ppf(0.975, len(left_out) - 1) * error
        np.testing.assert_allclose(found.high[k] - found.low[k], 2 * reach)


def smooth_genes(side: int, n_genes: int, seed: int) -> np.ndarray:
    """Genes that vary smoothly over a square and by spot, half each, and know of no domain: (side ** 2, n_genes)."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.normal(size=(n_genes, side, side)), (0, 1.5, 1.5), mode="wrap")
    return (field / field.std() + rng.normal(size=field.shape)).reshape(n_genes, -1).T


@pytest.mark.parametrize("domain_of", [lambda x, y: x >= 20, lambda x, y: x >= 32], ids=["half", "a fifth"])
def test_intervals_of_genes_that_follow_the_tissue_hold_nothing(domain_of):
    x, y = (places.ravel() for places in np.meshgrid(np.arange(40), np.arange(40)))
    blocks = 4 * (y // 10) + x // 10
    found = effects(sp.csr_matrix(smooth_genes(40, 600, 0)), np.zeros_like(x), domain_of(x, y).astype(int), 2, blocks)
    missed = (found.low > 0) | (found.high < 0)
    assert 0.005 < missed[1].mean() < 0.07


def test_a_domain_in_few_blocks_has_no_interval():
    x, y = (places.ravel() for places in np.meshgrid(np.arange(40), np.arange(40)))
    blocks = 4 * (y // 10) + x // 10
    values = smooth_genes(40, 20, 0)
    domain = np.where((x < 10) & (y < 10), 2, (x >= 20).astype(int))
    values[domain == 2, 0] += 5.0
    found = effects(sp.csr_matrix(values), np.zeros_like(x), domain, 3, blocks)
    assert np.isfinite(found.low[:2]).all() and np.isnan(found.low[2]).all()
    table = effect_table(found, sp.csr_matrix(values), domain, ["1", "2", "3"], [f"G{g}" for g in range(20)])
    first = table[table["domain"] == "3"].iloc[0]
    assert first["gene"] == "G0" and first["effect"] > 2 and not first["marker"]


def test_a_gene_that_is_the_same_everywhere_has_no_effect():
    values = np.full((600, 2), 0.1, dtype=np.float32)
    values[::2, 1] = 0.0
    domain, blocks = np.arange(600) % 3, np.arange(600) // 100
    found = effects(sp.csr_matrix(values), np.zeros(600, dtype=int), domain, 3, blocks)
    assert np.isnan(found.effect[:, 0]).all() and np.isfinite(found.effect[:, 1]).all()


def test_morans_i_is_that_of_a_dense_restatement():
    rng = np.random.default_rng(0)
    x, graph = rng.normal(size=(30, 4)), np.triu(rng.uniform(size=(30, 30)) < 0.2, 1).astype(float)
    graph += graph.T
    weights = graph / np.maximum(graph.sum(axis=1, keepdims=True), 1)
    weights = (weights + weights.T) / 2
    r = x - x.mean(axis=0)
    expected = 30 / weights.sum() * np.einsum("ig,ij,jg->g", r, weights, r) / (r**2).sum(axis=0)
    np.testing.assert_allclose(morans_i_of_values(sp.csr_matrix(x), sp.csr_matrix(graph)), expected)


def test_quality_control_applies_no_filter_of_counts(analysed):
    adata, _ = counts_in_bands()
    quality = quality_control(normalised(adata, "log"), min_counts=10**6, nmads=1.0, max_pct_mt=1.0)
    assert quality.adata.n_obs == N
    assert any("do not apply" in message["text"] for message in quality.messages)


def test_pseudotime_and_trends_are_of_values(analysed):
    section, _ = analysed["library"]
    copy = section.copy()
    copy.obsm["X_mmsrl"] = train(copy, show_progress=False).embedding
    found = trajectory(copy)
    assert found.facts["expression"] == "normalised"
    assert found.facts["n_changing"] > 0


def test_curves_of_standardised_values_go_below_0():
    rank = np.linspace(0.0, 1.0, 400)
    values, ones = sp.csr_matrix((2.0 * rank - 1.0)[:, None]), np.ones(400)
    section = np.zeros(400, dtype=int)
    found = trends(values, ones, rank, section, np.arange(400) // 40, 1.0)
    np.testing.assert_allclose(found.curves[[0, -1], 0], [-1.0, 1.0], atol=1e-6)
    np.testing.assert_allclose(found.change, 2.0, atol=1e-6)


def test_assembled_values_are_those_given_and_the_page_calls_them_no_counts(analysed, tmp_path: Path):
    section, _ = analysed["log"]
    trained = train(section, show_progress=False)
    table = domains(as_anndata(trained), BANDS).table
    features = ad.AnnData(obs=pd.DataFrame(index=section.obs_names))
    made = assemble_sample(section, features, as_anndata(trained), table, unit="S", target_sum=1.0, parameters={})
    assert "counts" not in made.layers
    assert made.uns["mmsrl"]["X"] == "values as they were given, normalised before"
    assert (made.X != section.X).nnz == 0
    made.uns["spatial"] = {"S": {"images": {}, "scalefactors": {}}}
    made.write_h5ad(tmp_path / "S.mmsrl.h5ad")
    shown = read_sample(tmp_path / "S.mmsrl.h5ad").section.values
    assert "Genes" in shown and "Counts" not in shown


def test_de_noising_is_left_out_with_its_reason(analysed, tmp_path: Path):
    section, _ = analysed["library"]
    trained = train(section, show_progress=False)
    section.uns["spatial"] = {"S": {"images": {}, "scalefactors": {}}}
    section.write_h5ad(tmp_path / "S.qc.h5ad")
    as_anndata(trained).write_h5ad(tmp_path / "S.embedding.h5ad")
    (tmp_path / "S.model.npz").touch()
    (tmp_path / "out").mkdir()
    features = ad.AnnData(
        np.zeros((section.n_obs, 0), np.float32),
        obs=pd.DataFrame(index=section.obs_names),
        obsm={"X_image": np.zeros((section.n_obs, 0), np.float32)},
        uns={"mmsrl": {"sample": "S"}},
    )
    features.write_h5ad(tmp_path / "S.features.h5ad")
    options = {"id": "S", "counts": "S.qc.h5ad", "features": "S.features.h5ad", "embedding": "S.embedding.h5ad"}
    arguments = [part for name, file in options.items() for part in (f"--{name}", str(tmp_path / file))]
    arguments[1] = "S"
    result = CliRunner().invoke(
        enhance_command, [*arguments, "--model", str(tmp_path / "S.model.npz"), "--output-dir", str(tmp_path / "out")]
    )
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out/S.enhance.json").read_text())
    assert "de-noising needs raw counts" in summary["result"]["skipped"]
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["S.enhance.json"]


def test_counts_and_values_in_one_group_are_refused():
    adata, _ = counts_in_bands()
    other = normalised(adata, "library")
    other.uns["mmsrl"]["sample"] = "T"
    with pytest.raises(InputError, match="sections S hold counts, but T normalised values"):
        train([adata, other], show_progress=False)


@pytest.fixture
def written(tmp_path: Path):
    def write(**layers) -> Path:
        """Write an .h5ad of the bands; ``X``, ``raw`` and layers are forms of :func:`normalised`, or ``counts``."""
        adata, _ = counts_in_bands()
        del adata.uns["mmsrl"]
        forms = {name: adata.X if form == "counts" else normalised_of(adata, form) for name, form in layers.items()}
        made = ad.AnnData(forms.pop("X"), obs=adata.obs, var=adata.var, obsm=dict(adata.obsm))
        if "raw" in forms:
            made.raw = ad.AnnData(forms.pop("raw"), var=adata.var)
        made.layers.update(forms)
        made.write_h5ad(tmp_path / "a.h5ad")
        return tmp_path / "a.h5ad"

    return write


def normalised_of(adata: ad.AnnData, form: str) -> sp.csr_matrix:
    copy = adata.copy()
    copy.uns["mmsrl"] = {}
    return normalised(copy, form).X


@pytest.mark.parametrize(
    ("layers", "place"),
    [
        ({"X": "log"}, "X"),
        ({"X": "standardised", "raw": "log"}, "raw.X"),
        ({"X": "standardised"}, "X"),
        ({"X": "volume", "raw": "log"}, "X"),
    ],
)
def test_values_without_counts_are_taken_and_told(written, layers, place):
    ingested = read_h5ad(written(**layers), "S")
    assert ingested.adata.uns["mmsrl"]["expression"] == "normalised"
    (told,) = [m["text"] for m in ingested.messages if m["level"] == "warning" and "normalised" in m["text"]]
    assert told.startswith("no raw counts (") and f": {place} is taken as normalised already" in told


def test_counts_go_before_values_and_what_is_stated_before_both(written):
    path = written(X="log", counts="counts")
    assert read_h5ad(path, "S").adata.uns["mmsrl"]["expression"] == "counts"
    stated = read_h5ad(path, "S", expression="normalised")
    assert stated.adata.uns["mmsrl"]["expression"] == "normalised"
    assert not [m for m in stated.messages if "no raw counts" in m["text"]]


def test_counts_that_are_stated_and_not_there_are_an_error(written):
    with pytest.raises(InputError, match="sample S: a.h5ad: no raw counts .*or set expression to normalised"):
        read_h5ad(written(X="log"), "S", expression="counts")


def test_values_that_are_not_finite_are_an_error(written):
    path = written(X="log")
    made = ad.read_h5ad(path)
    made.X[0, 0] = np.nan
    made.write_h5ad(path)
    with pytest.raises(InputError, match="X has values that are NaN or infinite; correct or remove"):
        read_h5ad(path, "S")


def test_whole_numbers_said_to_be_normalised_are_told(written):
    messages = read_h5ad(written(X="counts"), "S", expression="normalised").messages
    assert any("whole numbers from 0: if they are counts" in message["text"] for message in messages)
