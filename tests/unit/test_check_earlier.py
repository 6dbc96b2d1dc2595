"""What an earlier run lacks, or did otherwise, is said before anything is computed."""

from __future__ import annotations

import json
from pathlib import Path

import planted
import pytest
from click.testing import CliRunner, Result

from mmsrl._files import write_summary
from mmsrl.check.cli import main

PROJECT = Path(__file__).parents[2]
SHEET = "sample,h5ad,group,truth\na,gone/a.h5ad,pair,\nb,gone/b.h5ad,pair,\nc,gone/c.h5ad,,\n"
UNITS = {"pair": ["a", "b"], "c": ["c"]}
TRAINED = {"preset": "default", "batch_correction": True, "n_top_genes": None, "kernel_width": 2.0, "seed": 0}


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """Results of a run of three sections, two of them trained together."""
    folder = tmp_path / "earlier"
    for stage in ("ingest", "qc", "features", "train"):
        (folder / stage).mkdir(parents=True)
    for sample in ("a", "b", "c"):
        planted.section(sample).write_h5ad(folder / f"qc/{sample}.qc.h5ad")
        (folder / f"features/{sample}.features.h5ad").touch()
        for stage, own in {"ingest": {}, "qc": {"min_counts": 5, "nmads": None}, "features": {"tile_um": None}}.items():
            write_summary(folder / stage, stage, sample, parameters=own, result={})
    for unit, samples in UNITS.items():
        for ending in ("embedding.h5ad", "training.tsv", "model.npz"):
            (folder / f"train/{unit}.{ending}").touch()
        result = {"samples": dict.fromkeys(samples, 480)}
        write_summary(folder / "train", "train", unit, parameters=TRAINED, result=result)
    return folder


def check(earlier: Path, sheet: str = SHEET, *more: str, **given: object) -> Result:
    here = earlier.parent
    (here / "sheet.csv").write_text(sheet)
    params = {"input": "sheet.csv", "outdir": "out", "start_from": str(earlier)} | given
    (here / "params.json").write_text(json.dumps(params))
    options = {"input": here / "sheet.csv", "params": here / "params.json", "schema-dir": PROJECT}
    arguments = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return CliRunner().invoke(main, [*arguments, "--output", str(here / "plan.json"), *more])


def plan(earlier: Path) -> dict:
    return json.loads((earlier.parent / "plan.json").read_text())


@pytest.mark.parametrize("after", ["qc", None])
def test_files_of_sections_need_not_be_there_any_more(earlier: Path, after: str | None) -> None:
    result = check(earlier, start_after=after)

    assert result.exit_code == 0, result.output
    assert plan(earlier)["start_after"] == (after or "train")
    assert [sample["h5ad"] for sample in plan(earlier)["samples"]] == [None] * 3


def test_plan_lists_the_files_of_sections_and_units(earlier: Path) -> None:
    assert check(earlier).exit_code == 0
    files = {file["path"]: file for file in plan(earlier)["earlier"]}
    assert files["train/pair.model.npz"] == {
        "path": "train/pair.model.npz",
        "ending": "model.npz",
        "required": True,
        "id": "pair",
        "samples": ["a", "b"],
    }
    assert {path for path, file in files.items() if not file["required"]} == {
        path for s in "abc" for path in (f"ingest/{s}.outlines.parquet", f"features/{s}.tiles.tif")
    }
    assert {path for path, file in files.items() if file["required"]} == {
        str(path.relative_to(earlier)) for path in earlier.rglob("*.*")
    }

    assert check(earlier, start_after="qc").exit_code == 0
    assert {file["path"].split("/")[0] for file in plan(earlier)["earlier"]} == {"ingest", "qc"}


def test_without_an_earlier_run_they_have_to(earlier: Path) -> None:
    result = check(earlier, start_from=None)

    assert result.exit_code == 2
    assert "3 problems in sheet.csv" in result.output


def test_images_are_read_where_they_are_described_again(earlier: Path) -> None:
    sheet = "sample,h5ad,image,group\na,gone.h5ad,x.tif,pair\nb,gone.h5ad,,pair\nc,gone.h5ad,,\n"

    assert check(earlier, sheet).exit_code == 0
    again = check(earlier, sheet, start_after="qc")
    assert again.exit_code == 2 and "column image, value 'x.tif': does not exist" in again.output


def test_labels_are_read_always(earlier: Path) -> None:
    result = check(earlier, SHEET.replace("c.h5ad,,", "c.h5ad,,lost.csv"))

    assert result.exit_code == 2
    assert "column truth, value 'lost.csv': does not exist" in result.output


@pytest.mark.parametrize(
    ("sheet", "given", "message"),
    [
        (SHEET, {"start_from": "nowhere"}, "--start_from nowhere: no such folder; give the results of an earlier run"),
        (SHEET + "d,d.h5ad,,\n", {}, "it has no sample d; it has a, b, c"),
        (SHEET.replace("pair", "both"), {}, "it has no unit both; it has c, pair"),
        (
            SHEET.replace("a,gone/a.h5ad,pair,\n", "").replace("c.h5ad,,", "c.h5ad,pair,"),
            {},
            "unit pair was trained on a, b",
        ),
        (SHEET, {"kernel_width": 1.5}, "--kernel_width 1.5: pair was made with 2.0, and train is not run again"),
        (SHEET, {"min_counts": 7}, "--min_counts 7: a was made with 5, and qc is not run again"),
        (SHEET, {"min_counts": 7, "start_after": "qc"}, "--min_counts 7: a was made with 5, and qc is not run again"),
        (SHEET, {"batch_correction": False}, "--batch_correction false: pair was made with true"),
        (SHEET, {"preset": "mmsrl", "n_seeds": 3}, "--n_seeds 3: results hold only the first training of a unit"),
        (SHEET, {"start_from": None, "start_after": "qc"}, "--start_after is for --start_from"),
    ],
)
def test_what_does_not_fit_is_named(earlier: Path, sheet: str, given: dict[str, object], message: str) -> None:
    result = check(earlier, sheet, **given)

    assert result.exit_code == 2
    assert message in result.output
    assert not (earlier.parent / "plan.json").exists()


@pytest.mark.parametrize(
    "given",
    [
        {"min_counts": 5, "kernel_width": 2.0},
        {"kernel_width": 1.5, "start_after": "qc"},
        {"seed": 3, "readout": "kmeans", "root": "gene:B1_0"},
    ],
)
def test_what_fits_or_is_still_run_may_be_given(earlier: Path, given: dict[str, object]) -> None:
    result = check(earlier, **given)

    assert result.exit_code == 0, result.output


def test_a_folder_of_something_else_and_parts_of_results_are_named(earlier: Path) -> None:
    other = check(earlier, start_from=str(earlier / "train"))
    assert "it has no qc/<sample>.qc.h5ad; give the results of a run of mmsrl" in other.output

    (earlier / "train/pair.model.npz").unlink()
    (earlier / "ingest/c.ingest.json").unlink()
    part = check(earlier)
    assert "ingest/c.ingest.json, train/pair.model.npz is missing; copy the results whole" in part.output

    (earlier / "qc/b.qc.h5ad").write_bytes(b"no HDF5")
    assert "ingest/c.ingest.json is missing" in check(earlier, start_after="qc").output
    write_summary(earlier / "ingest", "ingest", "c", parameters={}, result={})
    assert "b.qc.h5ad: not HDF5, or truncated" in check(earlier, start_after="qc").output


def test_where_the_folder_cannot_be_seen_the_workflow_says_it(earlier: Path) -> None:
    result = check(earlier, SHEET, "--no-check-files", start_from="s3://bucket/results")

    assert result.exit_code == 0, result.output
    assert plan(earlier)["start_from"] == "s3://bucket/results"


def test_what_is_skipped_is_not_asked_for(earlier: Path) -> None:
    result = check(earlier, skip_enhance=True, enhanced_genes="MBP")

    assert result.exit_code == 2
    assert "--enhanced_genes requests de-noised expression, but --skip_enhance skips it: leave one out" in result.output
    assert check(earlier, skip_trajectory=True, root="gene:B1_0").exit_code == 0


def test_of_several_trainings_one_is_not_taken_without_a_word(earlier: Path) -> None:
    (earlier / "domains").mkdir()
    own = json.loads((earlier / "train/c.train.json").read_text())
    (earlier / "train/c.train.json").write_text(json.dumps(own | {"parameters": {**TRAINED, "preset": "stmmr"}}))
    for unit, members in {"pair": 2, "c": 5}.items():  # the ensemble of the default comes from one training
        write_summary(earlier / "domains", "domains", unit, parameters={}, result={"members": members})

    result = check(earlier, preset="stmmr")

    assert result.exit_code == 2
    assert "unit c was trained 5 times (--n_seeds)" in result.output
    assert "unit pair was trained" not in result.output
    assert check(earlier, preset="stmmr", start_after="qc").exit_code == 0
