"""Puts the content into the templates: one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from mmsrl import __version__
from mmsrl.parameters import PARAMETERS, STAGES
from mmsrl.report.content import SAMPLE_STAGES, STUDY, Outputs, brief, package_versions, probability, show
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.missing import Missing
from mmsrl.report.page import sample_content, unit_content
from mmsrl.report.sample import Sample
from mmsrl.report.store import Store
from mmsrl.report.study import study_content

HEADLINE_SCORES = ("ARI", "NMI")
"""Scores shown on the overview, by the name of the metric in ``scores.csv``."""


def code(text: str) -> Markup:
    """Write what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def render(
    samples: Sequence[Sample],
    outputs: Outputs,
    pictures: Mapping[str, Mapping[str, Any]],
    genes: Mapping[str, Mapping[str, Sequence[str]]],
    notes: Sequence[str] = (),
    *,
    title: str,
    missing: Sequence[Missing] = (),
) -> str:
    """Return the whole report as HTML.

    Parameters
    ----------
    samples
        In the order in which they are shown.
    outputs
        What the stages wrote; whatever is missing is left out of the report or said to be missing.
    pictures
        By sample, as :func:`mmsrl.report.pictures.domain_pictures` returns them.
    genes
        By unit, as :func:`mmsrl.report.genes.listed_genes` returns them.
    notes
        What the report itself leaves out of what was asked for.
    title
        Heading of the report.
    missing
        Samples whose results are missing, or a part of them.
    """
    environment = Environment(
        loader=PackageLoader("mmsrl.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(show=show, brief=brief, code=code, probability=probability)
    store = Store()
    of_unit: dict[str, list[Sample]] = {}
    for sample in samples:
        of_unit.setdefault(sample.unit, []).append(sample)
    units = {unit: unit_content(unit, own, outputs, genes.get(unit, {}), store) for unit, own in of_unit.items()}
    pages = [
        sample_content(index, len(samples), sample, of_unit[sample.unit], units[sample.unit], outputs, store)
        | {"pictures": pictures.get(sample.name)}
        for index, sample in enumerate(samples)
    ]
    study = study_content(outputs, units, pages, store)
    steps = paragraphs(list(outputs.summaries.values()))
    cited = dict.fromkeys(name for step in steps for name in step.cites)
    return environment.get_template("report.html").render(
        title=title,
        version=__version__,
        plotly=Markup(get_plotlyjs()),
        pages=pages,
        study=study,
        missing=missing,
        groups=_groups(pages),
        metrics=[metric for metric in HEADLINE_SCORES if any(metric in page["scores"] for page in pages)],
        warnings=_warnings(pages, outputs),
        notes=notes,
        figures={id_: Markup(text) for id_, text in store.figures.items()},
        tables=store.tables,
        steps=steps,
        references={name: REFERENCES[name] for name in cited},
        numbers={name: number for number, name in enumerate(cited, start=1)},
        params=outputs.params,
        versions=package_versions(outputs.versions),
        descriptions={parameter.name: parameter.help for parameter in PARAMETERS},
        stages=STAGES,
    )


def _groups(pages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the pages by what was trained together: groups first, then all samples on their own."""
    by_unit: dict[str, list[Mapping[str, Any]]] = {}
    for page in pages:
        by_unit.setdefault(page["unit"]["id"], []).append(page)
    together = [
        {"name": unit, "colors": own[0]["unit"]["colors"], "pages": own}
        for unit, own in by_unit.items()
        if len(own) > 1
    ]
    alone = [own[0] for own in by_unit.values() if len(own) == 1]
    return [*together, *([{"name": None, "colors": {}, "pages": alone}] if alone else [])]


def _warnings(pages: Sequence[Mapping[str, Any]], outputs: Outputs) -> list[dict[str, str]]:
    """Return every warning once, also where several samples share a unit, with the page it is explained on."""
    order = {stage: rank for rank, stage in enumerate(STAGES)}
    home = {page["unit"]["id"]: page["id"] for page in reversed(pages)}
    own = {page["name"]: page["id"] for page in pages}
    return [
        {
            "id": id_,
            "page": STUDY if stage == "compare" else (own if stage in SAMPLE_STAGES else home).get(id_, "overview"),
            "stage": STAGES.get(stage, stage),
            "text": message["text"],
        }
        for (stage, id_), summary in sorted(
            outputs.summaries.items(), key=lambda item: order.get(item[0][0], len(order))
        )
        for message in summary["messages"]
        if message["level"] == "warning"
    ]
