"""Measure the report of a cohort: memory of ``mmsrl-report``, file size, and time until a browser has opened it.

``mmsrl-page`` writes pages and cards for the sections of a published run (``--results``, such as the demo's). They and
the summaries of their stages are copied under new names up to ``--sections`` sections. ``mmsrl-report`` then runs in a
separate process. A headless Chromium opens the overview if it is on PATH. Results go to ``cohort.json`` and
``cohort.md`` in ``--output-dir``, next to the report.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

from bench_report import measured, megabytes

BIN = Path(sys.executable).parent
TESTS = Path(__file__).parents[1] / "tests"
OPTIONS = {
    "assembled": "assembled",
    "training_log": "training",
    "enhanced_genes": "evidence",
    "enhanced": "enhanced",
    "scores": "scores",
    "pictures": "tiles",
    "summary": "summaries",
}
"""Option of ``mmsrl-page`` by the kind of file in ``index.json``."""


def files_of(index: dict[str, Any], unit: dict[str, Any], kind: str) -> list[str]:
    """Return the files of a kind for a unit and its samples, without the assembled file of a group."""
    ids = {*unit["samples"], unit["id"]} - ({unit["id"]} - set(unit["samples"]) if kind == "assembled" else set())
    return [
        file["path"]
        for file in index["files"]
        if file["kind"] == kind and file["id"] in ids and file["stage"] != "figures"
    ]


def write_pages(results: Path, index: dict[str, Any], unit: dict[str, Any], folder: Path) -> dict[str, float]:
    """Write pages and cards of a unit, and return time and peak memory."""
    line = [str(BIN / "mmsrl-page"), "--id", unit["id"], "--output-dir", str(folder)]
    for kind, option in OPTIONS.items():
        for path in files_of(index, unit, kind):
            line += [f"--{option}", str(results / path)]
    return measured(line)


def renamed(results: Path, index: dict[str, Any], pages: Path, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of cards and summaries of renamed copies of all units, up to ``number`` sections."""
    copy = 0
    while True:
        copy += 1
        for unit in index["units"]:
            new_ids = {name: f"{name}-{copy:02d}" for name in (unit["id"], *unit["samples"])}
            for path in files_of(index, unit, "summary"):
                summary = json.loads((results / path).read_text(encoding="utf-8"))
                yield f"{new_ids[summary['id']]}.{summary['stage']}.json", summary | {"id": new_ids[summary["id"]]}
            for sample in unit["samples"]:
                card = json.loads((pages / f"{sample}.card.json").read_text(encoding="utf-8"))
                shutil.copy(pages / f"{sample}.html", pages / f"{new_ids[sample]}.html")
                yield f"{new_ids[sample]}.card.json", card | {"sample": new_ids[sample], "unit": new_ids[unit["id"]]}
                number -= 1
                if not number:
                    return


def opened(report: Path) -> dict[str, float] | None:
    """Return wall and processor seconds until the overview is loaded and responds."""
    sys.path.insert(0, str(TESTS))
    from browser.chromium import NAMES, Browser

    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        return None
    with tempfile.TemporaryDirectory() as profile:
        browser = Browser(executable, Path(profile))
        start = time.monotonic()
        browser.open(report, width=1280)
        browser.evaluate("document.querySelector('nav a[href=\"#methods\"]').click()")
        browser.until("document.getElementById('methods').classList.contains('current')")
        result = {"seconds": time.monotonic() - start, "cpu_seconds": browser.seconds()}
        browser.close()
    return result


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as text and a Markdown table."""
    report, browser = result["report"], result["opened"]
    lines = [
        f"{result['date']}, {result['cores']} cores: {result['sections']} sections, from {result['from']} real ones.",
        "",
        "| quantity | value |",
        "|---|---|",
        f"| `mmsrl-page`, s per section | {result['page']['seconds'] / result['from']:.1f} |",
        f"| `mmsrl-page`, peak GiB | {result['page']['peak_bytes'] / 2**30:.2f} |",
        f"| `mmsrl-report`, s | {report['seconds']:.1f} |",
        f"| `mmsrl-report`, peak GiB | {report['peak_bytes'] / 2**30:.2f} |",
        f"| overview, MB | {result['megabytes']['mmsrl_report.html']:.2f} |",
        f"| page, MB | {result['megabytes']['sections/*.html'] / result['sections']:.2f} |",
        f"| shared files, MB | {result['megabytes']['assets/*.js']:.2f} |",
    ]
    if browser:
        lines.append(
            f"| overview opened, wall s (processor s) | {browser['seconds']:.2f} ({browser['cpu_seconds']:.2f}) |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=96)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results of a run, such as the demo")
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks/cohort"))
    arguments = parser.parse_args()
    index = json.loads((arguments.results / "index.json").read_text(encoding="utf-8"))
    pages, inputs = arguments.output_dir / "sections", arguments.output_dir / "inputs"
    for folder in (pages, inputs):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    costs = [write_pages(arguments.results, index, unit, pages) for unit in index["units"]]
    real = list(pages.glob("*.html"))
    line = [str(BIN / "mmsrl-report"), "--output-dir", str(arguments.output_dir)]
    for name, content in renamed(arguments.results, index, pages, arguments.sections):
        (inputs / name).write_text(json.dumps(content), encoding="utf-8")
        line += ["--card" if name.endswith(".card.json") else "--summaries", str(inputs / name)]
    for path in real:
        path.unlink()
    result = {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "sections": arguments.sections,
        "from": len(real),
        "page": {
            "seconds": sum(cost["seconds"] for cost in costs),
            "peak_bytes": max(cost["peak_bytes"] for cost in costs),
        },
        "report": measured(line),
        "opened": opened((arguments.output_dir / "mmsrl_report.html").resolve()),
        "megabytes": {
            pattern: megabytes(arguments.output_dir, pattern)
            for pattern in ("mmsrl_report.html", "sections/*.html", "assets/*.js")
        },
    }
    (arguments.output_dir / "cohort.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    (arguments.output_dir / "cohort.md").write_text(as_markdown(result), encoding="utf-8")
    print(as_markdown(result))


if __name__ == "__main__":
    main()
