"""Puts the content into the templates: one HTML page that needs nothing else."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from mmsrl import __version__, _keys
from mmsrl.parameters import PARAMETERS, STAGES
from mmsrl.report import charts
from mmsrl.report.content import SAMPLE_STAGES, Outputs, package_versions, show
from mmsrl.report.genes import enhancement_rows, marker_rows, spatial_genes, trajectory_facts
from mmsrl.report.methods import REFERENCES, paragraphs
from mmsrl.report.missing import Missing
from mmsrl.report.sample import METRICS, Sample
from mmsrl.report.stages import (
    choice_points,
    confusion_rows,
    image_facts,
    qc_filters,
    qc_quantiles,
    train_facts,
)
from mmsrl.report.tissue import (
    MAX_FIGURE_SIDE,
    MAX_INTERACTIVE_SPOTS,
    MAX_THUMBNAIL_SIDE,
    data_uri,
    domain_figure,
    interactive_payload,
)

HEADLINE_SCORES = ("ARI", "NMI")
"""Scores shown on the overview, by the name of the metric in ``scores.csv``."""

PLATFORMS = {"visium": "Visium", "visium_hd": "Visium HD", "st": "Spatial Transcriptomics", "other": "other"}


def render(
    samples: Sequence[Sample],
    outputs: Outputs,
    pictures: Mapping[str, Mapping[str, Any]],
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
    environment.filters["show"] = show
    pages = [
        _page(index, sample, samples, outputs) | {"pictures": pictures.get(sample.name)}
        for index, sample in enumerate(samples)
    ]
    steps = paragraphs(list(outputs.summaries.values()))
    cited = dict.fromkeys(name for step in steps for name in step.cites)
    return environment.get_template("report.html").render(
        title=title,
        version=__version__,
        plotly=Markup(get_plotlyjs()),
        pages=pages,
        missing=missing,
        metrics=_overview_scores(pages),
        warnings=_warnings(pages, outputs),
        training=_training(outputs),
        steps=steps,
        references={name: REFERENCES[name] for name in cited},
        numbers={name: number for number, name in enumerate(cited, start=1)},
        params=outputs.params,
        versions=package_versions(outputs.versions),
        descriptions={parameter.name: parameter.help for parameter in PARAMETERS},
        stages=STAGES,
        max_spots=MAX_INTERACTIVE_SPOTS,
    )


def _overview_scores(pages: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the headline scores that at least one sample has."""
    return [metric for metric in HEADLINE_SCORES if any(metric in page["scores"] for page in pages)]


def _warnings(pages: Sequence[Mapping[str, Any]], outputs: Outputs) -> list[dict[str, str]]:
    """Return every warning once, also where several samples share a unit, with the page it is explained on."""
    order = {stage: rank for rank, stage in enumerate(STAGES)}
    home = {page["unit"]: page["id"] for page in reversed(pages)}
    own = {page["name"]: page["id"] for page in pages}
    return [
        {
            "id": id_,
            "page": (own if stage in SAMPLE_STAGES else home).get(id_, "overview"),
            "stage": STAGES.get(stage, stage),
            "text": message["text"],
        }
        for (stage, id_), summary in sorted(
            outputs.summaries.items(), key=lambda item: order.get(item[0][0], len(order))
        )
        for message in summary["messages"]
        if message["level"] == "warning"
    ]


def _training(outputs: Outputs) -> dict[str, Markup]:
    """Return the training curves by unit; samples of one unit share them."""
    return {
        unit: Markup(charts.to_json(charts.training_curves(log))) for unit, log in outputs.training.items() if len(log)
    }


def _page(index: int, sample: Sample, samples: Sequence[Sample], outputs: Outputs) -> dict[str, Any]:
    """Return all that the page of one sample shows."""
    section, name, unit = sample.section, sample.name, sample.unit
    messages = outputs.messages(name, unit)
    qc = outputs.result("qc", name, unit)
    compared = outputs.result("evaluate", name, unit).get(name)
    figure = domain_figure(section, MAX_FIGURE_SIDE)
    thumbnail = figure.copy()
    thumbnail.thumbnail((MAX_THUMBNAIL_SIDE, MAX_THUMBNAIL_SIDE))
    return {
        "id": f"sample-{index + 1}-" + re.sub(r"[^A-Za-z0-9_-]+", "-", name),
        "name": name,
        "unit": unit,
        "mates": [other.name for other in samples if other.unit == unit and other.name != name],
        "platform": PLATFORMS.get(str(sample.facts.get(_keys.PLATFORM)), "other"),
        "facts": _facts(sample),
        "n_spots": len(section.barcodes),
        "n_genes": sample.n_genes,
        "n_domains": len(section.colors),
        "medians": {title: float(np.nanmedian(values)) for title, values in section.values.items()},
        "figure": data_uri(figure),
        "figure_size": figure.size,
        "thumbnail": data_uri(thumbnail),
        "thumbnail_size": thumbnail.size,
        "has_image": section.image is not None,
        "square": section.square,
        "values": list(section.values),
        "payload": interactive_payload(section),
        "messages": messages,
        "warnings": sum(message["level"] == "warning" for message in messages),
        "qc_filters": qc_filters(qc),
        "qc_quantiles": qc_quantiles(qc),
        "kept": f"{show(len(section.barcodes))} of {show(qc['n_spots_before'])} spots" if qc else "",
        "histograms": [
            {"title": title, "json": Markup(charts.to_json(charts.histogram(title, values)))}
            for title, values in section.values.items()
            if title not in (METRICS[_keys.CONFIDENCE], METRICS[_keys.PSEUDOTIME])
        ],
        "image": image_facts(outputs.result("features", name, unit)),
        "train": train_facts(outputs.result("train", name, unit), outputs.parameters("train", unit)),
        "domains": _domain_sizes(sample),
        "markers": marker_rows(outputs.result("markers", name, unit)),
        "spatial_genes": spatial_genes(outputs.result("markers", name, unit), name),
        "trajectory": trajectory_facts(outputs.result("trajectory", name, unit)),
        "enhancement": enhancement_rows(outputs.result("enhance", name, unit)),
        "choice": _choice(outputs.result("domains", name, unit)),
        "scores": outputs.scores_of(name),
        "labels": (compared or {}).get("labels", []),
        "confusion": confusion_rows(compared),
        "parameters": {
            summary["stage"]: summary["parameters"]
            for summary in outputs.of_sample(name, unit)
            if summary["parameters"]
        },
    }


def _facts(sample: Sample) -> dict[str, str]:
    """Return what is known of the sample before any analysis."""
    facts = sample.facts
    pitch_um = show(facts.get(_keys.PITCH_UM))
    pitch_px = show(facts.get(_keys.PITCH_PX))
    return {
        "Platform": PLATFORMS.get(str(facts.get(_keys.PLATFORM)), "other"),
        "Lattice": show(facts.get(_keys.LATTICE)),
        "Spot pitch": f"{pitch_um} µm, {pitch_px} px" if pitch_um != "–" else f"{pitch_px} px (µm not known)",
        "Species": show(facts.get(_keys.SPECIES)),
    }


def _choice(result: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return how the number of domains was chosen, or ``None`` where it was given."""
    points = choice_points(result)
    if points is None:
        return None
    chosen = result["chosen"]
    figure = charts.choice_curve(*points, chosen["n_domains"])
    return {"number": chosen["n_domains"], "rule": chosen["rule"], "json": Markup(charts.to_json(figure))}


def _domain_sizes(sample: Sample) -> list[dict[str, Any]]:
    """Return every domain with its colour, size and what its spots are like."""
    section = sample.section
    table = pd.DataFrame({"domain": section.domains, **section.values})
    return [
        {
            "label": label,
            "color": color,
            "n": int((own := table[table["domain"] == label]).shape[0]),
            "share": len(own) / len(table),
            "medians": [float(own[title].median()) for title in section.values],
        }
        for label, color in section.colors.items()
    ]
