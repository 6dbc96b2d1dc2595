"""A study of eight sections whose differences are known: four controls, four treated, one group."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

import anndata as ad
import pandas as pd
import planted
import pytest
from pipeline.runs import Project, Run

# Rows of the four bands in each section: half as many again of the first where it was treated, at the cost of the last.
HEIGHTS = {
    "c1": (6, 6, 6, 6),
    "c2": (5, 6, 6, 7),
    "c3": (6, 5, 7, 6),
    "c4": (6, 7, 6, 5),
    "t1": (9, 6, 6, 3),
    "t2": (10, 5, 6, 3),
    "t3": (9, 7, 5, 3),
    "t4": (8, 6, 6, 4),
}
FEW = ("c1", "c3", "t1", "t3")
RESPONSE = 3.0
SEXES = ("♀, it's `f`", '$HOME \\ "m"')
"""Free text, with what a shell would read otherwise."""
# They are of a section or a unit, whatever its condition.
OTHERS = "process { withName: 'MARKERS|TRAJECTORY|ENHANCE|FIGURES' { ext.when = false } }\n"
SETS = "responding\tplanted\t{}\nfirst band\tplanted\t{}\n"


def write_sheet(
    folder: Path,
    treated: str = "treated",
    columns: str = "condition,covariate_sex",
    samples: Iterable[str] = tuple(HEIGHTS),
) -> Path:
    rows = []
    for name in samples:
        said = {
            "condition": treated if name.startswith("t") else "ctrl",
            "covariate_sex": SEXES[name[1] in "34"],
            "covariate_batch": name[0],
        }
        row = {"sample": name, "h5ad": f"{name}.h5ad", "group": "study", "n_domains": 4}
        rows.append(row | {column: said[column] for column in columns.split(",")})
    sheet = folder / f"{treated}.csv"
    pd.DataFrame(rows).to_csv(sheet, index=False)
    return sheet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    for seed, (name, heights) in enumerate(HEIGHTS.items()):
        response = RESPONSE if name.startswith("t") else 1.0
        section = planted.section(name, seed, heights=heights, response=response)
        section.uns.clear()
        section.obs = section.obs[["array_row", "array_col"]]
        section.write_h5ad(folder / f"{name}.h5ad")
    first = [f"B1_{i}" for i in range(planted.MARKERS)]
    (folder / "quick.config").write_text(OTHERS)
    (folder / "sets.gmt").write_text(SETS.format("\t".join(planted.RESPONDING), "\t".join(first)))
    return folder


@pytest.fixture(scope="module")
def first(project: Project, data: Path) -> Run:
    return project.run("--input", write_sheet(data), "--gene_sets", data / "sets.gmt", "-c", data / "quick.config")


@pytest.fixture(scope="module")
def bands(project: Project, first: Run) -> dict[str, str]:
    """Domain to the band that most of its spots are of."""
    assert first.status == 0, first.text
    found = pd.read_csv(project.launch / "results/domains/study.domains.csv", dtype=str)
    truth = []
    for name, own in found.groupby("sample"):
        rows = own["barcode"].str.extract(rf"{name}(\d+)-1")[0].astype(int) // planted.COLUMNS
        truth.append(pd.Series(pd.cut(rows, [-1, *pd.Series(HEIGHTS[name]).cumsum() - 1], labels=list("1234"))))
    return pd.crosstab(found["domain"], pd.concat(truth)).idxmax(axis=1).to_dict()


def table(project: Project, name: str) -> pd.DataFrame:
    return pd.read_csv(project.launch / f"results/compare/study.{name}.tsv", sep="\t", dtype={"domain": str})


def test_the_shares_that_were_shifted_are_found(project: Project, bands: dict[str, str]) -> None:
    assert sorted(bands.values()) == list("1234")
    found = table(project, "composition").assign(band=lambda t: t["domain"].map(bands)).set_index("band")

    assert (found["condition"] == "treated").all() and (found["control"] == "ctrl").all()
    assert found.loc["1", "p_adjusted"] < 0.05 and found.loc["1", "odds_ratio"] > 1
    assert found.loc["4", "p_adjusted"] < 0.05 and found.loc["4", "odds_ratio"] < 1
    assert (found.loc[["2", "3"], "p_adjusted"] > 0.05).all()
    heights = pd.DataFrame(HEIGHTS).T / planted.ROWS
    for side, letter in (("condition", "t"), ("control", "c")):
        planted_share = heights[heights.index.str.startswith(letter)][0].mean()
        assert found.loc["1", f"share_{side}"] == pytest.approx(planted_share, abs=0.04)


def test_the_genes_that_were_changed_are_found_in_their_domain_alone(project: Project, bands: dict[str, str]) -> None:
    found = table(project, "expression").assign(band=lambda t: t["domain"].map(bands))
    changed = found[found["p_adjusted"] < 0.05]

    third = changed[changed["band"] == "3"]
    assert set(planted.RESPONDING) <= set(third["gene"])
    assert (third.set_index("gene").loc[list(planted.RESPONDING), "log2_fold_change"] > 1).all()
    # What rises across the section differs in a domain that lies elsewhere; of the rest few are called.
    others = changed[~changed["gene"].isin(planted.RESPONDING) & ~changed["gene"].str.startswith("rising")]
    assert len(others) <= 5
    sets = table(project, "gene_sets")
    assert set(sets.loc[sets["p_adjusted"] < 0.01, "gene_set"]) == {"responding"}


def test_what_the_samplesheet_says_is_in_every_result(project: Project, first: Run) -> None:
    results = project.launch / "results"
    for name in HEIGHTS:
        obs = ad.read_h5ad(results / f"assemble/{name}.mmsrl.h5ad").obs
        assert obs["condition"].unique().tolist() == ["treated" if name.startswith("t") else "ctrl"]
        assert obs["covariate_sex"].unique().tolist() == [SEXES[name[1] in "34"]]
        assert "donor" not in obs
    joint = ad.read_h5ad(results / "assemble/study.mmsrl.h5ad").obs
    assert joint["condition"].value_counts().to_dict() == {"ctrl": 4 * 480, "treated": 4 * 480}

    index = json.loads((results / "index.json").read_text())
    assert {own["id"]: own["condition"] for own in index["samples"]} == {
        name: "treated" if name.startswith("t") else "ctrl" for name in HEIGHTS
    }
    kinds = {file["kind"] for file in index["files"] if file["id"] == "study" and file["stage"] == "compare"}
    assert kinds == {"composition", "expression", "changed_gene_sets", "shares", "summary"}
    summary = json.loads((results / "compare/study.compare.json").read_text())["result"]
    assert (summary["conditions"], summary["model"]) == (["ctrl", "treated"], "~ sex + condition")
    html = (results / "report/mmsrl_report.html").read_text()
    assert 'id="study"' in html


def test_another_name_of_a_condition_runs_again_what_says_it_alone(project: Project, data: Path) -> None:
    whole = project.run("-stub", "--input", write_sheet(data, "placebo", samples=FEW))
    assert whole.status == 0, whole.text
    assert whole.tasks["COMPARE (study)"] == "COMPLETED"

    renamed = project.run("-stub", "-resume", "--input", write_sheet(data, "drug", samples=FEW))
    assert renamed.status == 0, renamed.text
    assert renamed.completed == {"ASSEMBLE", "COMPARE", "FIGURES", "REPORT", "INDEX"}, renamed.tasks

    turned = project.run("-stub", "-resume", "--input", data / "drug.csv", "--control", "drug")
    assert turned.status == 0, turned.text
    assert turned.completed == {"COMPARE", "REPORT"}, turned.tasks


def test_a_comparison_that_fails_costs_no_section_anything(project: Project, data: Path) -> None:
    fault = "echo 'mmsrl-compare: error: too few' > .command.err; exit 2"
    (data / "fault.config").write_text(f"process {{ withName: 'COMPARE' {{ beforeScript = \"{fault}\" }} }}\n")

    run = project.run(
        "-stub", "-resume", "--input", write_sheet(data, "dose", samples=FEW), "-c", data / "fault.config"
    )

    assert run.status == 1
    assert "The conditions could not be compared" in run.text
    assert "compare of study, exit status 2: mmsrl-compare: error: too few" in run.text
    assert [name for name, status in run.tasks.items() if status == "FAILED"] == ["COMPARE (study)"]
    assert {"ASSEMBLE", "FIGURES", "REPORT", "INDEX"} <= run.completed


def test_conditions_that_cannot_be_told_from_a_covariate_start_nothing(project: Project, data: Path) -> None:
    run = project.run("--input", write_sheet(data, columns="condition,covariate_batch"))

    assert run.status != 0
    assert not run.tasks
    assert "condition 'treated' is confounded with covariate_batch: rows 6, 7, 8, 9 have 't'" in run.text
    assert "1 problem in treated.csv" in run.text
