"""Scores against values worked out by hand or by the plain definition."""

import itertools
from math import log

import anndata
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mmsrl._errors import InputError
from mmsrl.evaluate import metrics
from mmsrl.evaluate.api import score
from mmsrl.evaluate.cli import main
from mmsrl.evaluate.metrics import (
    agreement,
    chaos,
    confusion,
    match,
    pas,
    spatial_silhouette,
)
from mmsrl.evaluate.truth import read_truth

LABELS = np.array([0, 0, 0, 1, 1, 1])
DOMAINS = np.array([0, 0, 1, 1, 2, 2])


def test_pair_scores_by_hand():
    # Of 15 pairs 2 are together in both ({0,1}, {4,5}), 1 only in domains ({2,3}), 4 only in labels.
    found = agreement(LABELS, DOMAINS)
    assert found["Jaccard"] == pytest.approx(2 / 7)
    assert found["Dice"] == pytest.approx(4 / 9)
    assert found["FMI"] == pytest.approx(2 / np.sqrt(3 * 6))
    expected = 3 * 6 / 15
    assert found["ARI"] == pytest.approx((2 - expected) / ((3 + 6) / 2 - expected))
    assert found["purity"] == pytest.approx(5 / 6)


def test_information_scores_by_hand():
    found = agreement(LABELS, DOMAINS)
    mutual = log(2) - log(2) / 3  # labels have entropy log 2; only the mixed third of the spots leaves log 2 open
    assert found["MI"] == pytest.approx(mutual)
    assert found["homogeneity"] == pytest.approx(mutual / log(2))
    assert found["completeness"] == pytest.approx(mutual / log(3))
    assert found["V"] == found["NMI"] == pytest.approx(mutual / ((log(2) + log(3)) / 2))


def test_adjusted_scores_are_zero_by_chance_and_one_for_equal_groups():
    rng = np.random.default_rng(0)
    labels, domains = rng.integers(0, 5, 4000), rng.integers(0, 5, 4000)
    chance = agreement(labels, domains)
    assert abs(chance["ARI"]) < 0.01 and abs(chance["AMI"]) < 0.01
    same = agreement(labels, (labels + 2) % 5)
    assert all(same[name] == pytest.approx(1.0) for name in same if name != "MI")


def test_match_is_the_best_of_all_pairings():
    table = np.random.default_rng(1).integers(0, 50, (4, 5))
    best = max(sum(table[row, column] for row, column in enumerate(p)) for p in itertools.permutations(range(5), 4))
    assert sum(table[pair] for pair in match(table)) == best


def test_confusion_counts_domain_by_label():
    assert confusion(LABELS, DOMAINS, 2, 3).tolist() == [[2, 0], [1, 1], [0, 2]]


def plane(n: int) -> np.ndarray:
    return np.stack(np.meshgrid(np.arange(n), np.arange(n)), axis=-1).reshape(-1, 2).astype(float)


def test_pas_equals_the_plain_definition():
    rng = np.random.default_rng(2)
    coordinates, domains = rng.normal(size=(80, 2)), rng.integers(0, 3, 80)
    distances = np.linalg.norm(coordinates[:, None] - coordinates[None], axis=2)
    abnormal = [np.sum(domains[np.argsort(row)[1:11]] != domains[i]) > 5 for i, row in enumerate(distances)]
    assert pas(domains, coordinates) == np.mean(abnormal)


def test_pas_of_one_odd_spot():
    domains = np.zeros(100, dtype=int)
    domains[55] = 1
    assert pas(domains, plane(10)) == 0.01


def test_pas_does_not_count_a_spot_as_its_own_neighbour_where_spots_coincide():
    assert pas(np.array([0, 1, 1]), np.zeros((3, 2))) == pytest.approx(1 / 3)


def test_chaos_equals_the_plain_definition():
    rng = np.random.default_rng(3)
    coordinates, domains = rng.normal(size=(60, 2)) * [3, 7], rng.integers(0, 3, 60)
    domains[:2] = 9  # a domain of two spots adds nothing
    standard = (coordinates - coordinates.mean(axis=0)) / coordinates.std(axis=0)
    total = 0.0
    for domain in range(3):
        members = standard[domains == domain]
        distances = np.linalg.norm(members[:, None] - members[None], axis=2)
        total += np.where(np.eye(len(members)) == 1, np.inf, distances).min(axis=1).sum()
    assert chaos(domains, coordinates) == pytest.approx(total / 60)


def test_smooth_domains_score_better_than_scattered_ones():
    coordinates = plane(12)
    halves = (coordinates[:, 0] >= 6).astype(int)
    scattered = np.random.default_rng(4).permutation(halves)
    assert pas(halves, coordinates) < pas(scattered, coordinates)
    assert chaos(halves, coordinates) < chaos(scattered, coordinates)
    assert spatial_silhouette(halves, coordinates) > spatial_silhouette(scattered, coordinates)


def test_silhouette_of_two_pairs_by_hand():
    coordinates = np.array([[0.0, 0], [1, 0], [10, 0], [11, 0]])
    inner, outer = 1 - 1 / 9.5, 1 - 1 / 10.5
    assert spatial_silhouette(np.array([0, 0, 1, 1]), coordinates) == pytest.approx((inner + outer) / 2)


def test_silhouette_of_many_spots_is_that_of_a_choice(monkeypatch):
    coordinates = plane(50)
    halves = (coordinates[:, 0] >= 25).astype(int)
    everything = spatial_silhouette(halves, coordinates)
    monkeypatch.setattr(metrics, "SILHOUETTE_SPOTS", 600)
    chosen = spatial_silhouette(halves, coordinates)
    assert chosen == pytest.approx(everything, abs=0.02) and chosen != everything


def test_scores_that_are_not_defined_are_nan():
    assert np.isnan(spatial_silhouette(np.zeros(5, dtype=int), plane(5)[:5]))
    assert np.isnan(pas(np.zeros(1, dtype=int), np.zeros((1, 2))))


def unit(samples: dict[str, int]) -> tuple[pd.DataFrame, anndata.AnnData]:
    rows = [(sample, f"{number}-1") for sample, size in samples.items() for number in range(size)]
    obs = pd.DataFrame(rows, columns=["sample", "barcode"], index=[f"{s}_{b}" for s, b in rows])
    coordinates = np.concatenate([plane(20)[:size] for size in samples.values()])
    embedding = anndata.AnnData(obs=obs, obsm={"spatial": coordinates, "X_mmsrl": coordinates})
    domains = obs.reset_index(drop=True).assign(domain=np.where(coordinates[:, 0] < 10, "1", "2"))
    return domains, embedding


def test_unlabelled_spots_are_left_out_of_agreement_only():
    domains, embedding = unit({"a": 100})
    labels = domains.set_index("barcode")["domain"].iloc[:60]
    table, facts, messages = score("a", domains, embedding, {"a": labels})
    values = table.set_index("metric")
    assert values.loc["ARI", "value"] == 1 and values.loc["ARI", "n_spots"] == 60
    assert values.loc["PAS", "n_spots"] == 100
    assert facts["a"]["labelled_spots"] == 60 and facts["a"]["matched"] == {"1": "1", "2": "2"}
    assert any("40 of 100 spots have no label" in message["text"] for message in messages)


def test_a_unit_is_scored_by_section_and_as_a_whole():
    domains, embedding = unit({"a": 100, "b": 200})
    shuffled = domains.sample(frac=1, random_state=0)  # the order of the table plays no part
    labels = domains[domains["sample"] == "a"].set_index("barcode")["domain"]
    swapped = domains[domains["sample"] == "b"].set_index("barcode")["domain"].map({"1": "2", "2": "1"})
    table = score("joint", shuffled, embedding, {"a": labels, "b": swapped}).table
    ari = table[table["metric"] == "ARI"].set_index("sample")["value"]
    # Each section alone agrees with its labels under its own names, both together do not under any.
    assert ari["a"] == ari["b"] == 1 and ari["joint"] < 0.2
    by_section = table[table["metric"] == "CHAOS"].set_index("sample")["value"]
    assert by_section["joint"] == pytest.approx((by_section["a"] + 2 * by_section["b"]) / 3)


def test_domains_order_numerically_in_the_confusion_table():
    domains, embedding = unit({"a": 40})
    domains["domain"] = [str(number % 11 + 1) for number in range(40)]
    labels = domains.set_index("barcode")["domain"]
    assert score("a", domains, embedding, {"a": labels}).facts["a"]["domains"] == [str(n) for n in range(1, 12)]


def test_labels_of_another_section_are_an_error():
    domains, embedding = unit({"a": 30})
    with pytest.raises(InputError, match="sample a: none of its 30 spots is labelled.*'0-1'.*'AAAC'"):
        score("a", domains, embedding, {"a": pd.Series({"AAAC": "L1"})})
    with pytest.raises(InputError, match="sample z, which is not in this unit"):
        score("a", domains, embedding, {"z": pd.Series({"0-1": "L1"})})


def test_domains_of_other_spots_are_an_error():
    domains, embedding = unit({"a": 30})
    with pytest.raises(InputError, match="29 spots have domains, 30 are in the embedding"):
        score("a", domains.iloc[1:], embedding, {"a": pd.Series({"0-1": "L1"})})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_truth_in_usual_encodings_and_delimiters(tmp_path, encoding, delimiter):
    path = tmp_path / "truth.csv"
    lines = ["Barcode,x,Label", "AA-1,1,Schädel", "AB-1,2,", "AC-1,3,NA", "", "AD-1,4,Herz"]
    path.write_bytes("\r\n".join(lines).replace(",", delimiter).encode(encoding))
    assert read_truth(path, sample="s").to_dict() == {"AA-1": "Schädel", "AD-1": "Herz"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column barcode and no column label"),
        ("barcode,region\nA,1\n", "no column label.*is 'barcode,region'"),
        ("barcode,label\nA,L1\nB\n", "line 3 has 1 of 2 columns"),
        ("barcode,label\nA,L1\nA,L2\n", "line 3: barcode 'A' is labelled 'L2' here and 'L1' above"),
        ("barcode,label\nA,\n", "no barcode has a label"),
    ],
)
def test_faulty_truth_is_named(tmp_path, text, message):
    path = tmp_path / "truth.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=f"sample s: truth {path}.*{message}"):
        read_truth(path, sample="s")


def test_truth_that_is_no_text_or_not_there_is_an_error(tmp_path):
    path = tmp_path / "truth.csv"
    with pytest.raises(InputError, match="does not exist"):
        read_truth(path, sample="s")
    path.write_bytes(b"\x89HDF\r\n\x1a\n\x00\x00\x00\x81")
    with pytest.raises(InputError, match="not a text file"):
        read_truth(path, sample="s")


def test_command_writes_scores_and_refuses_a_repeated_sample(tmp_path):
    domains, embedding = unit({"a": 50})
    domains.to_csv(tmp_path / "domains.csv", index=False)
    embedding.write_h5ad(tmp_path / "embedding.h5ad")
    truth = tmp_path / "truth.csv"
    domains.rename(columns={"domain": "label"})[["barcode", "label"]].to_csv(truth, index=False)
    options = ["--id", "a", "--domains", tmp_path / "domains.csv", "--embedding", tmp_path / "embedding.h5ad"]
    options += ["--output-dir", tmp_path, "--truth", f"a={truth}"]
    done = CliRunner().invoke(main, [str(option) for option in options])
    assert done.exit_code == 0, done.output
    scores = pd.read_csv(tmp_path / "a.scores.csv")
    assert list(scores.columns) == ["sample", "metric", "value", "n_spots"]
    assert scores.set_index("metric").loc["ARI", "value"] == 1
    again = CliRunner().invoke(main, [str(option) for option in [*options, "--truth", f"a={truth}"]])
    assert again.exit_code == 2 and "given twice for sample a" in again.output
