"""Sections that fail, tasks that lack memory, and a killed engine: what is lost and what is not. Stub runs."""

from __future__ import annotations

import csv
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import planted
import pytest
from pipeline.runs import ROOT, Project

from mmsrl.train.files import write_model

SHEET = """\
sample,spaceranger_dir,truth,group
good,{data},{data}/truth.csv,
bad,{data},,
mate1,{data},,pair
mate2,{data},,pair
"""
TRACE = """\
trace.fields = 'hash,name,status,exit,attempt,memory'
process.resourceLimits = [cpus: 1, memory: 9.GB]
"""
FAIL = """\
process {
    withName: 'QC' {
        beforeScript = {
            meta.id in ['bad', 'mate2'] ? "echo 'mmsrl-qc: error: no spot is left' > .command.err; exit 2" : ''
        }
    }
}
"""
STARVE = """\
process {
    withName: 'QC' {
        beforeScript = { meta.id == 'good' && task.attempt < 3 ? 'exit 137' : meta.id == 'bad' ? 'exit 137' : '' }
    }
}
"""
WAIT = "process { withName: 'DOMAINS' { beforeScript = 'sleep 20' } }\n"


@pytest.fixture
def arguments(project: Project, tmp_path: Path) -> list[str | Path]:
    (tmp_path / "sheet.csv").write_text(SHEET.format(data=project.root / "tests/data/tiny"))
    return ["-stub", "-c", tmp_path / "fault.config", "--input", tmp_path / "sheet.csv"] + [
        "--outdir",
        tmp_path / "results",
    ]


def configure(folder: Path, fault: str) -> None:
    (folder / "fault.config").write_text(TRACE + fault)


def trace(folder: Path) -> Path:
    return folder / "results/pipeline_info/execution_trace.txt"


def tasks(folder: Path) -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield process, tag and row of every attempt of the last run."""
    with trace(folder).open(newline="") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            process, _, tag = row["name"].split(":")[-1].partition(" ")
            yield process, tag.strip("()"), row


def assembled(folder: Path) -> set[str]:
    return {tag for process, tag, row in tasks(folder) if process == "ASSEMBLE" and row["status"] != "FAILED"}


def test_a_section_that_fails_ends_itself_and_its_group_alone(
    project: Project, tmp_path: Path, arguments: list[str | Path]
) -> None:
    configure(tmp_path, FAIL)

    run = project.run(*arguments)

    assert run.status == 1, run.text
    assert assembled(tmp_path) == {"good"}
    assert "qc of bad, exit status 2: mmsrl-qc: error: no spot is left" in run.text
    assert "Not all sections could be analysed" in run.text
    assert (tmp_path / "results/report/mmsrl_report.html").exists()
    assert [row["status"] for process, _, row in tasks(tmp_path) if process == "REPORT"] == ["COMPLETED"]

    configure(tmp_path, "")
    mended = project.run(*arguments, "-resume")

    assert mended.status == 0, mended.text
    assert assembled(tmp_path) == {"good", "bad", "pair"}
    again = {tag for process, tag, row in tasks(tmp_path) if row["status"] == "COMPLETED" and process == "TRAIN"}
    assert again == {"bad", "pair"}


OPTIONAL = ("markers", "trajectory", "enhance", "evaluate", "figures", "map")
"""Stages of sections and units that leave them their domains; one more compares conditions."""


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    """As much of a reference as the check looks at."""
    folder = tmp_path / "reference"
    for stage in ("train", "domains", "qc"):
        (folder / stage).mkdir(parents=True)
    section = planted.section("R")
    section.write_h5ad(folder / "qc/R.qc.h5ad")
    (folder / "domains/R.domains.csv").write_text(planted.domains_csv(section))
    write_model(folder / "train/R.model.npz", {"preset": "default", "settings": {}, "genes": [], "state": {}})
    return folder


def test_an_optional_stage_that_fails_costs_no_section_its_domains(
    project: Project, tmp_path: Path, arguments: list[str | Path], reference: Path
) -> None:
    data = project.root / "tests/data/tiny"
    rows = [f"no_{stage},{data},{data}/truth.csv,{'ab'[i % 2]}\n" for i, stage in enumerate(OPTIONAL)]
    (tmp_path / "sheet.csv").write_text("sample,spaceranger_dir,truth,condition\n" + "".join(rows))
    say = "echo 'mmsrl: error: disk full' > .command.err; exit 2"
    faults = [
        f"withName: '{stage.upper()}' {{ beforeScript = {{ meta.id == 'no_{stage}' ? \"{say}\" : '' }} }}\n"
        for stage in OPTIONAL
    ]
    configure(tmp_path, f"process {{\n{''.join(faults)}withName: 'COMPARE' {{ beforeScript = \"{say}\" }}\n}}\n")

    run = project.run(*arguments, "--reference", reference)

    assert run.status == 1, run.text
    assert assembled(tmp_path) == {f"no_{stage}" for stage in OPTIONAL}
    for stage in OPTIONAL:
        assert f"{stage} of no_{stage}, exit status 2: mmsrl: error: disk full" in run.text
    assert "compare of study, exit status 2: mmsrl: error: disk full" in run.text
    assert (tmp_path / "results/report/mmsrl_report.html").exists()


def test_a_section_that_fails_stops_the_run_where_that_is_asked_for(
    project: Project, tmp_path: Path, arguments: list[str | Path]
) -> None:
    configure(tmp_path, FAIL)

    run = project.run(*arguments, "--on_sample_error", "stop")

    assert run.status == 1
    assert "Error executing process" in run.text
    assert not assembled(tmp_path)


def test_want_of_memory_is_met_with_more_and_then_given_up(
    project: Project, tmp_path: Path, arguments: list[str | Path]
) -> None:
    configure(tmp_path, STARVE)

    run = project.run(*arguments)

    assert run.status == 1, run.text
    memory = {
        sample: [row["memory"] for process, tag, row in tasks(tmp_path) if (process, tag) == ("QC", sample)]
        for sample in ("good", "bad")
    }
    assert memory == dict.fromkeys(("good", "bad"), ["2 GB", "4 GB", "6 GB"])
    assert assembled(tmp_path) == {"good", "pair"}


def test_a_killed_engine_loses_no_task_that_had_ended(
    project: Project, tmp_path: Path, arguments: list[str | Path]
) -> None:
    configure(tmp_path, WAIT)
    command = [ROOT / "engine/nextflow", "-q", "run", project.root / "main.nf", "-profile", "local,test"]
    command += ["-ansi-log", "false", *arguments]
    engine = subprocess.Popen(
        [*map(str, command)], cwd=project.launch, env={**os.environ, "PYTHONPATH": str(project.root / "src")}
    )
    trained: set[str] = set()
    while len(trained) < 3 and engine.poll() is None:
        time.sleep(0.2)
        if trace(tmp_path).exists():
            trained = {row["hash"] for process, _, row in tasks(tmp_path) if process == "TRAIN"}
    engine.kill()
    engine.wait()
    assert len(trained) == 3

    configure(tmp_path, "")
    run = project.run(*arguments, "-resume")

    assert run.status == 0, run.text
    assert {row["hash"] for process, _, row in tasks(tmp_path) if process == "TRAIN"} == trained
    assert assembled(tmp_path) == {"good", "bad", "pair"}
    assert not [path for path in (tmp_path / "results").rglob(".*") if path.is_file()]
