"""Read-outs find planted groups, whatever the number of spots, and number them the same way each time."""

import json

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.spatial.distance import pdist
from sklearn.metrics import adjusted_rand_score

from mmsrl._errors import InputError
from mmsrl.domains import readouts
from mmsrl.domains.api import domains
from mmsrl.domains.cli import main
from mmsrl.domains.number import STEPS, choose_number
from mmsrl.domains.readouts import by_size, leiden, leiden_with_n, neighbour_graph, read_out, reduce

SIZES = (120, 90, 60, 30)
METHODS = ("gmm", "kmeans", "leiden")


def planted(sizes=SIZES, d=30, distance=8.0, seed=0):
    """Gaussian groups in d dimensions, in shuffled order: (values, group)."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(len(sizes), d))
    centres *= distance / np.linalg.norm(centres, axis=1, keepdims=True)
    group = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    return centres[group] + rng.normal(size=(len(group), d)) * 0.5, group


def embedding_of(values, samples=("a",)):
    sample = np.resize(samples, len(values))
    obs = pd.DataFrame({"sample": sample, "barcode": [f"{n}-1" for n in range(len(values))]})
    obsm = {"X_mmsrl": values, "spatial": np.zeros((len(values), 2))}
    return anndata.AnnData(obs=obs.set_index(obs["sample"] + "_" + obs["barcode"]), obsm=obsm)


@pytest.mark.parametrize("method", METHODS)
def test_planted_groups_are_found_and_numbered_by_size(method):
    values, group = planted()
    labels = read_out(reduce(values), 4, method, seed=0)
    assert adjusted_rand_score(group, labels) == 1
    assert np.bincount(labels)[1:].tolist() == list(SIZES)


@pytest.mark.parametrize("method", METHODS)
def test_many_spots_are_grouped_from_a_choice(method, monkeypatch):
    values, group = planted()
    monkeypatch.setattr(readouts, "FIT_SPOTS", 100)
    labels = read_out(reduce(values), 4, method, seed=0)
    assert adjusted_rand_score(group, labels) > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_domains(method):
    values, _ = planted(distance=1.0)
    points = reduce(values)
    assert np.array_equal(read_out(points, 4, method, seed=3), read_out(points, 4, method, seed=3))


def test_leiden_leaves_the_random_module_as_it_was():
    import random

    random.seed(5)
    expected = random.random()
    random.seed(5)
    leiden(neighbour_graph(planted()[0]), 1.0, seed=0)
    assert random.random() == expected


def test_mixture_with_one_covariance_parts_long_parallel_groups_where_kmeans_cannot():
    rng = np.random.default_rng(0)
    group = np.repeat([0, 1], 300)
    values = np.column_stack([rng.normal(scale=20, size=600), group * 4 + rng.normal(scale=0.5, size=600)])
    points = reduce(values)
    assert adjusted_rand_score(group, read_out(points, 2, "gmm", seed=0)) > 0.95
    assert adjusted_rand_score(group, read_out(points, 2, "kmeans", seed=0)) < 0.2


def test_mixture_does_not_depend_on_the_scale_of_the_embedding():
    values, _ = planted(distance=1.5)
    tiny, huge = (read_out(reduce(values * scale), 4, "gmm", seed=0) for scale in (1e-5, 1e5))
    assert adjusted_rand_score(tiny, huge) == 1


def test_numbering_by_size_then_by_first_spot():
    assert by_size(np.array([7, 3, 3, 9, 9, 5])).tolist() == [3, 1, 1, 2, 2, 4]


def test_bisection_finds_a_resolution_for_every_number():
    graph = neighbour_graph(planted(distance=0.5)[0])
    for n_domains in (2, 3, 5, 8):
        assert leiden_with_n(graph, n_domains, seed=0).max() + 1 == n_domains


@pytest.mark.parametrize("shape", [(300, 5), (300, 30), (300, 1200), (40, 200), (15, 3), (3, 2)])
def test_reduction_keeps_distances_that_the_leading_components_hold(shape):
    n, d = shape
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(n, min(2, n - 1))) * 5
    values = latent @ rng.normal(size=(latent.shape[1], d))
    points = reduce(values)
    assert points.shape[1] <= min(20, n - 1, d)
    plain, reduced = pdist(values), pdist(points)
    assert np.allclose(reduced / reduced.max(), plain / plain.max(), atol=1e-4)
    assert np.mean(points**2) == pytest.approx(1)


def test_number_of_domains_is_that_of_clear_groups_and_the_curve_rises():
    number = choose_number(reduce(planted()[0]), 0.3, seed=0)
    assert number.n_domains == 4
    assert [step["resolution"] for step in number.curve] == pytest.approx([0.3 * step for step in STEPS])
    wide = choose_number(reduce(planted(distance=0.5)[0]), 1.0, seed=0).curve
    assert wide[-1]["n_domains"] > wide[0]["n_domains"]


def test_sections_of_a_unit_share_their_domains():
    values, group = planted()
    found = domains(embedding_of(values, ("a", "b")), 4)
    assert found.table["sample"].tolist()[:4] == ["a", "b", "a", "b"]
    assert set(found.table["domain"]) == {"1", "2", "3", "4"}
    assert adjusted_rand_score(group, found.table["domain"]) == 1
    assert sum(found.facts["spots"]["a"].values()) == 150 and found.facts["chosen"] is None
    assert found.messages == []


def test_a_number_that_was_chosen_is_told():
    found = domains(embedding_of(planted()[0]), resolution=0.3)
    assert found.facts["n_domains"] == found.facts["chosen"]["n_domains"] == 4
    assert "the number of domains was not given: 4" in found.messages[0]["text"]


def test_bad_embeddings_are_errors():
    values, _ = planted()
    with pytest.raises(InputError, match="400 domains were asked for.*only 300 different spots"):
        domains(embedding_of(values), 400)
    with pytest.raises(InputError, match="same at all 300 spots"):
        domains(embedding_of(np.ones((300, 4))), 2)
    values[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        domains(embedding_of(values), 2)
    with pytest.raises(InputError, match="no obsm\\['X_mmsrl'\\]"):
        domains(anndata.AnnData(obs=embedding_of(values).obs), 2)


def test_command_writes_table_and_summary_and_names_the_unit_in_errors(tmp_path):
    embedding_of(planted()[0].astype(np.float32)).write_h5ad(tmp_path / "u.embedding.h5ad")
    options = ["--id", "u", "--embedding", str(tmp_path / "u.embedding.h5ad"), "--output-dir", str(tmp_path)]
    done = CliRunner().invoke(main, [*options, "--n-domains", "4"])
    assert done.exit_code == 0, done.output
    table = pd.read_csv(tmp_path / "u.domains.csv", dtype=str)
    assert list(table.columns) == ["sample", "barcode", "domain"] and len(table) == 300
    assert json.loads((tmp_path / "u.domains.json").read_text())["result"]["n_domains"] == 4
    wrong = CliRunner().invoke(main, [*options, "--n-domains", "400"])
    assert wrong.exit_code == 2 and "unit u: 400 domains" in wrong.output
