"""Conditions compared: replicates and models, shares, genes, matched domains, and what is said of bad studies."""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from mmsrl import tl
from mmsrl._design import Assignment, Comparison, compare, replicates_of
from mmsrl._errors import InputError
from mmsrl.compare.camera import camera
from mmsrl.compare.cli import main
from mmsrl.compare.composition import share_difference
from mmsrl.compare.gene_tests import gene_differences
from mmsrl.compare.quality import outliers

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/bench_study.py"))
KIND, study, PLANTED = BENCH["Kind"], BENCH["study"], BENCH["PLANTED"]


def assigned(*rows: str) -> list[Assignment]:
    """``sample condition donor name=value``."""
    result = []
    for row in rows:
        sample, condition, donor, *covariates = row.split()
        own = dict(pair.split("=") for pair in covariates)
        result.append(Assignment(sample, condition, None if donor == "-" else donor, own))
    return result


def model(*rows: str, condition: str = "t", control: str = "c") -> Comparison | str:
    replicates = replicates_of(assigned(*rows))
    return compare(replicates, [True] * len(replicates), condition, control)


def test_sections_of_one_donor_and_condition_are_one_replicate() -> None:
    found = replicates_of(assigned("a c d1 sex=f", "b c d1 sex=f", "e c d2 sex=m", "f t d1 sex=f"))
    assert [own.samples for own in found] == [("a", "b"), ("e",), ("f",)]
    assert [own.samples for own in replicates_of(assigned("a c -", "b c -"))] == [("a",), ("b",)]
    # What differs between the sections of a replicate says nothing of it.
    assert replicates_of(assigned("a c d1 sex=f slide=1", "b c d1 sex=f slide=2"))[0].covariates == {"sex": "f"}


def test_donors_with_both_conditions_are_blocks() -> None:
    found = model("a c d1", "b t d1", "e c d2", "f t d2", "g c d3", "h t d3", "i t d4")
    assert isinstance(found, Comparison)
    assert found.formula == "~ donor + condition"
    assert found.rows.tolist() == [0, 1, 2, 3, 4, 5] and (found.n_condition, found.n_control) == (3, 3)
    assert np.linalg.matrix_rank(found.matrix) == found.matrix.shape[1] == 4
    # One donor of both is no pairing.
    assert model("a c d1", "b t d1", "e c d2", "f t d3").formula == "~ condition"  # type: ignore[union-attr]


def test_covariates_that_donors_hold_are_left_out_and_others_kept() -> None:
    paired = model("a c d1 sex=f", "b t d1 sex=f", "e c d2 sex=m", "f t d2 sex=m", "g c d3 sex=m", "h t d3 sex=m")
    assert paired.formula == "~ donor + condition"  # type: ignore[union-attr]
    single = model("a c - sex=f", "b c - sex=m", "e t - sex=f", "f t - sex=m")
    assert single.formula == "~ sex + condition"  # type: ignore[union-attr]
    assert single.contrast.tolist() == [0.0, 0.0, 1.0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        (("a c -", "b c -", "e t -"), "t has 1 replicate, 2 are needed"),
        (("a c - b=1", "b c - b=1", "e t - b=2", "f t - b=2"), "t cannot be told from b"),
        (("a c d1", "b t d1", "e c d2", "f t d2", "g c d2 ", "h t d2"), None),
        (("a c - p=1", "b c - p=2", "e t - p=2", "f t - p=3"), "4 replicates are too few for ~ p + condition"),
    ],
)
def test_designs_without_a_model_say_why(rows: tuple[str, ...], why: str | None) -> None:
    found = model(*rows)
    assert found == why if why else isinstance(found, Comparison)


def test_share_is_tested_as_a_dense_restatement_has_it() -> None:
    inside, total = np.array([30.0, 40.0, 35.0, 60.0, 75.0, 64.0]), np.full(6, 200.0)
    found = share_difference(inside, total, model("a c -", "b c -", "d c -", "e t -", "f t -", "g t -"))  # type: ignore[arg-type]
    logit = np.log((inside + 0.5) / (total - inside + 0.5))
    difference = logit[3:].mean() - logit[:3].mean()
    error = np.sqrt((logit[3:].var() * 3 + logit[:3].var() * 3) / 4 * (2 / 3))
    assert found.odds_ratio == pytest.approx(np.exp(difference))
    assert found.low == pytest.approx(np.exp(difference - 2.7764451 * error))
    assert found.p_value < 0.01


def test_sections_all_alike_have_no_p_value() -> None:
    arms = model("a c -", "b c -", "e t -", "f t -")
    found = share_difference(np.array([10.0, 10, 20, 20]), np.full(4, 100.0), arms)  # type: ignore[arg-type]
    assert np.isnan(found.p_value) and found.odds_ratio > 2


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_domain_in_no_section_or_all_over_them_does_not_differ_with_their_size(share: float) -> None:
    total = np.array([3000.0, 3100, 2900, 1500, 1600, 1450])
    arms = model("a c -", "b c -", "d c -", "e t -", "f t -", "g t -")
    found = share_difference(share * total, total, arms)  # type: ignore[arg-type]
    assert found.odds_ratio == pytest.approx(1.0) and np.isnan(found.p_value)


def test_a_rare_domain_does_not_differ_with_the_size_of_sections() -> None:
    """Sections of one condition are a quarter as large; one spot in 1,000, in clumps, is of the domain."""
    random = np.random.default_rng(0)
    arms = model(*(f"c{i} c -" for i in range(4)), *(f"t{i} t -" for i in range(4)))
    p = []
    for _ in range(300):
        total = np.round(4000.0 * np.repeat([1.0, 0.25], 4) * random.lognormal(0.0, 0.15, 8))
        inside = random.poisson(random.gamma(total / 20_000.0, 20.0)).astype(float)
        p.append(share_difference(inside, total, arms).p_value)  # type: ignore[arg-type]
    assert np.mean(np.array(p) <= 0.05) <= 0.1 and np.mean(np.array(p) <= 0.001) <= 0.01


def test_a_section_far_from_the_others_is_an_outlier() -> None:
    values = {"a": 2_000.0, "b": 2_300.0, "c": 1_900.0, "d": 2_100.0, "e": 150.0}
    assert outliers(values) == ["e"]
    assert outliers({name: value + i for i, (name, value) in enumerate(dict.fromkeys("abcd", 100.0).items())}) == []
    assert outliers({"a": 1.0, "b": 100.0, "c": 1.0}) == []


def test_planted_share_and_genes_are_found() -> None:
    kind = KIND(8, share_deviation=0.05, gene_deviation=0.1, share_fold=1.5, gene_fold=2.0)
    sets = {"planted": [f"g{g}" for g in range(PLANTED)], "others": [f"g{g}" for g in range(300, 350)]}
    found = tl.compare(study(kind, 3), control="control", gene_sets=sets, several_units=False)
    first = found.composition.set_index("domain").loc["1"]
    assert first["p_adjusted"] < 0.05 and first["low"] < 1.5 * 1.1 and first["high"] > 1.5 * 0.9
    called = found.expression[found.expression["p_adjusted"] < 0.05]
    right = called["gene"].isin(sets["planted"]) & (called["domain"] == "2")
    assert right.sum() > 30 and right.mean() > 0.9
    assert (called.loc[right, "log2_fold_change"] > 0).all()
    rising = found.gene_sets[(found.gene_sets["domain"] == "2") & (found.gene_sets["direction"] == "up")]
    assert rising.iloc[0]["gene_set"] == "planted" and rising.iloc[0]["p_adjusted"] < 1e-4
    fact = {row["domain"]: row for row in found.facts["expression"]}
    assert fact["2"]["n_up"] >= right.sum() and set(fact["2"]["top"]) <= set(called["gene"])
    assert found.shares.groupby("sample")["share"].sum().round(6).eq(1.0).all()


def test_p_values_of_studies_without_a_difference_are_spread_evenly() -> None:
    shares, genes = [], []
    for seed in range(12):
        found = tl.compare(study(KIND(6), seed), control="control", several_units=False)
        shares.append(found.composition["p_value"])
        genes.append(found.expression["p_value"])
    p = np.concatenate(genes)
    assert 0.5 <= (p <= 0.05).mean() / 0.05 <= 1.5 and (p <= 0.001).mean() / 0.001 <= 2.0
    # 60 of them: the chance of more than 9 below .05 is 1 in 1,000.
    assert (np.concatenate(shares) <= 0.05).sum() <= 9


def test_domains_found_apart_are_matched_and_what_one_lacks_is_left_out() -> None:
    """Every section of another unit, with numbers of its own; one unit lacks a domain."""
    sections = study(KIND(4, share_fold=1.0), 0)
    for s, adata in enumerate(sections):
        adata.uns["mmsrl"]["unit"] = f"unit{s}"
        if s:
            adata.obs["domain"] = adata.obs["domain"].cat.rename_categories(lambda name: str(6 - int(name)))
    sections[3] = sections[3][sections[3].obs["domain"] != "1"].copy()
    sections[3].obs["domain"] = sections[3].obs["domain"].cat.remove_unused_categories()
    found = tl.compare(sections, control="control")
    assert found.facts["domains_of"] == "unit0"
    for unit, own in found.matches.groupby("unit"):
        pairs = dict(zip(own["domain"], own["matched"], strict=True))
        assert pairs == {str(d): str(6 - d) for d in range(2 if unit == "unit3" else 1, 6)}
    of_last = found.shares[found.shares["sample"] == "s3"]
    assert of_last["domain"].tolist() == ["1", "2", "3", "4"]
    row = found.composition.set_index("domain").loc["5"]
    assert row["n_condition"] + row["n_control"] == 3 and np.isnan(row["p_value"])


def test_a_section_too_small_to_be_cut_has_no_certainty() -> None:
    one, other = study(KIND(2), 5)
    places = other.obsm["spatial"] / 100.0
    table = tl.match(one, other[(places < 6.0).all(axis=1)].copy())
    assert table["certainty"].isna().all() and table["matched"].notna().any()


def test_a_domain_that_some_sections_of_a_unit_lack_has_no_spots_there() -> None:
    sections = study(KIND(4), 0)
    whole = tl.compare(sections, control="control", several_units=False)
    for s in (1, 2):
        sections[s] = sections[s][sections[s].obs["domain"] != "1"].copy()
        sections[s].obs["domain"] = sections[s].obs["domain"].cat.remove_unused_categories()
    found = tl.compare(sections, control="control", several_units=False)
    assert found.facts["domains"] == whole.facts["domains"]
    without = found.shares[found.shares["sample"].isin(["s1", "s2"]) & (found.shares["domain"] == "1")]
    assert without["n_spots"].tolist() == [0, 0]
    assert found.composition.set_index("domain").loc["1", "p_value"] > 0


def test_match_in_a_notebook() -> None:
    one, other = study(KIND(2), 5)
    table = tl.match(one, [other[other.obs["domain"] != "4"].copy()])
    assert table["domain"].tolist() == ["1", "2", "3", "4", "5"]
    assert table["matched"].tolist() == ["1", "2", "3", None, "5"]
    assert table["certainty"].between(0, 1).all() and (table.loc[table["matched"].notna(), "similarity"] > 0.5).all()


def test_normalised_values_have_shares_and_no_genes() -> None:
    sections = study(KIND(4), 0)
    for adata in sections:
        adata.uns["mmsrl"]["expression"] = "normalised"
    found = tl.compare(sections, control="control", several_units=False)
    assert found.composition["p_value"].notna().all() and found.expression.empty
    assert {row["why"] for row in found.facts["expression"]} == {"expression is normalised: there are no counts"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition": None}, "obs['condition'] is missing"),
        ({"condition": "control"}, "all sections are of the condition control"),
        ({"domain": None}, "every spot must have a domain"),
    ],
)
def test_sections_that_cannot_be_compared_are_refused(change: dict[str, Any], message: str) -> None:
    sections = study(KIND(4), 0)
    for adata in sections:
        for name, value in change.items():
            if value is None:
                del adata.obs[name]
            else:
                adata.obs[name] = value
    with pytest.raises(InputError, match=message.replace("[", r"\[").replace("]", r"\]")):
        tl.compare(sections, several_units=False)


def test_condition_that_varies_within_a_section_or_control_that_no_section_has_is_refused() -> None:
    sections = study(KIND(4), 0)
    with pytest.raises(InputError, match="no section is of the condition sham; there are"):
        tl.compare(sections, control="sham")
    sections[0].obs["condition"] = ["control", "treated"] * (sections[0].n_obs // 2)
    with pytest.raises(InputError, match=r"sample s0: obs\['condition'\] must be the same for all spots"):
        tl.compare(sections)


def test_command_writes_tables_and_tells_of_sections_that_are_missing(tmp_path: Path) -> None:
    sections = study(KIND(6), 1)
    rows = [
        pd.DataFrame({"sample": a.uns["mmsrl"]["sample"], "barcode": a.obs_names, "domain": a.obs["domain"]})
        for a in sections
    ]
    pd.concat(rows).to_csv(tmp_path / "all.domains.csv", index=False)
    design = [
        {"sample": a.uns["mmsrl"]["sample"], "condition": a.obs["condition"].iloc[0], "donor": None, "covariates": {}}
        for a in sections
    ]
    (tmp_path / "design.json").write_text(json.dumps({"samples": design}))
    arguments = [
        "--domains",
        f"{tmp_path}/all.domains.csv",
        "--design",
        f"{tmp_path}/design.json",
        "--control",
        "control",
    ]
    for adata in sections[:5]:
        name = adata.uns["mmsrl"]["sample"]
        uns = {**adata.uns, "spatial": {name: {"images": {}, "scalefactors": {}}}}
        counted = ad.AnnData(adata.X, adata.obs[["total_counts"]], adata.var, uns=uns, obsm=adata.obsm)
        counted.write_h5ad(tmp_path / f"{name}.qc.h5ad")
        arguments += ["--counts", f"{tmp_path}/{name}.qc.h5ad"]
    (tmp_path / "out").mkdir()
    result = CliRunner().invoke(main, [*arguments, "--output-dir", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    told = json.loads((tmp_path / "out/study.compare.json").read_text())
    assert told["messages"][0]["text"].startswith("sections s5 could not be analysed")
    assert told["result"]["model"] == "~ condition" and len(told["result"]["sections"]) == 5
    tables = {path.name for path in (tmp_path / "out").glob("*.tsv")}
    assert tables == {f"study.{name}.tsv" for name in ("composition", "expression", "shares")}
    table = pd.read_csv(tmp_path / "out/study.expression.tsv", sep="\t")
    assert table["p_value"].between(0, 1).all() and set(table["condition"]) == {"treated"}


def test_shares_are_those_of_the_replicates_that_are_tested() -> None:
    """Of four donors three have both conditions; the fourth is left out of the test, and of the means with it."""
    sections = study(KIND(8, donors=True), 4)
    donors = sorted({a.obs["donor"].iloc[0] for a in sections})
    kept = [a for a in sections if (a.obs["donor"].iloc[0], a.obs["condition"].iloc[0]) != (donors[3], "treated")]
    found = tl.compare(kept, control="control", several_units=False)
    whole = tl.compare(
        [a for a in sections if a.obs["donor"].iloc[0] != donors[3]], control="control", several_units=False
    )
    pd.testing.assert_frame_equal(found.composition, whole.composition)


def test_covariates_that_are_not_in_the_model_are_told() -> None:
    """Each donor has two sections of one condition, on two slides."""
    sections = study(KIND(8), 4)
    for condition in ("control", "treated"):
        for s, adata in enumerate(a for a in sections if a.obs["condition"].iloc[0] == condition):
            adata.obs["donor"] = f"{condition}{s // 2}"
            adata.obs["covariate_slide"] = str(s)
    found = tl.compare(sections, control="control", several_units=False)
    assert found.facts["model"] == "~ condition"
    text = "treated: slide is not in the model, because some replicates have no unique value"
    assert {"level": "warning", "text": text} in found.messages


def test_domains_that_another_model_compares_are_told() -> None:
    """One of four pairs of donors is left in domain 2, and two treated donors against three."""
    sections = study(KIND(8, donors=True), 4)
    without = {("donor1", "control"), ("donor2", "treated"), ("donor3", "treated")}
    for s, adata in enumerate(sections):
        if (adata.obs["donor"].iloc[0], adata.obs["condition"].iloc[0]) in without:
            sections[s] = adata[adata.obs["domain"] != "2"].copy()
            sections[s].obs["domain"] = sections[s].obs["domain"].cat.set_categories(list("12345"))
    found = tl.compare(sections, control="control", several_units=False)
    assert found.facts["model"] == "~ donor + condition"
    text = (
        "treated: genes of domain 2 are compared by ~ condition, not ~ donor + condition, because some replicates "
        "have too few spots"
    )
    assert [row["text"] for row in found.messages if "compared by" in row["text"]] == [text]
    fact = next(row for row in found.facts["expression"] if row["domain"] == "2")
    assert (fact["n_condition"], fact["n_control"]) == (2, 3)


def test_copies_of_one_section_have_nothing_significant() -> None:
    """Rounding differs between copies, and must not be taken for variation."""
    one = study(KIND(2), 0)[0]
    sections = []
    for s in range(4):
        adata = one.copy()
        adata.uns["mmsrl"]["sample"] = f"copy{s}"
        adata.obs["condition"] = ["control", "treated"][s % 2]
        sections.append(adata)
    found = tl.compare(sections, control="control", several_units=False)
    assert found.composition["p_value"].isna().all() and found.expression.empty
    assert {row["why"] for row in found.facts["expression"]} == {
        "the replicates of each condition are identical, so there is no variance to test against"
    }


def test_a_condition_of_which_one_section_is_left_is_told_of_and_not_tested() -> None:
    sections = study(KIND(6), 2)
    kept = [a for a in sections if a.obs["condition"].iloc[0] == "control"]
    kept += [a for a in sections if a.obs["condition"].iloc[0] == "treated"][:1]
    found = tl.compare(kept, control="control", several_units=False)
    assert {
        "level": "warning",
        "text": "treated is not tested: treated has 1 replicate, 2 are needed",
    } in found.messages
    assert found.composition["p_value"].isna().all() and (found.composition["n_condition"] == 1).all()
    assert all(row["n_condition"] == 1 and row["why"] for row in found.facts["expression"])


def camera_p(deviation: float, fold: float, seed: int) -> tuple[np.ndarray, float]:
    """P-values of 20 sets of 30 genes whose genes vary together, and of a set whose genes are up."""
    random = np.random.default_rng(seed)
    counts = BENCH["pseudobulks"](BENCH["NOISE"]["dispersion .05"], 8, 1_500, seed)
    for k in range(20):
        counts[:, k * 30 : (k + 1) * 30] *= np.exp(random.normal(0.0, deviation, (8, 1)))
    counts[4:, 600:630] *= fold
    found = gene_differences(np.round(counts), BENCH["arms_of"](8))
    assert not isinstance(found, str)
    names = [f"g{g}" for g in found.gene]
    sets = {f"set{k}": [f"g{g}" for g in range(k * 30, (k + 1) * 30)] for k in range(21)}
    table = camera(found.score, found.residual, names, sets)[0].set_index("gene_set")
    return table["p_value"].to_numpy()[:20], float(table.loc["set20", "p_value"])


@pytest.mark.parametrize("deviation", [0.0, 0.2, 0.4])
def test_sets_whose_genes_vary_together_are_called_no_more_often_than_they_should_be(deviation: float) -> None:
    """A test that takes genes for independent calls a third of them."""
    found = [camera_p(deviation, 1.5, seed) for seed in range(15)]
    p = np.concatenate([null for null, _ in found])
    assert (p <= 0.05).mean() <= 0.05 * 1.6
    assert np.median([planted for _, planted in found]) < 0.01


def test_few_donors_of_both_conditions_are_no_blocks() -> None:
    rows = [
        "a c d1",
        "b t d1",
        "e c d2",
        "f t d2",
        *(f"x{i} c n{i}" for i in range(3)),
        *(f"y{i} t m{i}" for i in range(3)),
    ]
    found = model(*rows)
    assert found.formula == "~ condition" and (found.n_condition, found.n_control) == (5, 5)  # type: ignore[union-attr]


def test_arms_of_unlike_size_are_warned_of() -> None:
    sections = study(KIND(8), 1)
    treated = [a for a in sections if a.obs["condition"].iloc[0] == "treated"]
    kept = [a for a in sections if a.obs["condition"].iloc[0] == "control"] + treated[:2]
    found = tl.compare(kept, control="control", several_units=False)
    assert any(m["text"].startswith("treated: 4 replicates against 2") for m in found.messages)
