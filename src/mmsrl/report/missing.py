"""Samples that were asked for and are not in the results: where each ended, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mmsrl._errors import InputError
from mmsrl._files import read_json
from mmsrl.parameters import STAGES
from mmsrl.report.content import SAMPLE_STAGES

NEEDED = ("ingest", "qc", "features", "train", "domains", "consensus", "markers", "trajectory", "enhance", "assemble")
"""Stages without which there are no results of a sample, in the order of the data."""


@dataclass(frozen=True)
class Asked:
    """What the run was to do, and what failed in it."""

    samples: Sequence[Mapping[str, Any]]
    """``sample``, ``unit``, and ``labelled``: whether it came with labels."""
    failures: Sequence[Mapping[str, Any]]
    """Tasks that failed for good: ``stage``, ``id`` of sample or unit, ``exit``, ``message``."""

    def message(self, stage: str, id: str) -> str:
        """Return what the task of a stage said; empty where that is not known."""
        said = (task["message"] for task in self.failures if (task["stage"], task["id"]) == (stage, id))
        return str(next(said, ""))


class Missing(NamedTuple):
    """A sample whose results are missing, or a part of them."""

    sample: str
    stage: str
    """The stage that did not end well."""
    text: str
    """What is missing, and why."""
    message: str
    """What the stage said; empty where that is not known."""


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


def missing_samples(asked: Asked, found: Collection[str], summaries: Mapping[tuple[str, str], Any]) -> list[Missing]:
    """Tell which samples are missing, or a part of their results, and at which stage they ended.

    Parameters
    ----------
    asked
        All samples of the samplesheet, and what failed.
    found
        Samples that have results.
    summaries
        Of the stages that ended well, by stage and id (sample or unit).
    """
    ended = {entry["sample"]: _first_missing(entry, summaries) for entry in asked.samples}
    missing = []
    for entry in asked.samples:
        sample, unit = entry["sample"], entry["unit"]
        stage = ended[sample]
        if sample not in found:
            mates = [
                other["sample"] for other in asked.samples if other["unit"] == unit and other["sample"] not in found
            ]
            at_fault = [mate for mate in mates if ended[mate] in SAMPLE_STAGES]
            if stage not in SAMPLE_STAGES and at_fault:
                text, message = f"not analysed, as {', '.join(at_fault)} of its group {unit} could not be", ""
            else:
                text = f"not analysed: {STAGES[stage].lower()} failed"
                message = asked.message(stage, sample if stage in SAMPLE_STAGES else unit)
            missing.append(Missing(sample, stage, text, message))
        elif entry["labelled"] and ("evaluate", unit) not in summaries:
            text = "without scores: the comparison with its labels failed"
            missing.append(Missing(sample, "evaluate", text, asked.message("evaluate", unit)))
    return missing


def _first_missing(entry: Mapping[str, Any], summaries: Mapping[tuple[str, str], Any]) -> str:
    """Return the first stage of a sample that left no summary."""
    keys = [(stage, entry["sample"] if stage in SAMPLE_STAGES else entry["unit"]) for stage in NEEDED]
    return next((stage for stage, id in keys if (stage, id) not in summaries), NEEDED[-1])
