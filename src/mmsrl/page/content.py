"""Small output files of the stages of a unit, besides its assembled sections."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import pandas as pd

from mmsrl._files import read_summary
from mmsrl._stages import SAMPLE_STAGES, STAGES
from mmsrl._tables import read_table
from mmsrl.page.series import judged_genes

EVIDENCE = (
    *("gene", "held_out", "deviance_enhanced", "deviance_normalised", "deviance_smoothed"),
    *("gain", "gain_se", "judged", "verdict", "written"),
)
"""Columns of ``<unit>.enhanced_genes.tsv`` that the page uses."""


class Message(TypedDict):
    """Message of a stage about a skipped or changed step."""

    stage: str
    level: str
    text: str


@dataclass
class Summaries:
    """JSON summaries of the stages."""

    summaries: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    """Summaries by stage and id."""

    def result(self, stage: str, sample: str, unit: str) -> dict[str, Any]:
        """Return the result of a stage for a sample or its unit; empty if the stage did not run."""
        summary = self.summaries.get((stage, sample if stage in SAMPLE_STAGES else unit), {})
        result: dict[str, Any] = summary.get("result", {})
        return result

    def parameters(self, stage: str, id: str) -> dict[str, Any]:
        """Return the parameters of a stage; empty if it did not run."""
        parameters: dict[str, Any] = self.summaries.get((stage, id), {}).get("parameters", {})
        return parameters

    def of_sample(self, sample: str, unit: str) -> list[dict[str, Any]]:
        """Return the summaries of a sample and its unit, in the order of the stages."""
        keys = [(stage, sample if stage in SAMPLE_STAGES else unit) for stage in STAGES]
        return [self.summaries[key] for key in keys if key in self.summaries]

    def messages(self, sample: str, unit: str) -> list[Message]:
        """Return the messages on a sample and its unit, in the order of the stages."""
        return [
            {"stage": summary["stage"], "level": message["level"], "text": message["text"]}
            for summary in self.of_sample(sample, unit)
            for message in summary["messages"]
        ]


@dataclass
class Outputs(Summaries):
    """Stage outputs of a unit, besides its assembled sections."""

    training: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Training log by unit."""
    judged: dict[str, pd.DataFrame] = field(default_factory=dict)
    """Gain of de-noising by gene (:func:`mmsrl.page.series.judged_genes`), by unit."""
    scores: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["sample", "metric", "value", "n_spots"]))

    def scores_of(self, sample: str) -> dict[str, float]:
        """Return the finite scores of a sample by metric."""
        rows = self.scores[self.scores["sample"] == sample]
        values = dict(zip(rows["metric"], rows["value"], strict=True))
        return {metric: float(value) for metric, value in values.items() if math.isfinite(value)}


def read_summaries(paths: Iterable[Path]) -> dict[tuple[str, str], dict[str, Any]]:
    """Read the summaries of the stages by stage and id.

    Raises
    ------
    InputError
        If a file is not a stage summary.
    """
    read = [read_summary(path) for path in paths]
    return {(summary["stage"], summary["id"]): summary for summary in read}


def read_outputs(
    *, summaries: Iterable[Path], training: Iterable[Path], evidence: Iterable[Path], scores: Iterable[Path]
) -> Outputs:
    """Read the small output files of all stages.

    Raises
    ------
    InputError
        If a file is not the output of its stage.
    """
    outputs = Outputs(read_summaries(summaries))
    for path in training:
        outputs.training[path.name.removesuffix(".training.tsv")] = read_table(path, "train", ("epoch",))
    for path in evidence:
        table = read_table(path, "enhance", EVIDENCE, text=("gene",))
        outputs.judged[path.name.removesuffix(".enhanced_genes.tsv")] = judged_genes(table)
    tables = [
        read_table(path, "evaluate", ("sample", "metric", "value", "n_spots"), text=("sample",)) for path in scores
    ]
    if any(len(table) for table in tables):
        outputs.scores = pd.concat([table for table in tables if len(table)], ignore_index=True)
    return outputs
