"""Samples that were asked for and are not in the results: where each ended, and why."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from mmsrl.page.content import SAMPLE_STAGES
from mmsrl.parameters import STAGES
from mmsrl.report.content import Asked

NEEDED = ("ingest", "qc", "features", "train", "domains", "assemble")
"""Stages without which there are no results of a sample, in the order of the data."""

WITHOUT = {
    "markers": "without markers: finding them failed",
    "trajectory": "without pseudotime: ordering the spots failed",
    "enhance": "without de-noised expression: making it failed",
}
"""Stages that cost no sample its domains, and what is said where they fail."""

WITHOUT_PAGE = "without a page and without figures: making them failed"
"""What is said where the task that makes both left no page."""

LEFT_OUT = {
    "skip_markers": "markers",
    "skip_trajectory": "pseudotime",
    "skip_enhance": "de-noised expression",
    "skip_figures": "figures as files",
}
"""Parameters that leave a part out, and what is said of it."""

STUDY = "study"
"""Id of the task that compares conditions."""

WITHOUT_COMPARISON = "without a comparison of the conditions: it failed"


class Missing(NamedTuple):
    """A sample whose results are missing, or a part of them; or what all samples together lack."""

    sample: str | None
    """``None``: all of them."""
    stage: str
    """The stage that did not end well."""
    text: str
    """What is missing, and why."""
    message: str
    """What the stage said; empty where that is not known."""


def left_out(params: Mapping[str, Any]) -> dict[str, str]:
    """Return what a run left out because that was asked for, by the parameter that asked."""
    return {name: words for name, words in LEFT_OUT.items() if str(params.get(name)).lower() == "true"}


def missing_samples(
    asked: Asked, found: Collection[str], pages: Collection[str], summaries: Mapping[tuple[str, str], Any]
) -> list[Missing]:
    """Tell which samples are missing, or a part of their results, and at which stage they ended.

    A comparison of conditions that failed comes last, and costs no sample anything.

    Parameters
    ----------
    asked
        All samples of the samplesheet, and what failed.
    found
        Samples that have results.
    pages
        Samples that have a page.
    summaries
        Of the stages that ended well, by stage and id (sample or unit).
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
                text, message = f"not analysed, as {', '.join(at_fault)} of its group {unit} could not be", ""
            else:
                text = f"not analysed: {STAGES[stage].lower()} failed"
                message = asked.message(stage, sample if stage in SAMPLE_STAGES else unit)
            missing.append(Missing(sample, stage, text, message))
            continue
        if entry["labelled"] and ("evaluate", unit) not in summaries:
            text = "without scores: the comparison with its labels failed"
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
    """Return the first stage of a sample that left no summary, or of which a task failed.

    A further training of a published preset that fails leaves no summary missing, as only the first one's is kept.
    """
    keys = [(stage, entry["sample"] if stage in SAMPLE_STAGES else entry["unit"]) for stage in NEEDED]
    return next((stage for stage, id in keys if (stage, id) not in summaries or asked.failed(stage, id)), NEEDED[-1])
