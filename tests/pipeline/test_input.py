"""What is wrong with a samplesheet or a parameter is said before any task starts."""

from __future__ import annotations

import functools
import os
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pipeline.runs import Project

# What each fault says is tested without the engine (tests/bad_input); here, that nothing starts.
SHEETS: dict[str, tuple[str, list[str]]] = {
    "misspelt_column": ("sample,spaceranger_dirs\ntiny,{data}/tiny\n", ["spaceranger_dirs", "spaceranger_dir"]),
    "empty_file": ("", ["empty"]),
    "missing_folder": ("sample,spaceranger_dir\ntiny,{data}/tinny\n", ["row 2", "tinny"]),
}


@pytest.mark.parametrize("name", SHEETS)
def test_wrong_samplesheet_starts_nothing(project: Project, tmp_path: Path, name: str) -> None:
    text, expected = SHEETS[name]
    sheet = tmp_path / f"{name}.csv"
    sheet.write_text(text.format(data=project.root / "tests/data"))

    run = project.run("--input", sheet)

    assert run.status != 0
    assert not run.tasks
    assert f"{name}.csv" in run.text
    for part in expected:
        assert part in run.text
    assert "Traceback" not in run.text


def test_misspelt_parameter_starts_nothing(project: Project) -> None:
    run = project.run("--prest", "mmsrl")

    assert run.status != 0
    assert not run.tasks
    assert "--preset" in run.text


def test_all_faults_are_said_in_one_go(project: Project, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.csv"
    sheet.write_text(f"sample,spaceranger_dir,n_domains\na b,{os.devnull}x,7\ntiny,{project.root}/tests/data/tiny,0\n")

    run = project.run("--input", sheet, "--epochs", "0")

    assert run.status != 0
    for part in ("--epochs", "a b", "row 2", "row 3", "n_domains"):
        assert part in run.text


def test_remote_samplesheet_is_checked_by_a_task(project: Project, tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text(
        f"sample,spaceranger_dir,n_domains\ntiny,{project.root}/tests/data/tiny,seven\n"
    )
    handler = functools.partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        run = project.run("--input", f"http://127.0.0.1:{server.server_port}/sheet.csv")
        server.shutdown()

    assert run.status != 0
    assert set(run.tasks.values()) == {"FAILED"}, run.text
    for part in ("sheet.csv", "row 2", "n_domains", "seven"):
        assert part in run.text


def test_help_lists_the_parameters_and_runs_nothing(project: Project) -> None:
    run = project.run("--help")

    assert run.status == 0, run.text
    assert not run.tasks
    for part in ("--input", "--preset", "default, mmsrl, stmmr", "--n_top_genes"):
        assert part in run.text


def test_odd_names_and_links_in_circles(project: Project, tmp_path: Path) -> None:
    """What the shell could read otherwise, and two links that lead back to their own folder."""
    folder = tmp_path / "dätä 'q' [1] {a} (b)&c;d"
    section = folder / "sëction [2] 'x'"
    shutil.copytree(project.root / "tests/data/tiny", section)
    (section / "back").symlink_to("..")
    (section / "again").symlink_to(section)
    (section / "lost").symlink_to("/gone")
    sheet = folder / "sheet [1].csv"
    sheet.write_text(f"sample,spaceranger_dir\ntiny,{section.name}\n")
    outdir = tmp_path / "öut $x 'q' [x] {y,z} *"

    run = project.run("--input", sheet, "--outdir", outdir, "-stub-run")

    assert run.status == 0, run.text
    assert (outdir / "report/mmsrl_report.html").exists()
