"""Requested samples without results, with the stage that failed and its message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mmsrl._stages import SAMPLE_STAGES, STAGES
from mmsrl.report.content import Asked

NEEDED = ("ingest", "qc", "features", "train", "domains", "assemble")
"""Stages that are required for the results of a sample, in the order of the data."""

WITHOUT = {
    "markers": "has no markers: their stage failed",
    "trajectory": "has no pseudotime: the trajectory stage failed",
    "enhance": "has no de-noised expression: its stage failed",
}
"""Optional stages, with the text for a failure."""

WITHOUT_PAGE = "has no page and no figures: their task failed"
"""Text for a failure of the task that writes both."""

LEFT_OUT = {
    "skip_markers": "markers",
    "skip_trajectory": "pseudotime",
    "skip_enhance": "de-noised expression",
    "skip_figures": "figure files",
}
"""Parameters that skip a part of the results, with the name of the part."""

STUDY = "study"
"""Id of the comparison of conditions."""

WITHOUT_COMPARISON = "has no comparison of the conditions: its stage failed"


class Missing(NamedTuple):
    """Missing results, or a missing part of them, of a sample or of the study."""

    sample: str | None
    """Name of the sample; ``None`` for the study."""
    stage: str
    """Stage that failed."""
    text: str
    """What is missing and why."""
    message: str
    """Error message of the stage; empty if not known."""


def left_out(params: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts that the run skipped on request, by the parameter that requested it."""
    return {name: words for name, words in LEFT_OUT.items() if str(params.get(name)).lower() == "true"}


def missing_samples(
    asked: Asked, found: Collection[str], pages: Collection[str], summaries: Mapping[tuple[str, str], Any]
) -> list[Missing]:
    """List samples with missing results, with the stage that failed.

    A failed comparison of conditions comes last. It affects no sample.

    Parameters
    ----------
    asked
        Samples of the samplesheet and failed tasks.
    found
        Samples with results.
    pages
        Samples with a page.
    summaries
        Summaries of successful stages by stage and id (sample or unit).
    """
    ended = {entry["sample"]: _first_missing(entry, asked, summaries) for entry in asked.samples}
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
                text, message = f"was not analysed, because {', '.join(at_fault)} of its group {unit} failed", ""
            else:
                text = f"was not analysed: {STAGES[stage].lower()} failed"
                message = asked.message(stage, sample if stage in SAMPLE_STAGES else unit)
            missing.append(Missing(sample, stage, text, message))
            continue
        if entry["labelled"] and ("evaluate", unit) not in summaries:
            text = "has no scores: the comparison with its labels failed"
            missing.append(Missing(sample, "evaluate", text, asked.message("evaluate", unit)))
        missing += [
            Missing(sample, stage, text, asked.message(stage, unit))
            for stage, text in WITHOUT.items()
            if asked.failed(stage, unit)
        ]
        if sample not in pages:
            missing.append(Missing(sample, "figures", WITHOUT_PAGE, asked.message("figures", unit)))
    if asked.failed("compare", STUDY):
        missing.append(Missing(None, "compare", WITHOUT_COMPARISON, asked.message("compare", STUDY)))
    return missing


def _first_missing(entry: Mapping[str, Any], asked: Asked, summaries: Mapping[tuple[str, str], Any]) -> str:
    """Return the first stage of a sample without a summary or with a failed task.

    If a further training of a published preset fails, no summary is missing, as only the first one is kept.
    """
    keys = [(stage, entry["sample"] if stage in SAMPLE_STAGES else entry["unit"]) for stage in NEEDED]
    return next((stage for stage, id in keys if (stage, id) not in summaries or asked.failed(stage, id)), NEEDED[-1])
