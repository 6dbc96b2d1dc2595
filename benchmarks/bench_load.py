"""Measure the load of large runs: time, memory of the engine, and tasks.

Without ``--input``, the pipeline runs ``--samples`` sections as stubs. Every task goes through the engine and makes
empty files. The benchmark then measures the engine, the workflow and the publishing. With ``--input SAMPLESHEET``, its
sections run with real computations. The report contains time and memory of the engine, and the number of tasks,
attempts, time and memory by process. Results go to ``load_stub.json`` or ``load_real.json``, and ``.md``, in
``--output-dir``.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter, defaultdict
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
SECTION = ROOT / "tests/data/tiny"
POLL_S = 0.5

TRACE = """
trace {
    raw    = true
    fields = 'name,status,exit,attempt,realtime,%cpu,peak_rss'
}
"""
STUB = """
process.resourceLimits = [cpus: 1, memory: 200.MB, time: 1.h]
executor {
    cpus      = 8
    memory    = 8.GB
    queueSize = 8
}
"""


def samplesheet(path: Path, samples: int) -> Path:
    """Write a samplesheet with one labelled section under ``samples`` names."""
    rows = [f"S{number:04d},{SECTION},{SECTION / 'truth.csv'},4" for number in range(1, samples + 1)]
    path.write_text("\n".join(["sample,spaceranger_dir,truth,n_domains", *rows]) + "\n", encoding="utf-8")
    return path


def run(sheet: Path, folder: Path, config: str, arguments: list[str]) -> dict[str, Any]:
    """Run the pipeline in ``folder``, and return its exit status, time and the memory of the engine."""
    (folder / "bench.config").write_text(config, encoding="utf-8")
    command = [ROOT / "engine/nextflow", "run", ROOT / "main.nf", "-profile", "local", "-c", "bench.config"]
    command += ["--input", sheet.resolve(), "--outdir", "results", *arguments]
    start, peak = time.monotonic(), 0
    load = os.getloadavg()[0]
    with (folder / "run.log").open("w", encoding="utf-8") as log:
        engine = subprocess.Popen([*map(str, command)], cwd=folder, stdout=log, stderr=subprocess.STDOUT)
        while engine.poll() is None:
            peak = max(peak, peak_memory(engine.pid))
            time.sleep(POLL_S)
    return {
        "status": engine.returncode,
        "seconds": time.monotonic() - start,
        "engine_peak_bytes": peak,
        "load_before": load,
        "load_after": os.getloadavg()[2],
    }


def peak_memory(pid: int) -> int:
    """Return the peak memory in bytes of the Java process ``pid`` or of its descendants."""
    try:
        fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:  # the process has just ended
        return 0
    if fields["Name"].strip() == "java":
        return int(fields["VmHWM"].split()[0]) * 1024 if "VmHWM" in fields else 0
    return max((peak_memory(int(child)) for child in children), default=0)


def tasks(trace: Path) -> dict[str, Any]:
    """Return time and memory of the tasks by process, and the status of all tasks."""
    by_process: dict[str, list[dict[str, str]]] = defaultdict(list)
    with trace.open(newline="", encoding="utf-8") as handle:
        for row in csv.DictReader(handle, delimiter="\t"):
            by_process[row["name"].split(" ")[0].rpartition(":")[2]].append(row)
    rows = [row for process in by_process.values() for row in process]
    return {
        "status": Counter(row["status"] for row in rows),
        "cpu_seconds": sum(cpu_seconds(row) for row in rows),
        "processes": {
            name: {
                "tasks": len(tasks_of_process),
                "attempts_most": max(int(row["attempt"]) for row in tasks_of_process),
                "seconds_median": median(number(row["realtime"]) for row in tasks_of_process) / 1000,
                "seconds_most": max(number(row["realtime"]) for row in tasks_of_process) / 1000,
                "peak_bytes": max(number(row["peak_rss"]) for row in tasks_of_process),
            }
            for name, tasks_of_process in by_process.items()
        },
    }


def cpu_seconds(row: dict[str, str]) -> float:
    """Return the CPU seconds of a task."""
    return number(row["realtime"]) / 1000 * number(row["%cpu"]) / 100


def number(text: str) -> float:
    """Return a number of the trace; 0 for tasks too short for a measurement."""
    return 0.0 if text in ("-", "") else float(text)


def published(folder: Path) -> dict[str, int]:
    """Return the number and total bytes of published files."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {"files": len(files), "bytes": sum(path.stat().st_size for path in files)}


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as text and a Markdown table."""
    engine, trace = result["run"], result["tasks"]
    counted = ", ".join(f"{n:,} {status.lower()}" for status, n in trace["status"].items())
    lines = [
        f"{result['date']}, {result['cores']} cores, load {engine['load_before']:.1f} before and "
        f"{engine['load_after']:.1f} in the last 15 minutes: {result['samples']} sections, exit status "
        f"{engine['status']}; {sum(trace['status'].values()):,} tasks ({counted}) in {engine['seconds'] / 60:.1f} min, "
        f"{trace['cpu_seconds'] / 60:.1f} min of CPU time in tasks; peak memory of the engine "
        f"{engine['engine_peak_bytes'] / 2**30:.2f} GiB; "
        f"{result['published']['files']:,} files published, {result['published']['bytes'] / 2**20:,.0f} MiB.",
        "",
        "| process | tasks | most attempts | median s | most s | peak GiB |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {row['tasks']:,} | {row['attempts_most']} | {row['seconds_median']:.1f} | "
        f"{row['seconds_most']:.1f} | {row['peak_bytes'] / 2**30:.2f} |"
        for name, row in trace["processes"].items()
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="samplesheet to run with real computations")
    parser.add_argument("--samples", type=int, default=500, help="number of sections of the stub run")
    parser.add_argument("--work-dir", type=Path, help="folder of the run; default: in --output-dir")
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks"))
    arguments = parser.parse_args()

    kind = "real" if arguments.input else "stub"
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    folder = arguments.work_dir or arguments.output_dir / f"load_{kind}"
    folder.mkdir(parents=True, exist_ok=True)
    options = []
    if arguments.input:
        sheet, config = arguments.input, TRACE
    else:
        sheet, config = samplesheet(folder / "samplesheet.csv", arguments.samples), TRACE + STUB
        options = ["-stub"]

    measured = run(sheet, folder, config, options)
    trace = folder / "results/pipeline_info/execution_trace.txt"
    if not trace.exists():
        sys.exit((folder / "run.log").read_text(encoding="utf-8"))
    done = tasks(trace)
    result = {
        "date": date.today().isoformat(),
        "machine": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "samples": done["processes"]["INGEST"]["tasks"],
        "run": measured,
        "tasks": done,
        "published": published(folder / "results"),
    }
    text = as_markdown(result)
    (arguments.output_dir / f"load_{kind}.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output_dir / f"load_{kind}.md").write_text(text, encoding="utf-8")
    print(text)
    sys.exit(measured["status"])


if __name__ == "__main__":
    main()
