"""Runs that go on from the results of an earlier one, and runs that leave out what is not needed for domains."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from pipeline.runs import Project, Run

SKIPPED = ("markers", "trajectory", "enhance", "figures", "report")
UNITS = ("tiny", "tiny_hd")


@pytest.fixture(scope="module")
def earlier(project: Project, first: Run) -> Path:
    """Results of a whole run, moved away."""
    assert first.status == 0, first.text
    shutil.rmtree(project.launch / "results")
    return project.launch / "earlier [1]"


@pytest.fixture(scope="module")
def sheet(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The samplesheet of that run where the sections' own files are no more."""
    folder = tmp_path_factory.mktemp("sheet")
    rows = pd.read_csv(project.root / "tests/data/samplesheet_tiny.csv", dtype=str)
    rows["truth"] = [f"{project.root}/tests/data/{path}" if isinstance(path, str) else "" for path in rows["truth"]]
    rows.to_csv(folder / "sheet.csv", index=False)
    return folder / "sheet.csv"


def test_domains_are_those_of_a_whole_run_and_nothing_is_trained(project: Project, earlier: Path, sheet: Path) -> None:
    run = project.run("--input", sheet, "--start_from", earlier)

    assert run.status == 0, run.text
    assert not run.completed & {"INGEST", "QC", "FEATURES", "TRAIN"}
    assert run.completed >= {"DOMAINS", "MARKERS", "TRAJECTORY", "ENHANCE", "EVALUATE", "ASSEMBLE", "FIGURES", "REPORT"}
    results = project.launch / "results"
    for unit in UNITS:
        for name in (f"domains/{unit}.domains.csv", f"markers/{unit}.markers.tsv", f"assemble/{unit}.spots.csv"):
            assert (results / name).read_bytes() == (earlier / name).read_bytes(), name
        one, other = (ad.read_h5ad(folder / f"assemble/{unit}.mmsrl.h5ad") for folder in (earlier, results))
        np.testing.assert_array_equal(one.obsm["X_mmsrl"], other.obsm["X_mmsrl"])
        pd.testing.assert_frame_equal(one.obs, other.obs)
    assert (results / "evaluate/tiny.scores.csv").read_bytes() == (earlier / "evaluate/tiny.scores.csv").read_bytes()

    # What was taken lies where it was, and its summaries are in the manifest.
    folders = {file["path"].split("/")[0] for file in json.loads((results / "index.json").read_text())["files"]}
    assert not folders & {"ingest", "qc", "features", "train"}
    told = json.loads((results / "pipeline_info/manifest.json").read_text())["stages"]
    assert {"ingest", "qc", "features", "train"} <= {entry["stage"] for entry in told}


def test_domains_and_final_files_are_all_that_is_left_where_the_rest_is_skipped(
    project: Project, earlier: Path, sheet: Path
) -> None:
    (project.launch / "results").rename(project.launch / "second")
    skip = [f"--skip_{stage}" for stage in SKIPPED]
    run = project.run("--input", sheet, "--start_from", earlier, "--start_after", "qc", *skip)

    assert run.status == 0, run.text
    assert run.completed == {"FEATURES", "TRAIN", "DOMAINS", "EVALUATE", "ASSEMBLE", "INDEX"}
    assert "There is no report" not in run.text and "Report:" not in run.text
    results = project.launch / "results"
    index = json.loads((results / "index.json").read_text())
    assert {file["path"].split("/")[0] for file in index["files"]} == {
        "features", "train", "domains", "evaluate", "assemble"
    }  # fmt: skip
    for unit in UNITS:
        name = f"domains/{unit}.domains.csv"
        assert (results / name).read_bytes() == (earlier / name).read_bytes()
        final = ad.read_h5ad(results / f"assemble/{unit}.mmsrl.h5ad")
        assert final.obs["domain"].notna().all() and "pseudotime" not in final.obs


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--start_from", "nowhere"], "--start_from nowhere: no such folder; give the results of an earlier run"),
        # A URI, which the check does not look into.
        (
            ["--start_from", "file:///nowhere"],
            "--start_from file:///nowhere: 18 files are missing: ingest/tiny.ingest.json",
        ),
        (["--start_from", "{earlier}", "--n_top_genes", "50"], "--n_top_genes 50: tiny was made with nothing"),
    ],
)
def test_what_cannot_be_gone_on_from_starts_nothing(
    project: Project, earlier: Path, sheet: Path, arguments: list[str], message: str
) -> None:
    run = project.run("--input", sheet, *(argument.format(earlier=earlier) for argument in arguments))

    assert run.status != 0
    assert not run.tasks
    assert message in run.text
