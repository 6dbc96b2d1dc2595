"""Whole runs of the pipeline through the real engine, in a copy of the project."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PARTS = (
    "main.nf",
    "nextflow.config",
    "nextflow_schema.json",
    "assets",
    "bin",
    "conf",
    "modules",
    "subworkflows",
    "workflows",
)


@dataclass
class Run:
    """A finished run: exit status, everything it printed, and its tasks."""

    status: int
    text: str
    tasks: dict[str, str]
    """Task name (``QC (tiny)``) to status (``COMPLETED``, ``CACHED``, ``FAILED``)."""


@dataclass
class Project:
    """A copy of the pipeline and the core that a test may edit, and a folder to launch from."""

    root: Path
    launch: Path

    def run(self, *arguments: str | Path, profile: str = "local,test") -> Run:
        outdir = self.launch / "results"
        command = [
            ROOT / "engine/nextflow",
            "-q",
            "run",
            self.root / "main.nf",
            "-profile",
            profile,
            "-ansi-log",
            "false",
        ]
        done = subprocess.run(
            [*map(str, command), "--outdir", str(outdir), *map(str, arguments)],
            cwd=self.launch,
            # The copy of the core comes before the installed one.
            env={**os.environ, "PYTHONPATH": str(self.root / "src")},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )
        return Run(done.returncode, done.stdout, _tasks(outdir / "pipeline_info/execution_trace.txt"))


def _tasks(trace: Path) -> dict[str, str]:
    if not trace.exists():
        return {}
    with trace.open(newline="") as handle:
        tasks = {row["name"].split(":")[-1]: row["status"] for row in csv.DictReader(handle, delimiter="\t")}
    trace.unlink()  # the next run in the same folder starts from nothing
    return tasks


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project")
    for part in PARTS:
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, root / part)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests/data", root / "tests/data")
    (root / ".venv").symlink_to(ROOT / ".venv")
    return Project(root, tmp_path_factory.mktemp("launch"))
