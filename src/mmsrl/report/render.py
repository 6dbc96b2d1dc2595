"""Rendering of the report, and of the list of sections that the section pages load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mmsrl._palette import natural_order
from mmsrl._stages import SAMPLE_STAGES, STAGES
from mmsrl.page.card import Card
from mmsrl.page.render import environment, stored
from mmsrl.page.store import Store
from mmsrl.parameters import PARAMETERS
from mmsrl.report.cards import address, colors_by_unit, grouped
from mmsrl.report.content import STUDY, RunOutputs, package_versions
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.missing import Missing, left_out
from mmsrl.report.study import study_content

HEADLINE_SCORES = ("ARI", "NMI")
"""Scores on the overview, by the name of the metric in ``scores.csv``."""

ASSETS = "assets"
"""Folder of the files that report and section pages share, relative to the report."""


def render(
    cards: Sequence[Card],
    outputs: RunOutputs,
    notes: Sequence[str] = (),
    *,
    title: str,
    missing: Sequence[Missing] = (),
) -> str:
    """Render the report as HTML: overview, study, methods, parameters and versions.

    Parameters
    ----------
    cards
        Cards of the sections in the order of the report.
    outputs
        Outputs of the run. The report omits missing parts or lists them as missing.
    notes
        Warnings of the report itself.
    title
        Heading of the report.
    missing
        Samples without results, or without a part of them.
    """
    store = Store()
    pages = [card.sample for card in cards]
    study = study_content(outputs, colors_by_unit(cards), pages, store)
    steps = paragraphs(list(outputs.summaries.values()))
    cited = dict.fromkeys(name for step in steps for name in step.cites)
    templates = environment("mmsrl.report")
    templates.filters.update(address=address)
    return templates.get_template("report.html").render(
        title=title,
        assets=ASSETS,
        cards=cards,
        marker_genes={card.unit: card.marker_genes for card in cards},
        study=study,
        missing=missing,
        left_out=left_out(outputs.params),
        groups=grouped(cards),
        metrics=[metric for metric in HEADLINE_SCORES if any(metric in card.scores for card in cards)],
        warnings=_warnings(cards, outputs),
        notes=notes,
        steps=steps,
        references={name: REFERENCES[name] for name in cited},
        numbers={name: number for number, name in enumerate(cited, start=1)},
        params=outputs.params,
        versions=package_versions(outputs.versions),
        descriptions={parameter.name: parameter.help for parameter in PARAMETERS},
        **stored(store),
    )


def section_list(cards: Sequence[Card], outputs: RunOutputs, title: str) -> str:
    """Return the script with the list of sections that every section page loads."""
    content = {
        "title": title,
        "study": ("compare", STUDY) in outputs.summaries,
        "sections": [{"name": card.sample, "warnings": card.warnings} for card in cards],
    }
    return f"window.mmsrlReport = {json.dumps(content)};\n"


def _warnings(cards: Sequence[Card], outputs: RunOutputs) -> list[dict[str, Any]]:
    """Return each distinct warning with all its samples or units and their pages."""
    order = {stage: rank for rank, stage in enumerate(STAGES)}
    page_of_sample = {card.sample: address(card.sample) for card in cards}
    page_of_unit = {card.unit: page_of_sample[card.sample] for card in reversed(cards)}
    distinct: dict[tuple[str, str], dict[str, str | None]] = {}
    summaries = sorted(outputs.summaries.items(), key=lambda item: order.get(item[0][0], len(order)))
    for (stage, id_), summary in summaries:
        page_of = page_of_sample if stage in SAMPLE_STAGES else page_of_unit
        page = f"#{STUDY}" if stage == "compare" else page_of.get(id_)
        for message in summary["messages"]:
            if message["level"] == "warning":
                distinct.setdefault((stage, message["text"]), {})[id_] = page
    return [
        {"pages": {name: pages[name] for name in natural_order(pages)}, "stage": STAGES.get(stage, stage), "text": text}
        for (stage, text), pages in distinct.items()
    ]
