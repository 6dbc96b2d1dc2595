"""Read-outs find planted groups, whatever the number of spots, and number them the same way each time."""

import json
import os
import subprocess
import sys

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from scipy.spatial.distance import pdist
from scipy.stats import multivariate_normal
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from mmsrl._errors import InputError
from mmsrl.domains import mixture, number, readouts
from mmsrl.domains.api import domains
from mmsrl.domains.average import consensus, matching
from mmsrl.domains.cli import main
from mmsrl.domains.number import choose_number
from mmsrl.domains.readouts import by_size, leiden, leiden_with_n, neighbour_graph, one_hot, ordered, read_out, reduce

SIZES = (120, 90, 60, 30)
METHODS = ("gmm", "gmm_full", "kmeans", "leiden")


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


def quick(monkeypatch):
    for name, value in (("MOST", 8), ("LABELINGS", 4), ("STARTS", 2)):
        monkeypatch.setattr(number, name, value)


def labels_of(points, n_domains, method, seed=0):
    return read_out(points, n_domains, method, seed).argmax(axis=1)


@pytest.mark.parametrize("method", METHODS)
def test_planted_groups_are_found_and_ordered_by_size(method):
    values, group = planted()
    posterior = read_out(reduce(values), 4, method, seed=0)
    assert posterior.dtype == np.float32
    assert np.allclose(posterior.sum(axis=1), 1, atol=1e-5)
    assert adjusted_rand_score(group, posterior.argmax(axis=1)) == 1
    assert np.bincount(posterior.argmax(axis=1)).tolist() == list(SIZES)


@pytest.mark.parametrize("method", METHODS)
def test_many_spots_are_grouped_from_a_choice(method, monkeypatch):
    values, group = planted(d=5)
    monkeypatch.setattr(readouts, "FIT_SPOTS", 150)
    assert adjusted_rand_score(group, labels_of(reduce(values), 4, method)) > 0.98


@pytest.mark.parametrize("method", METHODS)
def test_same_seed_same_domains(method):
    points = reduce(planted(distance=1.0)[0])
    assert np.array_equal(read_out(points, 4, method, seed=3), read_out(points, 4, method, seed=3))


def test_mixture_is_that_of_scikit_learn_from_the_same_start():
    values, group = planted((200, 150, 100), d=4, distance=2.0)
    found = mixture.maximise(values, np.eye(3)[group])
    plain = GaussianMixture(3, covariance_type="tied", tol=1e-5, max_iter=500, random_state=0)
    plain.weights_init = np.bincount(group) / len(group)
    plain.means_init = np.array([values[group == k].mean(axis=0) for k in range(3)])
    plain.precisions_init = np.linalg.inv(np.cov(values - plain.means_init[group], rowvar=False, bias=True))
    plain.fit(values)
    assert found.log_likelihood == pytest.approx(plain.lower_bound_, abs=2e-5)
    assert np.allclose(found.posterior(values), plain.predict_proba(values), atol=1e-2)


def test_posterior_of_a_mixture_is_bayes_rule_on_the_points_as_they_are():
    values, _ = planted((200, 150, 100), d=4, distance=1.0)
    values = values @ np.diag([10.0, 1.0, 0.1, 3.0]) + 5.0
    found = mixture.likeliest(mixture.optima(values, 3, seed=0, starts=2))
    density = np.column_stack([multivariate_normal(mean, found.covariance).pdf(values) for mean in found.means])
    expected = found.weights * density
    assert np.allclose(found.posterior(values), expected / expected.sum(axis=1, keepdims=True), atol=1e-6)


def test_more_starts_are_never_less_likely():
    values, _ = planted((60,) * 5, d=6, distance=1.0)
    found = mixture.optima(values, 5, seed=0)
    likelihoods = [mixture.likeliest(found[:starts]).log_likelihood for starts in (1, 4, 16)]
    assert likelihoods == sorted(likelihoods)
    assert likelihoods[-1] > likelihoods[0]


@pytest.mark.parametrize(("spots", "starts"), [(262, 96), (1300, 50), (4000, 32)])
def test_small_sections_have_more_starts(spots, starts):
    values = np.random.default_rng(0).normal(size=(spots, 1))
    assert len(mixture.optima(values, 1, seed=0)) == starts


@pytest.mark.parametrize(("starts", "kept"), [(8, 8), (32, 16), (96, 24)])
def test_the_likeliest_optima_are_averaged(starts, kept):
    values, _ = planted((60,) * 5, d=6, distance=1.0)
    found = mixture.optima(values, 5, 0, starts)
    best = [one.posterior(values) for one in sorted(found, key=lambda one: -one.log_likelihood)[:kept]]
    reference = consensus(best)
    mean = np.mean([posterior[:, matching(reference, posterior)] for posterior in best], axis=0)
    assert np.allclose(mixture.averaged(found, values, values), mean)


def test_empty_domains_come_last():
    posterior = np.eye(4)[[2, 2, 0, 0, 0, 1]]
    assert ordered(posterior).argmax(axis=1).tolist() == [1, 1, 0, 0, 0, 2]
    assert not ordered(posterior)[:, 3].any()


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
    assert adjusted_rand_score(group, labels_of(points, 2, "gmm")) > 0.95
    assert adjusted_rand_score(group, labels_of(points, 2, "kmeans")) < 0.2


def test_mixture_does_not_depend_on_the_scale_of_the_embedding():
    values, _ = planted(distance=1.5)
    tiny, huge = (labels_of(reduce(values * scale), 4, "gmm") for scale in (1e-5, 1e5))
    assert adjusted_rand_score(tiny, huge) == 1


def test_numbering_by_size_then_by_first_spot():
    assert by_size(np.array([7, 3, 3, 9, 9, 5])).tolist() == [3, 1, 1, 2, 2, 4]


def test_bisection_finds_a_resolution_for_every_number():
    graph = neighbour_graph(planted(distance=0.5)[0])
    for n_domains in (2, 3, 5, 8):
        assert leiden_with_n(graph, n_domains, seed=0).max() + 1 == n_domains


@pytest.mark.parametrize("shape", [(300, 5), (300, 30), (300, 1200), (40, 200), (15, 3), (3, 2), (900, 80)])
def test_reduction_keeps_distances_that_the_leading_components_hold(shape):
    n, d = shape
    rng = np.random.default_rng(0)
    latent = rng.normal(size=(n, min(2, n - 1))) * 5
    values = latent @ rng.normal(size=(latent.shape[1], d))
    points = reduce(values)
    assert points.shape[1] <= min(50, max(3, n // 10), n - 1, d)
    plain, reduced = pdist(values), pdist(points)
    assert np.allclose(reduced / reduced.max(), plain / plain.max(), atol=1e-4)
    assert np.mean(points**2) == pytest.approx(1)


def test_number_of_domains_is_that_of_clear_groups_from_several_members_or_one(monkeypatch):
    quick(monkeypatch)
    rng = np.random.default_rng(1)
    group = np.repeat(np.arange(5), [80, 70, 60, 50, 40])
    values = 8.0 * np.eye(5)[group] + rng.normal(size=(300, 5))
    members = [reduce(values + 0.3 * rng.normal(size=values.shape)) for _ in range(6)]
    for ensemble, most in ((members, 300), (members[:1], 300), (members, 200)):
        monkeypatch.setattr(number, "CHOICE_SPOTS", most)
        chosen = choose_number(ensemble, seed=0)
        assert chosen.n_domains == 5
        assert chosen.stability > 0.8
        assert [point["n_domains"] for point in chosen.curve] == list(range(2, 10))
        assert chosen.peak
        assert chosen.highest == 5
        assert chosen.curve[3]["n_domains"] == 5 and chosen.curve[3]["stability"] == chosen.stability


def test_of_numbers_that_are_as_stable_the_lowest_is_taken(monkeypatch):
    stability = {2: 0.3, 3: 0.4, 4: 0.60, 5: 0.5, 6: 0.55, 7: 0.61, 8: 0.5, 9: 0.4}
    for error, n_domains in ((0.02, 4), (0.005, 7)):
        monkeypatch.setattr(number, "MOST", 8)
        monkeypatch.setattr(number, "_stability", lambda labels, k, error=error: (stability[k], error))
        chosen = choose_number([np.random.default_rng(0).normal(size=(130, 2))], seed=0)
        assert (chosen.n_domains, chosen.highest, chosen.peak) == (n_domains, 7, True)


@pytest.mark.parametrize(("spots", "most"), [(40, 4), (346, 13), (5_000, number.MOST)])
def test_few_spots_are_not_tried_in_many_domains(spots: int, most: int):
    numbers = number._numbers(np.random.default_rng(0).normal(size=(spots, 2)))
    assert numbers == list(range(number.FEWEST - 1, most + 3))


def test_standard_error_is_that_of_the_jackknife():
    rng = np.random.default_rng(0)
    labels = {(i, k): rng.integers(0, k, 100) for i in range(number.LABELINGS) for k in (3, 4)}
    everything, error = number._stability(labels, 3)
    others = []
    for left_out in range(number.LABELINGS):
        kept = [i for i in range(number.LABELINGS) if i != left_out]
        pairs = [(i, j) for i in kept for j in kept if i != j]
        within = [adjusted_rand_score(labels[i, 3], labels[j, 3]) for i, j in pairs]
        between = [adjusted_rand_score(labels[i, 3], labels[j, 4]) for i, j in pairs]
        others.append((np.mean(within) + np.mean(between)) / 2)
    n = number.LABELINGS
    assert error == pytest.approx(np.sqrt((n - 1) / n * np.sum((np.array(others) - np.mean(others)) ** 2)))
    assert everything == pytest.approx(np.mean(others))


def test_sections_of_a_unit_share_their_domains_in_every_member():
    values, group = planted()
    other = embedding_of(values[:, ::-1] * 2.0, ("a", "b"))
    found = domains([embedding_of(values, ("a", "b")), other], 4)
    assert found.members.obs["sample"].tolist()[:4] == ["a", "b", "a", "b"]
    assert set(found.members.obsm) == {"posterior_0", "posterior_1", "spatial"}
    for member in ("posterior_0", "posterior_1"):
        assert adjusted_rand_score(group, found.members.obsm[member].argmax(axis=1)) == 1
    assert found.facts["members"] == 2 and found.facts["chosen"] is None
    assert adjusted_rand_score(group, found.table["domain"]) == 1
    assert found.table["sample"].tolist() == found.members.obs["sample"].tolist()
    assert found.messages[0]["text"].startswith("domains and sections: Cramér's V is ")


def test_members_of_an_embedding_are_read_in_the_order_of_their_numbers_and_in_place_of_it():
    values, _ = planted()
    whole, bare = embedding_of(values), [embedding_of(values) for _ in range(11)]
    for i in (10, *range(10)):
        whole.obsm[f"member_{i}"] = np.roll(values, i, axis=0)
        bare[i].obsm["X_mmsrl"] = np.roll(values, i, axis=0)
    one, several = domains(whole, 4), domains(bare, 4)
    assert one.facts["members"] == 11
    for key in several.members.obsm:
        np.testing.assert_array_equal(one.members.obsm[key], several.members.obsm[key])
    assert domains([whole, whole], 4).facts["members"] == 22


@pytest.mark.parametrize("method", ["gmm", "leiden"])
def test_threads_change_nothing(method):
    ensemble = [embedding_of(planted(distance=1.0, seed=seed)[0]) for seed in range(3)]
    one, three = (domains(ensemble, 4, readout=method, threads=threads).members for threads in (1, 3))
    assert all(np.array_equal(one.obsm[key], three.obsm[key]) for key in one.obsm)


def test_every_read_out_has_one_core_and_the_process_its_own_number_after():
    script = """
import anndata
import numpy as np
from mmsrl.domains import api

cores = []

def read_out(points, n_domains, method, seed):
    from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
    from threadpoolctl import threadpool_info
    blas = max(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas")
    cores.append((_openmp_effective_n_threads(), blas))
    return np.eye(n_domains)[np.arange(len(points)) % n_domains]

values = np.random.default_rng(0).normal(size=(40, 5))
adata = anndata.AnnData(obsm={"X_mmsrl": values, "spatial": values[:, :2]})
adata.obs = adata.obs.assign(sample="a", barcode=adata.obs_names)
api.read_out = read_out
read_out(values, 4, "", 0)
for method in ("kmeans", "leiden"):
    api.domains([adata] * 3, 4, readout=method, threads=2)
read_out(values, 4, "", 0)
assert cores[0] == cores[-1], cores
print(cores[0][0], set(cores[1:-1]))
"""
    # What a thread starts with can only be set before the process does.
    three = {**os.environ, "OMP_NUM_THREADS": "3"}
    done = subprocess.run([sys.executable, "-c", script], env=three, capture_output=True, text=True)
    assert done.stdout.split(maxsplit=1) == ["3", "{(1, 1)}\n"], done.stderr


def test_a_number_that_was_chosen_is_told_and_doubted_where_nothing_is_stable(monkeypatch):
    quick(monkeypatch)
    found = domains(embedding_of(planted((80, 70, 60, 50), d=5)[0]))
    assert found.facts["n_domains"] == found.facts["chosen"]["n_domains"] == 4
    assert "the number of domains was not given: 4, the most stable peak of 3 to 8" in found.messages[0]["text"]
    noise = domains(embedding_of(np.random.default_rng(0).normal(size=(200, 5))))
    assert [message["level"] for message in noise.messages][:2] == ["info", "warning"]
    assert "no number of domains is stable" in noise.messages[1]["text"]


def test_few_spots_have_no_number_of_domains_to_be_found():
    with pytest.raises(InputError, match="9 spots are too few to find a number of domains; give n_domains"):
        domains(embedding_of(np.random.default_rng(0).normal(size=(9, 3))))


def test_a_member_that_finds_fewer_domains_is_told_and_most_of_them_are_a_warning(monkeypatch):
    def found(points, n_domains, method, seed):
        return one_hot(np.arange(len(points)) % (n_domains - (seed in fewer)), n_domains)

    monkeypatch.setattr("mmsrl.domains.api.read_out", found)
    members = [embedding_of(planted()[0])] * 3
    for fewer, level in (({1}, "info"), ({0, 1}, "warning")):
        message = domains(members, 4).messages[0]
        assert message["level"] == level
        assert (
            f"4 domains were requested; gmm finds fewer (at least 3) in {len(fewer)} of the 3 members"
            in message["text"]
        )


def test_members_of_other_spots_are_refused():
    values, _ = planted()
    first, second = embedding_of(values), embedding_of(values)
    with pytest.raises(InputError, match="embedding 2 is not of the same spots"):
        domains([first, second[::-1].copy()], 4)


def test_bad_embeddings_are_errors():
    values, _ = planted()
    with pytest.raises(InputError, match="n_domains 400: there are only 300 different spots"):
        domains(embedding_of(values), 400)
    with pytest.raises(InputError, match="same at all 300 spots"):
        domains(embedding_of(np.ones((300, 4))), 2)
    values[3, 2] = np.nan
    with pytest.raises(InputError, match="not finite"):
        domains(embedding_of(values), 2)
    with pytest.raises(InputError, match="no obsm\\['X_mmsrl'\\]"):
        domains(anndata.AnnData(obs=embedding_of(values).obs), 2)


def test_command_writes_table_members_and_summary_and_names_the_unit_in_errors(tmp_path):
    embedding_of(planted()[0].astype(np.float32)).write_h5ad(tmp_path / "u.embedding.h5ad")
    twice = ["--embedding", str(tmp_path / "u.embedding.h5ad")] * 2
    options = ["--id", "u", *twice, "--output-dir", str(tmp_path)]
    done = CliRunner().invoke(main, [*options, "--n-domains", "4"])
    assert done.exit_code == 0, done.output
    members = anndata.read_h5ad(tmp_path / "u.domains.h5ad")
    assert members.n_obs == 300 and members.obsm["posterior_1"].shape == (300, 4)
    result = json.loads((tmp_path / "u.domains.json").read_text())["result"]
    assert result["n_domains"] == 4 and result["members"] == 2 and result["mean_agreement"] > 0.9
    table = pd.read_csv(tmp_path / "u.domains.csv", dtype={"domain": str})
    assert list(table.columns) == ["sample", "barcode", "domain", "domain_confidence"] and len(table) == 300
    wrong = CliRunner().invoke(main, [*options, "--n-domains", "400"])
    assert wrong.exit_code == 2 and "unit u: n_domains 400" in wrong.output


@pytest.mark.parametrize(
    ("beyond", "with_depth", "told"),
    [
        (0.5, 0.4, "(p = 0.400; beyond depth, p = 0.500)"),
        (0.5, 0.005, "follows sequencing depth"),
        (None, 0.4, "than permuted spots (p = 0.400),"),
    ],
)
def test_structure_of_depth_is_divided_with_a_warning_and_none_is_one_domain(beyond, with_depth, told):
    values, _ = planted()
    embedding = embedding_of(values)
    embedding.uns["structure_p_with_depth"] = with_depth
    if beyond is not None:  # not of values that were normalised before
        embedding.uns["structure_p"] = beyond
    found = domains(embedding)
    assert (found.facts["n_domains"] == 1) == (with_depth > 0.01)
    warned = [message["text"] for message in found.messages if message["level"] == "warning"]
    assert any(told in text for text in warned)


def published(sizes=SIZES):
    """Embedding of a published preset: groups that only the latent representation separates, on a lattice."""
    values, group = planted(sizes, d=60)
    embedding = embedding_of(values[:, :3].astype(np.float32))
    embedding.obsm["latent"] = values.astype(np.float32)
    embedding.obsm["spatial"] = np.column_stack(np.divmod(np.arange(len(values)), 20)).astype(float)
    embedding.uns["preset"] = "mmsrl"
    return embedding, group


def test_published_presets_are_clustered_by_kmeans_on_the_whole_latent_representation():
    embedding, group = published()
    found = domains(embedding, 4)
    assert found.facts["readout"] == "kmeans" and found.facts["components"] == [60]
    assert adjusted_rand_score(found.table["domain"], group) > 0.99
    assert domains(embedding, 4, readout="gmm").facts["components"] == [3]


def test_refinement_is_the_vote_of_the_nearest_spots_without_the_spot_itself():
    embedding, _ = published()
    labels = domains(embedding, 4).table["domain"].to_numpy()
    places = embedding.obsm["spatial"] + np.random.default_rng(0).uniform(0, 1e-3, (300, 2))  # no ties of distance
    embedding.obsm["spatial"] = places
    refined = domains(embedding, 4, refine=7).members.obsm["posterior_0"]
    distance = np.linalg.norm(places[:, None] - places[None], axis=2)
    votes = np.eye(5)[labels.astype(int)][np.argsort(distance, axis=1)[:, 1:8]].sum(axis=1)
    winners = votes.argmax(axis=1)
    decided = (votes == votes.max(axis=1, keepdims=True)).sum(axis=1) == 1
    assert adjusted_rand_score(refined.argmax(axis=1)[decided], winners[decided]) == 1.0


def test_the_default_has_no_refinement():
    with pytest.raises(InputError, match="refine: the preset 'default' has no refinement"):
        domains(embedding_of(planted()[0]), 4, refine=50)
