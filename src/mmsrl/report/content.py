"""Inputs of the report besides the cards: stage summaries, comparison, versions and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from mmsrl._errors import InputError
from mmsrl._files import read_json
from mmsrl._tables import read_table
from mmsrl.page.content import Summaries, read_summaries

STUDY = "study"
"""Id of the comparison of conditions, of which a run has at most one."""

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
"""Tables of ``compare`` that the report reads, by the name before ``.tsv``, with the required columns."""

TEXT = ("domain", "condition", "gene", "direction", "gene_set", "genes")
"""Text columns of these tables."""

SUMMARISED = ("composition", "shares", "matches")
"""Tables of ``compare`` that its summary contains as well."""


@dataclass
class RunOutputs(Summaries):
    """Stage summaries of the whole run, with its versions and parameters."""

    comparison: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Tables of the comparison of conditions by their name in :data:`COMPARISON`."""
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    """Package versions by process."""
    params: dict[str, Any] = field(default_factory=dict)
    """Parameters of the pipeline."""


@dataclass(frozen=True)
class Asked:
    """Requested samples and failed tasks of a run."""

    samples: Sequence[Mapping[str, Any]]
    """``sample``, ``unit`` and ``labelled`` (whether the samplesheet has labels)."""
    failures: Sequence[Mapping[str, Any]]
    """Tasks that failed in all attempts: ``stage``, ``id`` of sample or unit, ``exit`` and ``message``."""

    def failed(self, stage: str, id: str) -> bool:
        """Return whether a task of a stage failed in all attempts."""
        return any((task["stage"], task["id"]) == (stage, id) for task in self.failures)

    def message(self, stage: str, id: str) -> str:
        """Return the error message of a task; empty if not known."""
        messages = (task["message"] for task in self.failures if (task["stage"], task["id"]) == (stage, id))
        return str(next(messages, ""))


def read_run(
    *, summaries: Iterable[Path], comparison: Iterable[Path], versions: Iterable[Path], params: Path | None
) -> RunOutputs:
    """Read the small output files of a run.

    Raises
    ------
    InputError
        If a file is not the output of its stage.
    """
    outputs = RunOutputs(read_summaries(summaries))
    for path in comparison:
        name = path.name.removesuffix(".tsv").rpartition(".")[2]
        if name in COMPARISON:
            columns = COMPARISON[name]
            text = [column for column in columns if column in TEXT]
            outputs.comparison[name] = read_table(path, "compare", columns, text=text)
        elif name not in SUMMARISED:
            known = ", ".join(f"{STUDY}.{known}.tsv" for known in (*COMPARISON, *SUMMARISED))
            raise InputError(f"--comparison: {path.name} is not a table of mmsrl-compare; give {known}")
    for path in versions:
        for process, tools in _read_versions(path).items():
            outputs.versions.setdefault(process, {}).update(tools)
    if params is not None:
        outputs.params = read_json(params)
    return outputs


def read_asked(path: Path) -> Asked:
    """Read the requested samples and the failed tasks.

    Raises
    ------
    InputError
        If the file has another structure.
    """
    content = read_json(path)
    keys = {"samples": {"sample", "unit", "labelled"}, "failures": {"stage", "id", "exit", "message"}}
    for name, needed in keys.items():
        entries = content.get(name) if isinstance(content, dict) else None
        if not isinstance(entries, list) or not all(isinstance(e, dict) and needed <= e.keys() for e in entries):
            raise InputError(f"{path.name}: has no list {name} of entries with {', '.join(sorted(needed))}")
    return Asked(**{name: content[name] for name in keys})


def _read_versions(path: Path) -> dict[str, dict[str, str]]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name}: not YAML ({' '.join(str(error).split())}); copy it anew") from None
    if not isinstance(content, Mapping) or not all(isinstance(tools, Mapping) for tools in content.values()):
        raise InputError(f"{path.name}: expected a mapping of tools to versions under each process")
    return {
        str(process): {str(tool): str(version) for tool, version in tools.items()} for process, tools in content.items()
    }


def package_versions(versions: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Merge the versions of all processes. If processes differ, all versions are listed."""
    merged: dict[str, set[str]] = {}
    for tools in versions.values():
        for tool, version in tools.items():
            merged.setdefault(tool, set()).add(version)
    return {
        tool: ", ".join(sorted(distinct)) for tool, distinct in sorted(merged.items(), key=lambda item: item[0].lower())
    }


def seeds(outputs: Summaries) -> dict[str, int]:
    """Return the random seeds by stage and id, such as ``{"train 151673": 0}``."""
    return {
        f"{stage} {id_}": summary["parameters"]["seed"]
        for (stage, id_), summary in sorted(outputs.summaries.items())
        if "seed" in summary["parameters"]
    }
