"""What the report of a cohort costs: memory of ``mmsrl-report``, MB, and seconds until a browser has opened it.

``mmsrl-page`` writes pages and cards of the sections of a run that was published (``--results``, such as the demo's).
These are given under other names until there are ``--sections`` of them, with the summaries of their stages. Then
``mmsrl-report`` runs in a process of its own, and the overview is opened in a headless Chromium, where one is on PATH.
Results go to ``cohort.json`` and ``cohort.md`` in ``--output-dir``, beside the report itself.
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
    """Return the files of a kind that are of a unit or its samples; of a group not the assembled group itself."""
    ids = {*unit["samples"], unit["id"]} - ({unit["id"]} - set(unit["samples"]) if kind == "assembled" else set())
    return [
        file["path"]
        for file in index["files"]
        if file["kind"] == kind and file["id"] in ids and file["stage"] != "figures"
    ]


def write_pages(results: Path, index: dict[str, Any], unit: dict[str, Any], folder: Path) -> dict[str, float]:
    """Write pages and cards of a unit, and return what that cost."""
    line = [str(BIN / "mmsrl-page"), "--id", unit["id"], "--output-dir", str(folder)]
    for kind, option in OPTIONS.items():
        for path in files_of(index, unit, kind):
            line += [f"--{option}", str(results / path)]
    return measured(line)


def named_anew(results: Path, index: dict[str, Any], pages: Path, number: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and content of cards and summaries of one copy of all units after the other, ``number`` sections."""
    copy = 0
    while True:
        copy += 1
        for unit in index["units"]:
            about = {name: f"{name}-{copy:02d}" for name in (unit["id"], *unit["samples"])}
            for path in files_of(index, unit, "summary"):
                summary = json.loads((results / path).read_text(encoding="utf-8"))
                yield f"{about[summary['id']]}.{summary['stage']}.json", summary | {"id": about[summary["id"]]}
            for sample in unit["samples"]:
                card = json.loads((pages / f"{sample}.card.json").read_text(encoding="utf-8"))
                shutil.copy(pages / f"{sample}.html", pages / f"{about[sample]}.html")
                yield f"{about[sample]}.card.json", card | {"sample": about[sample], "unit": about[unit["id"]]}
                number -= 1
                if not number:
                    return


def opened(report: Path) -> dict[str, float] | None:
    """Return seconds until the overview is there and answers, by the clock and of the page's processor time."""
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
        spent = {"seconds": time.monotonic() - start, "cpu_seconds": browser.seconds()}
        browser.close()
    return spent


def as_markdown(result: dict[str, Any]) -> str:
    """Return the result as text and a table."""
    report, browser = result["report"], result["opened"]
    lines = [
        f"{result['date']}, {result['cores']} cores: {result['sections']} sections, from {result['from']} real ones.",
        "",
        "| what | |",
        "|---|---|",
        f"| `mmsrl-page`, s a section | {result['page']['seconds'] / result['from']:.1f} |",
        f"| `mmsrl-page`, peak GiB | {result['page']['peak_bytes'] / 2**30:.2f} |",
        f"| `mmsrl-report`, s | {report['seconds']:.1f} |",
        f"| `mmsrl-report`, peak GiB | {report['peak_bytes'] / 2**30:.2f} |",
        f"| overview, MB | {result['megabytes']['mmsrl_report.html']:.2f} |",
        f"| a page, MB | {result['megabytes']['sections/*.html'] / result['sections']:.2f} |",
        f"| shared by all, MB | {result['megabytes']['assets/*.js']:.2f} |",
    ]
    if browser:
        lines.append(
            f"| overview opened, s by the clock (processor) | {browser['seconds']:.2f} ({browser['cpu_seconds']:.2f}) |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sections", type=int, default=96)
    parser.add_argument("--results", type=Path, default=Path("results"), help="results of a run, such as the demo's")
    parser.add_argument("--output-dir", type=Path, default=Path("results/benchmarks/cohort"))
    arguments = parser.parse_args()
    index = json.loads((arguments.results / "index.json").read_text(encoding="utf-8"))
    pages, told = arguments.output_dir / "sections", arguments.output_dir / "told"
    for folder in (pages, told):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    made = [write_pages(arguments.results, index, unit, pages) for unit in index["units"]]
    real = list(pages.glob("*.html"))
    line = [str(BIN / "mmsrl-report"), "--output-dir", str(arguments.output_dir)]
    for name, content in named_anew(arguments.results, index, pages, arguments.sections):
        (told / name).write_text(json.dumps(content), encoding="utf-8")
        line += ["--card" if name.endswith(".card.json") else "--summaries", str(told / name)]
    for path in real:
        path.unlink()
    result = {
        "date": date.today().isoformat(),
        "cores": os.cpu_count(),
        "sections": arguments.sections,
        "from": len(real),
        "page": {
            "seconds": sum(cost["seconds"] for cost in made),
            "peak_bytes": max(cost["peak_bytes"] for cost in made),
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
