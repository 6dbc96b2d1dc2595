"""What stands in the report: the outputs of all stages, sorted by sample and unit."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import pandas as pd
import yaml

from mmsrl._errors import InputError
from mmsrl._files import read_json, read_summary
from mmsrl._tables import read_table
from mmsrl.parameters import STAGES
from mmsrl.report.series import judged_genes

SAMPLE_STAGES = ("ingest", "qc", "features", "map")
"""Stages that run once a sample; the others run once a unit."""

EVIDENCE = (
    *("gene", "held_out", "deviance_enhanced", "deviance_normalised", "deviance_smoothed"),
    *("gain", "gain_se", "judged", "verdict", "written"),
)
"""Columns of ``<unit>.enhanced_genes.tsv`` that are shown."""

STUDY = "study"
"""Id of the comparison of conditions: there is one a run."""

COMPARISON: dict[str, tuple[str, ...]] = {
    "expression": ("domain", "condition", "gene", "mean", "log2_fold_change", "low", "high", "p_value", "p_adjusted"),
    "gene_sets": (
        "domain",
        "condition",
        "direction",
        "gene_set",
        "n_set",
        "n_both",
        "correlation",
        "p_adjusted",
        "genes",
    ),
}
"""Tables of ``compare`` that are read, by the name before ``.tsv``, with the columns that are shown."""

TEXT = ("domain", "condition", "gene", "direction", "gene_set", "genes")
"""Columns of these that are words, whatever they look like."""

SUMMARISED = ("composition", "shares", "matches")
"""Tables of ``compare`` that its summary holds as well."""


class Message(TypedDict):
    """What a stage says it skipped or did otherwise than asked."""

    stage: str
    level: str
    text: str


@dataclass
class Outputs:
    """Everything the stages wrote, besides the assembled samples."""

    summaries: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Stage JSON by stage and id."""
    training: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Training log by unit."""
    judged: dict[str, pd.DataFrame] = field(default_factory=dict)
    """What held-out molecules say of de-noised genes (:func:`mmsrl.report.series.judged_genes`), by unit."""
    comparison: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Tables of the comparison of conditions, by the names in :data:`COMPARISON`."""
    scores: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["sample", "metric", "value", "n_spots"]))
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Package versions by process."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters of the pipeline."""

    def result(self, stage: str, sample: str, unit: str) -> dict[str, Any]:
        """Return what a stage found for a sample, or for its unit; empty where the stage did not run."""
        summary = self.summaries.get((stage, sample if stage in SAMPLE_STAGES else unit), {})
        result: dict[str, Any] = summary.get("result", {})
        return result

    def parameters(self, stage: str, id: str) -> dict[str, Any]:
        """Return the parameters a stage ran with; empty where it did not run."""
        parameters: dict[str, Any] = self.summaries.get((stage, id), {}).get("parameters", {})
        return parameters

    def of_sample(self, sample: str, unit: str) -> list[dict[str, Any]]:
        """Return the summaries that concern a sample, in the order of the stages."""
        keys = [(stage, sample if stage in SAMPLE_STAGES else unit) for stage in STAGES]
        return [self.summaries[key] for key in keys if key in self.summaries]

    def messages(self, sample: str, unit: str) -> list[Message]:
        """Return the messages that concern a sample, in the order of the stages."""
        return [
            {"stage": summary["stage"], "level": message["level"], "text": message["text"]}
            for summary in self.of_sample(sample, unit)
            for message in summary["messages"]
        ]

    def scores_of(self, sample: str) -> dict[str, float]:
        """Return a sample's scores by metric, without those that could not be computed."""
        own = self.scores[self.scores["sample"] == sample]
        values = dict(zip(own["metric"], own["value"], strict=True))
        return {metric: float(value) for metric, value in values.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Asked:
    """What the run was to do, and what failed in it."""

    samples: Sequence[Mapping[str, Any]]
    """``sample``, ``unit``, and ``labelled``: whether it came with labels."""
    failures: Sequence[Mapping[str, Any]]
    """Tasks that failed for good: ``stage``, ``id`` of sample or unit, ``exit``, ``message``."""

    def failed(self, stage: str, id: str) -> bool:
        """Tell whether a task of a stage is known to have failed for good."""
        return any((task["stage"], task["id"]) == (stage, id) for task in self.failures)

    def message(self, stage: str, id: str) -> str:
        """Return what the task of a stage said; empty where that is not known."""
        said = (task["message"] for task in self.failures if (task["stage"], task["id"]) == (stage, id))
        return str(next(said, ""))


def read_outputs(
    *,
    summaries: Iterable[Path],
    training: Iterable[Path],
    evidence: Iterable[Path],
    scores: Iterable[Path],
    versions: Iterable[Path],
    params: Path | None,
    comparison: Iterable[Path] = (),
) -> Outputs:
    """Read the small files of all stages.

    Raises
    ------
    InputError
        If a file is not what its stage writes.
    """
    outputs = Outputs()
    for path in summaries:
        summary = read_summary(path)
        outputs.summaries[summary["stage"], summary["id"]] = summary
    for path in training:
        outputs.training[path.name.removesuffix(".training.tsv")] = read_table(path, "train", ("epoch",))
    for path in evidence:
        table = read_table(path, "enhance", EVIDENCE, text=("gene",))
        outputs.judged[path.name.removesuffix(".enhanced_genes.tsv")] = judged_genes(table)
    for path in comparison:
        name = path.name.removesuffix(".tsv").rpartition(".")[2]
        if name in COMPARISON:
            columns = COMPARISON[name]
            text = [column for column in columns if column in TEXT]
            outputs.comparison[name] = read_table(path, "compare", columns, text=text)
        elif name not in SUMMARISED:
            known = ", ".join(f"{STUDY}.{known}.tsv" for known in (*COMPARISON, *SUMMARISED))
            raise InputError(f"--comparison: {path.name} is no table of mmsrl-compare; give {known}")
    tables = [
        read_table(path, "evaluate", ("sample", "metric", "value", "n_spots"), text=("sample",)) for path in scores
    ]
    if any(len(table) for table in tables):
        outputs.scores = pd.concat([table for table in tables if len(table)], ignore_index=True)
    for path in versions:
        for process, tools in _read_versions(path).items():
            outputs.versions.setdefault(process, {}).update(tools)
    if params is not None:
        outputs.params = read_json(params)
    return outputs


def read_asked(path: Path) -> Asked:
    """Read the samples that were asked for and the tasks that failed.

    Raises
    ------
    InputError
        The file holds something else.
    """
    content = read_json(path)
    keys = {"samples": {"sample", "unit", "labelled"}, "failures": {"stage", "id", "exit", "message"}}
    for name, needed in keys.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) and needed <= e.keys() for e in entries):
            raise InputError(f"{path.name}: has no list {name}, each with {', '.join(sorted(needed))}")
    return Asked(**{name: content[name] for name in keys})


def _read_versions(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: not YAML ({' '.join(str(error).split())}); copy it anew") from None
    if not isinstance(content, Mapping) or not all(isinstance(tools, Mapping) for tools in content.values()):
        raise InputError(f"{path.name}: expected a mapping of tools to versions under every process")
    return {
        str(process): {str(tool): str(version) for tool, version in tools.items()} for process, tools in content.items()
    }


def package_versions(versions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Merge the versions of all processes; where processes differ all versions are named."""
    merged: dict[str, set[str]] = {}
    for tools in versions.values():
        for tool, version in tools.items():
            merged.setdefault(tool, set()).add(version)
    return {tool: ", ".join(sorted(found)) for tool, found in sorted(merged.items(), key=lambda item: item[0].lower())}


def seeds(outputs: Outputs) -> dict[str, int]:
    """Return every seed by stage and id, such as ``{"train 151673": 0}``."""
    return {
        f"{stage} {id_}": summary["parameters"]["seed"]
        for (stage, id_), summary in sorted(outputs.summaries.items())
        if "seed" in summary["parameters"]
    }


def show(value: Any) -> str:
    """Write a value for people: thousands separated, four significant digits, a dash for what is missing."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | np.integer():
            return f"{int(value):,}"
        case float() | np.floating():
            number = float(value)
            if not math.isfinite(number):
                return "–"
            return f"{number:,.0f}" if abs(number) >= 1000 or number == round(number) else f"{number:.4g}"
        case Mapping():
            return ", ".join(f"{name}: {show(item)}" for name, item in value.items()) or "–"
        case list() | tuple():
            return ", ".join(show(item) for item in value) or "–"
        case _:
            return str(value)


def brief(value: float | None) -> str:
    """Write a number for a narrow column: whole from 100 on, else three significant digits, two below 1.

    Zeros at the end count as digits: in a column .80 stands beside .87.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:#.{2 if abs(value) < 1 else 3}g}".removesuffix(".")


def probability(value: float | None) -> str:
    """Write a p-value as the tables that are searched write it: ``0.012``, ``3.4e−7``."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-").replace("-", "−")
