"""A copy of the project that tests run through the real engine and may edit."""

from __future__ import annotations

import csv
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

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

    @property
    def completed(self) -> set[str]:
        """Processes with a completed task, which was not cached."""
        return {name.split(" ")[0] for name, status in self.tasks.items() if status == "COMPLETED"}


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
