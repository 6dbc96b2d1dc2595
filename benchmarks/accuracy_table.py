"""The tables of ``bench_accuracy.py``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

METRICS = ("ARI", "NMI", "AMI", "V", "homogeneity", "completeness", "FMI", "purity", "Jaccard", "Dice")
SHAPE = ("PAS", "CHAOS", "ASW")

Result = dict[str, Any]


def spread(values: Iterable[float]) -> str:
    """Return mean ± standard deviation; the deviation is left out for a single value."""
    found = np.array(list(values), dtype=float)
    if not len(found):
        return ""
    mean = f"{found.mean():.3f}"
    return f"{mean} ± {found.std(ddof=1):.3f}" if len(found) > 1 else mean


def overall(scores: list[dict[str, dict[str, float]]], metric: str) -> list[float]:
    """Return the mean over the sections of each run."""
    return [float(np.mean([section[metric] for section in run.values()])) for run in scores]


def units_of(results: list[Result]) -> list[str]:
    return list(dict.fromkeys(result["unit"] for result in results))


def rows_of(results: list[Result]) -> list[list[Result]]:
    """Return the results of each row, which are of different units."""
    names = dict.fromkeys(result["row"] for result in results)
    return [[result for result in results if result["row"] == name] for name in names]


def main_table(results: list[Result]) -> list[str]:
    """One line a row: single seeds and consensus by unit."""
    units = units_of(results)
    lines = [
        f"| row | seeds | {' | '.join(f'{unit}, single | consensus' for unit in units)} | runs agree | s/seed |",
        "|---" * (2 * len(units) + 4) + "|",
    ]
    for group in rows_of(results):
        by_unit = {result["unit"]: result for result in group}
        cells = []
        for unit in units:
            found = by_unit.get(unit, {})
            for kind in ("single", "consensus"):
                cells.append(spread(overall(found.get(kind, []), "ARI")))
        seeds = " / ".join(dict.fromkeys(str(result["seeds"]) for result in group))
        agree = " / ".join(
            f"{by_unit[u]['agreement']:.2f}" if "agreement" in by_unit.get(u, {}) else "–" for u in units
        )
        seconds = np.mean([result["seconds"] for result in group])
        lines.append(f"| {group[0]['row']} | {seeds} | {' | '.join(cells)} | {agree} | {seconds:.1f} |")
    return lines


def metric_table(results: list[Result], kind: str) -> list[str]:
    """One line a row: every score, mean over units on their own and their sections."""
    lines = [f"| row | {' | '.join((*METRICS, *SHAPE))} |", "|---" * (len(METRICS) + len(SHAPE) + 1) + "|"]
    for group in rows_of(results):
        cells = []
        for metric in (*METRICS, *SHAPE):
            values = [overall(result[kind], metric) for result in group if result.get(kind)]
            count = min((len(value) for value in values), default=0)
            cells.append(spread(np.mean([value[:count] for value in values], axis=0)) if count else "")
        if any(cells):
            lines.append(f"| {group[0]['row']} | {' | '.join(cells)} |")
    return lines


def section_table(results: list[Result]) -> list[str]:
    """One line a row, unit and section: all scores of single seeds and consensus."""
    lines = [
        f"| row | unit | section | | {' | '.join((*METRICS, *SHAPE))} |",
        "|---" * (len(METRICS) + len(SHAPE) + 4) + "|",
    ]
    for result in results:
        for kind in ("single", "consensus"):
            for section in result.get(kind, [{}])[0]:
                cells = [spread(run[section][metric] for run in result[kind]) for metric in (*METRICS, *SHAPE)]
                lines.append(f"| {result['row']} | {result['unit']} | {section} | {kind} | {' | '.join(cells)} |")
    return lines


def oracle_table(results: list[Result]) -> list[str]:
    """What picking the epoch by the labels would add: not a result."""
    lines = ["| row | unit | seeds | last epoch | epoch picked with the labels |", "|---|---|---|---|---|"]
    for result in results:
        if result["oracle"]:
            honest, seeds = spread(overall(result["last_epoch"], "ARI")), len(result["oracle"])
            lines.append(f"| {result['row']} | {result['unit']} | {seeds} | {honest} | {spread(result['oracle'])} |")
    return lines if len(lines) > 2 else ["No row that trains was computed."]


def ensemble_table(results: list[Result]) -> list[str]:
    """Size of the ensemble, refinement and confidence of ``default``."""
    lines = [
        "| unit | members 1 | 5 | 12 | 20 | vote of neighbours, always | decided | errors of the confident half |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for result in results:
        if result["row"] == "default" and "consensus" in result:
            sizes = [spread(result["ensembles"].get(size, [])) for size in (1, 5, 12, 20)]
            decided = " / ".join("vote" if found["pays"] else "no vote" for found in result["refinement"])
            share = " / ".join(
                f"{half['share']:.2f} ± {half['standard_error']:.2f}" for half in result["error_of_confident_half"]
            )
            refined = spread(overall(result["refined"], "ARI"))
            lines.append(f"| {result['unit']} | {' | '.join(sizes)} | {refined} | {decided} | {share} |")
    return lines


def confidence_table(results: list[Result]) -> list[str]:
    """Errors of the confident half of ``default`` by the neighbourhood that confidence is the mean of."""
    compared = [result for result in results if "consensus" in result and result["row"] == "default"]
    sizes = next((list(result["error_of_confident_half"][0]["by_spots"]) for result in compared), [])
    lines = [f"| unit | {' | '.join(f'{spots} spots' for spots in sizes)} |", "|---" * (len(sizes) + 1) + "|"]
    for result in compared:
        runs = [half["by_spots"] for half in result["error_of_confident_half"]]
        cells = [", ".join(f"{run[spots]:.2f}" for run in runs) for spots in sizes]
        lines.append(f"| {result['unit']} | {' | '.join(cells)} |")
    return lines


def number_table(numbers: list[Result]) -> list[str]:
    lines = ["| row | unit | annotated | chosen | stability | curve |", "|---|---|---|---|---|---|"]
    for found in numbers:
        curve = ", ".join(f"{point['n_domains']:.0f}: {point['stability']:.2f}" for point in found["curve"])
        cells = [
            found["row"],
            found["unit"],
            found["annotated"],
            found["n_domains"],
            f"{found['stability']:.2f}",
            curve,
        ]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def write_report(folder: Path, results: list[Result], numbers: list[Result]) -> None:
    """Write ``bench_accuracy.json`` and ``bench_accuracy.md``."""
    machine = (
        f"{date.today().isoformat()}, {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    report = {"machine": machine, "results": results, "numbers": numbers}
    (folder / "bench_accuracy.json").write_text(json.dumps(report, indent=1) + "\n")
    compared = [result for result in results if result["kind"] not in ("ablation", "trial")]
    ablated = [result for result in results if result["kind"] == "ablation" or result["row"] in ("default", "mmsrl")]
    tried = [result for result in results if result["kind"] == "trial" or result["row"] == "default"]
    parts = [
        [f"Measured {machine}. ARI, mean ± standard deviation over seeds (single) or two runs (consensus)."],
        ["### Methods", "", *main_table(compared)],
        ["### Ablation", "", *main_table(ablated)],
        *([["### Trials", "", *main_table(tried)]] if len(tried) > len(units_of(results)) else []),
        ["### The epoch that labels would pick (not a result)", "", *oracle_table(results)],
        ["### Ensemble, refinement, confidence", "", *ensemble_table(results)],
        ["### Confidence by its neighbourhood", "", *confidence_table(results)],
        ["### Number of domains", "", *number_table(numbers)],
        ["### All scores, single seeds, mean over units", "", *metric_table(compared, "single")],
        ["### All scores, consensus, mean over units", "", *metric_table(compared, "consensus")],
        ["### All scores by section", "", *section_table(compared)],
    ]
    text = "\n\n".join("\n".join(part) for part in parts) + "\n"
    (folder / "bench_accuracy.md").write_text(text)
    print(text)
