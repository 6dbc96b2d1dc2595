"""Puts the content into the templates: the report, and the list of sections that their pages read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from mmsrl._palette import natural_order
from mmsrl.page.card import Card
from mmsrl.page.content import SAMPLE_STAGES
from mmsrl.page.render import environment, stored
from mmsrl.page.store import Store
from mmsrl.parameters import PARAMETERS, STAGES
from mmsrl.report.cards import address, colors_by_unit, grouped
from mmsrl.report.content import STUDY, RunOutputs, package_versions
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.missing import Missing, left_out
from mmsrl.report.study import study_content

HEADLINE_SCORES = ("ARI", "NMI")
"""Scores shown on the overview, by the name of the metric in ``scores.csv``."""

ASSETS = "assets"
"""Folder of what the report and the pages share, as seen from the report."""


def render(
    cards: Sequence[Card],
    outputs: RunOutputs,
    notes: Sequence[str] = (),
    *,
    title: str,
    missing: Sequence[Missing] = (),
) -> str:
    """Return the report as HTML: overview, study, methods, parameters and versions.

    Parameters
    ----------
    cards
        Of the sections, in the order in which they are shown.
    outputs
        What the stages wrote; whatever is missing is left out of the report or said to be missing.
    notes
        What the report itself leaves out of what was asked for.
    title
        Heading of the report.
    missing
        Samples whose results are missing, or a part of them.
    """
    store = Store()
    pages = [card.sample for card in cards]
    study = study_content(outputs, colors_by_unit(cards), pages, store)
    steps = paragraphs(list(outputs.summaries.values()))
    cited = dict.fromkeys(name for step in steps for name in step.cites)
    made = environment("mmsrl.report")
    made.filters.update(address=address)
    return made.get_template("report.html").render(
        title=title,
        assets=ASSETS,
        cards=cards,
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
    """Return a script that tells the pages of the sections of each other."""
    content = {
        "title": title,
        "study": ("compare", STUDY) in outputs.summaries,
        "sections": [{"name": card.sample, "warnings": card.warnings} for card in cards],
    }
    return f"window.mmsrlReport = {json.dumps(content)};\n"


def _warnings(cards: Sequence[Card], outputs: RunOutputs) -> list[dict[str, Any]]:
    """Return every warning once, with all samples or units that it is of, and the page of each."""
    order = {stage: rank for rank, stage in enumerate(STAGES)}
    own = {card.sample: address(card.sample) for card in cards}
    home = {card.unit: own[card.sample] for card in reversed(cards)}
    found: dict[tuple[str, str], dict[str, str | None]] = {}
    summaries = sorted(outputs.summaries.items(), key=lambda item: order.get(item[0][0], len(order)))
    for (stage, id_), summary in summaries:
        page = f"#{STUDY}" if stage == "compare" else (own if stage in SAMPLE_STAGES else home).get(id_)
        for message in summary["messages"]:
            if message["level"] == "warning":
                found.setdefault((stage, message["text"]), {})[id_] = page
    return [
        {"pages": {name: pages[name] for name in natural_order(pages)}, "stage": STAGES.get(stage, stage), "text": text}
        for (stage, text), pages in found.items()
    ]
