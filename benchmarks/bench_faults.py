"""Kill tasks and the engine at every stage of a real run, and compare the results with an undisturbed run.

The benchmark runs one samplesheet three times:

1. undisturbed
2. with the first task of every stage killed (SIGKILL) once
3. with the engine killed as soon as a task of each stage runs, and restarted with ``-resume``

Results are equal if all published tables and arrays agree to the last bit and no file is missing or incomplete. Times,
file sizes and the engine's own records are ignored. Writes ``faults.json`` and ``faults.md`` to ``--output-dir``. The
exit status is 1 if anything differs.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import Any

import h5py

from mmsrl._stages import STAGES as ALL_STAGES

ROOT = Path(__file__).parents[1]
STAGES = tuple(stage for stage in ALL_STAGES if stage not in ("map", "compare", "page"))
"""Stages with tasks in a run without a reference and without conditions."""
POLL_S = 0.05
TIMED = ("seconds", "seconds_per_epoch", "date", "bytes")
"""JSON keys and table columns with times, or with sizes of files that contain times."""
EXACT = (".h5ad", ".csv", ".tsv", ".json", ".png")
"""Suffixes of files that are compared by content. All other files must exist."""


class Launch:
    """Folder of a run, and its command."""

    def __init__(self, folder: Path, sheet: Path, options: list[str]) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        self.folder = folder
        command = [ROOT / "engine/nextflow", "run", ROOT / "main.nf", "-profile", "local", "-ansi-log", "false"]
        self.command = [*map(str, command), "--input", str(sheet.resolve()), "--outdir", "results", *options]

    def start(self) -> subprocess.Popen[bytes]:
        """Start the pipeline, with ``-resume`` after an earlier run in the folder."""
        resume = ["-resume"] if (self.folder / ".nextflow").exists() else []
        with (self.folder / "run.log").open("ab") as log:
            return subprocess.Popen([*self.command, *resume], cwd=self.folder, stdout=log, stderr=log)

    def processes(self, stage: str) -> list[int]:
        """Return the process ids that run the command of a stage in a task folder."""
        work, pids = str((self.folder / "work").resolve()), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and os.readlink(entry / "cwd").startswith(work):
                    words = (entry / "cmdline").read_bytes().split(b"\0")
                    if any(Path(word.decode(errors="replace")).name == f"mmsrl-{stage}" for word in words):
                        pids.append(int(entry.name))
            except OSError:  # the process has just ended, or belongs to another user
                continue
        return pids

    def attempts(self) -> Counter[str]:
        """Return the number of completed, cached and failed tasks of the last run."""
        with (self.folder / "results/pipeline_info/execution_trace.txt").open(newline="") as handle:
            return Counter(row["status"] for row in csv.DictReader(handle, delimiter="\t"))


def undisturbed(launch: Launch) -> dict[str, Any]:
    """Run the pipeline to the end."""
    status = launch.start().wait()
    return {"what": "nothing", "starts": 1, "killed": [], "status": status, "tasks": launch.attempts()}


def kill_tasks(launch: Launch) -> dict[str, Any]:
    """Kill the first task of every stage once, while the engine continues."""
    engine, killed = launch.start(), []
    while engine.poll() is None:
        for stage in (stage for stage in STAGES if stage not in killed):
            running = launch.processes(stage)
            if running:
                os.kill(running[0], signal.SIGKILL)
                killed.append(stage)
        time.sleep(POLL_S)
    return {"what": "a task", "starts": 1, "killed": killed, "status": engine.returncode, "tasks": launch.attempts()}


def kill_engine(launch: Launch) -> dict[str, Any]:
    """Kill the engine when a task of each stage runs, and restart it with ``-resume``."""
    engine, killed, starts = launch.start(), [], 1
    while engine.poll() is None:
        for stage in (stage for stage in STAGES if stage not in killed):
            if launch.processes(stage):
                engine.kill()
                engine.wait()
                killed.append(stage)
                engine, starts = launch.start(), starts + 1
                break
        time.sleep(POLL_S)
    status = engine.returncode
    return {"what": "the engine", "starts": starts, "killed": killed, "status": status, "tasks": launch.attempts()}


def contents(results: Path) -> dict[str, str]:
    """Return a checksum of the content of each published file, without the pipeline's own records."""
    files = [path for path in results.rglob("*") if path.is_file() and path.parent.name != "pipeline_info"]
    return {str(path.relative_to(results)): content(path) for path in sorted(files)}


def content(path: Path) -> str:
    """Return a checksum of a file without times, or ``there`` if its bytes are not reproducible."""
    if path.stat().st_size == 0:
        return "empty"
    if path.suffix not in EXACT:
        return "there"
    digest = hashlib.sha256()
    if path.suffix == ".h5ad":
        with h5py.File(path, "r") as file:
            file.visititems(lambda name, item: digest.update(name.encode() + repr(dataset(item)).encode()))
    elif path.suffix == ".json":
        digest.update(json.dumps(untimed(json.loads(path.read_text())), sort_keys=True).encode())
    elif path.suffix in (".csv", ".tsv"):
        with path.open(newline="") as handle:
            rows = csv.DictReader(handle, delimiter="\t" if path.suffix == ".tsv" else ",")
            digest.update(json.dumps([untimed(row) for row in rows]).encode())
    else:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def dataset(item: h5py.Group | h5py.Dataset) -> Any:
    """Return the values of a dataset, or ``None`` for a group."""
    if not isinstance(item, h5py.Dataset):
        return None
    values = item[()]
    return values.tolist() if hasattr(values, "tolist") else values


def untimed(value: Any) -> Any:
    """Remove the keys in :data:`TIMED` at any depth."""
    if isinstance(value, dict):
        return {key: untimed(item) for key, item in value.items() if key not in TIMED}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as a Markdown table."""
    lines = [
        f"{result['date']}, {result['cores']} cores, load {result['load']:.1f}.",
        "",
        "| killed | at | starts | tasks of the last run | exit status | files that differ |",
        "|---|---|---|---|---|---|",
    ]
    for run in result["runs"]:
        tasks = ", ".join(f"{count} {status.lower()}" for status, count in run["tasks"].items())
        lines.append(
            f"| {run['what']} | {', '.join(run['killed']) or '–'} | {run['starts']} | {tasks} | {run['status']} | "
            f"{len(run['differ'])} of {run['files']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, default=ROOT / "tests/data/samplesheet_tiny.csv", help="samplesheet")
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks"))
    parser.add_argument("options", nargs="*", default=[], help="options of the pipeline, after --")
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)

    load, runs, expected = os.getloadavg()[0], [], {}
    for name, disturb in (("undisturbed", undisturbed), ("tasks", kill_tasks), ("engine", kill_engine)):
        launch = Launch(arguments.output_dir / "faults" / name, arguments.input, arguments.options)
        run = disturb(launch)
        checksums = contents(launch.folder / "results")
        expected = expected or checksums
        run["files"] = len(expected)
        run["differ"] = [
            name for name in expected.keys() | checksums.keys() if expected.get(name) != checksums.get(name)
        ]
        runs.append(run)
    result = {"date": date.today().isoformat(), "cores": os.cpu_count(), "load": load, "runs": runs}
    (arguments.output_dir / "faults.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output_dir / "faults.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))
    missed = [f"{run['what']} at {stage}" for run in runs[1:] for stage in STAGES if stage not in run["killed"]]
    differ = [f"{run['what']}: {name}" for run in runs for name in run["differ"]]
    failed = [f"{run['what']}: exit status {run['status']}" for run in runs if run["status"]]
    sys.exit(
        "\n".join([*failed, *(f"not killed: {one}" for one in missed), *(f"differs: {one}" for one in differ)]) or 0
    )


if __name__ == "__main__":
    main()
