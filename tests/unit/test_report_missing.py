"""Samples that were asked for and are not in the results are named with the stage where they ended, and why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from conftest import SmallRun
from report_page import make_report

from mmsrl._errors import InputError
from mmsrl.report.content import Asked, read_asked
from mmsrl.report.missing import NEEDED, WITHOUT, WITHOUT_PAGE, missing_samples

SAMPLES = [
    {"sample": "A", "unit": "A", "labelled": True},
    {"sample": "B", "unit": "pair", "labelled": False},
    {"sample": "C", "unit": "pair", "labelled": False},
]


def summaries(*left_out: tuple[str, str]) -> dict[tuple[str, str], dict]:
    """Return the summaries of a run in which all went well but for what is left out."""
    ids = {"ingest": "ABC", "qc": "ABC", "features": "ABC"}
    keys = [(stage, id) for stage in (*NEEDED, "evaluate") for id in ids.get(stage, ["A", "pair"])]
    return {key: {} for key in keys if key not in left_out}


def test_nothing_is_missing_where_all_went_well() -> None:
    assert missing_samples(Asked(SAMPLES, []), set("ABC"), set("ABC"), summaries()) == []


def test_stage_and_message_of_what_failed() -> None:
    failures = [{"stage": "qc", "id": "A", "exit": "2", "message": "no spot is left"}]
    left = summaries(*((stage, "A") for stage in (*NEEDED[1:], "evaluate")))
    (only,) = missing_samples(Asked(SAMPLES, failures), {"B", "C"}, {"B", "C"}, left)
    assert only == ("A", "qc", "was not analysed: quality control failed", "no spot is left")


def test_a_group_ends_with_the_section_that_failed() -> None:
    left = summaries(("features", "C"), *((stage, "pair") for stage in (*NEEDED[3:], "evaluate")))
    b, c = missing_samples(Asked(SAMPLES, []), {"A"}, {"A"}, left)
    assert (b.sample, b.text) == ("B", "was not analysed, because C of its group pair failed")
    assert (c.sample, c.stage, c.text) == ("C", "features", "was not analysed: image features failed")


def test_a_stage_of_the_unit_is_told_of_all_its_sections() -> None:
    failures = [{"stage": "domains", "id": "pair", "exit": "1", "message": "disk full"}]
    left = summaries(*((stage, "pair") for stage in ("domains", "assemble")))
    found = missing_samples(Asked(SAMPLES, failures), {"A"}, {"A"}, left)
    assert [(m.sample, m.stage, m.message) for m in found] == [
        ("B", "domains", "disk full"),
        ("C", "domains", "disk full"),
    ]


def test_scores_that_failed_leave_the_section_in() -> None:
    (only,) = missing_samples(Asked(SAMPLES, []), set("ABC"), set("ABC"), summaries(("evaluate", "A")))
    assert (only.sample, only.text) == ("A", "has no scores: the comparison with its labels failed")


def test_a_further_training_that_failed_is_told_and_not_what_waited_for_it() -> None:
    failures = [{"stage": "train", "id": "pair", "exit": "137", "message": "Killed"}]
    left = summaries(*((stage, "pair") for stage in (*NEEDED[NEEDED.index("domains") :], "evaluate")))
    found = missing_samples(Asked(SAMPLES, failures), {"A"}, {"A"}, left)
    assert [(m.sample, m.stage, m.text, m.message) for m in found] == [
        (sample, "train", "was not analysed: training failed", "Killed") for sample in "BC"
    ]


@pytest.mark.parametrize("stage", WITHOUT)
def test_an_optional_stage_that_failed_leaves_the_section_in(stage: str) -> None:
    failures = [{"stage": stage, "id": "pair", "exit": "1", "message": "disk full"}]
    found = missing_samples(Asked(SAMPLES, failures), set("ABC"), set("ABC"), summaries((stage, "pair")))
    assert [tuple(m) for m in found] == [(sample, stage, WITHOUT[stage], "disk full") for sample in "BC"]


def test_sections_without_a_page_are_told_with_what_the_task_said() -> None:
    failures = [{"stage": "figures", "id": "pair", "exit": "1", "message": "disk full"}]
    found = missing_samples(Asked(SAMPLES, failures), set("ABC"), {"A"}, summaries())
    assert [tuple(m) for m in found] == [(sample, "figures", WITHOUT_PAGE, "disk full") for sample in "BC"]


def test_a_comparison_that_failed_is_told_once_and_of_no_sample() -> None:
    failures = [{"stage": "compare", "id": "study", "exit": "2", "message": "two replicates are needed"}]
    found = missing_samples(Asked(SAMPLES, failures), set("ABC"), set("ABC"), summaries())
    assert [tuple(m) for m in found] == [
        (None, "compare", "has no comparison of the conditions: its stage failed", "two replicates are needed")
    ]


@pytest.mark.parametrize("content", ["[]", '{"samples": []}', '{"samples": [{"sample": "A"}], "failures": []}', "{"])
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "asked.json").write_text(content)
    with pytest.raises(InputError, match=r"^asked\.json: "):
        read_asked(tmp_path / "asked.json")


def test_report_and_manifest_name_what_is_missing(assembled_run: SmallRun) -> None:
    asked = {
        "samples": [{"sample": "lost", "unit": "lost", "labelled": False}],
        "failures": [
            {"stage": "ingest", "id": "lost", "exit": "2", "message": "sample lost: <truncated>"},
            {"stage": "compare", "id": "study", "exit": "2", "message": "too few"},
        ],
    }
    path = assembled_run.folder / "asked.json"
    path.write_text(json.dumps(asked))
    report = make_report(assembled_run, "--asked", str(path))
    text = report.html
    assert "Missing results" in text
    assert "<strong>lost</strong> was not analysed: ingest failed: <q>sample lost: &lt;truncated&gt;</q>" in text
    assert "<strong>Study</strong> has no comparison of the conditions: its stage failed: <q>too few</q>" in text
    assert [entry["sample"] for entry in report.manifest["missing"]] == ["lost", None]


def test_report_says_what_was_left_out_as_asked(assembled_run: SmallRun) -> None:
    params = {"skip_trajectory": True, "skip_figures": "true", "skip_enhance": "false", "skip_markers": None}
    path = assembled_run.folder / "skipped.json"
    path.write_text(json.dumps(params))

    report = make_report(assembled_run, "--params", str(path))

    text = " ".join(report.overview.text.split())
    assert "Skipped on request: pseudotime (--skip_trajectory), figure files (--skip_figures)." in text
    assert "Missing results" not in text
    assert report.manifest["missing"] == []
