"""All that the page of one section shows, and what sections of one unit share."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mmsrl import _keys
from mmsrl._palette import natural_order
from mmsrl._scale_bar import bar_um, length_name
from mmsrl._sections import um_per_px
from mmsrl.page import charts, series
from mmsrl.page.content import Outputs
from mmsrl.page.genes import (
    ASKED,
    ESTIMATES,
    enhancement_facts,
    gene_words,
    marker_note,
    marker_rows,
    spatial_genes,
    spatial_words,
    trajectory_facts,
)
from mmsrl.page.payload import drawn_spots, tissue_payload
from mmsrl.page.sample import METRICS, QUALITY, Mate, Sample
from mmsrl.page.stages import (
    SCORES,
    choice_points,
    confusion_rows,
    covariate_facts,
    image_facts,
    qc_filters,
    qc_quantiles,
    reference_shares,
    section_rows,
    train_facts,
)
from mmsrl.page.store import Store
from mmsrl.page.tables import gene_set_table, judged_table, marker_table
from mmsrl.page.tissue import (
    MAX_FIGURE_SIDE,
    Section,
    data_uri,
    domain_figure,
    layout_figure,
    shades,
    spots_figure,
    window_of,
)
from mmsrl.page.words import show

SMALL_SIDE = 440
"""Of pictures that stand beside each other, in pixels."""

CHART = 260
"""Height of a small figure."""


def unit_content(
    unit: str, mates: Sequence[Mate], outputs: Outputs, genes: Mapping[str, Sequence[str]], store: Store
) -> dict[str, Any]:
    """Return what the pages of all sections of a unit show.

    Parameters
    ----------
    unit
        Its id.
    mates
        The sections of the unit.
    outputs
        What the stages wrote.
    genes
        That can be looked at on the tissue, by the reason for it.
    store
        Takes the figures and tables.
    """
    key = "unit"
    colors = {name: color for mate in mates for name, color in mate.colors.items()}
    colors = {name: colors[name] for name in natural_order(colors)}
    labels = [label for mate in mates for label in mate.domains]
    sizes = {name: labels.count(name) for name in colors}
    markers, trajectory, enhancement = (
        outputs.result(stage, unit, unit) for stage in ("markers", "trajectory", "enhance")
    )
    log, judged = outputs.training.get(unit), outputs.judged.get(unit)
    decided = None if judged is None else judged[judged["verdict"] != series.FEW]
    time = np.concatenate([mate.rank for mate in mates])
    found = outputs.result("domains", unit, unit)
    points, chosen = choice_points(found), found.get("chosen") or {}
    facts = trajectory_facts(trajectory)
    connects = bool(facts) and len(sizes) > 1
    orders = series.pseudotime_order(labels, time)
    trend = series.gene_trends(trajectory)
    return {
        "id": unit,
        "colors": colors,
        "genes": genes,
        "judgement": {}
        if judged is None
        else dict(
            zip(judged["gene"], zip(judged["gain"], judged["gain_se"], judged["verdict"], strict=True), strict=True)
        ),
        "training": store.figure(
            f"{key}-training", charts.training_curves(log) if log is not None and len(log) else None
        ),
        "covariates": covariate_facts(found, outputs.result("train", unit, unit)),
        "by_section": section_rows(found),
        "choice": points and {"number": chosen["n_domains"], "rule": chosen["rule"]},
        "choice_curve": store.figure(
            f"{key}-choice", charts.choice_curve(*points, chosen["n_domains"]) if points else None, CHART
        ),
        "markers": marker_rows(markers),
        "marker_note": marker_note(markers),
        "spatial_words": spatial_words(markers),
        "tested_over_samples": bool(markers.get("pseudobulk", {}).get("domains")),
        "marker_table": store.table(f"{key}-markers", marker_table(markers, len(mates))),
        "gene_set_table": store.table(f"{key}-gene-sets", gene_set_table(markers)),
        "trajectory": facts,
        "domain_map": store.figure(
            f"{key}-paga",
            charts.domain_map(sizes, trajectory["paga"], dict(facts["order"]), colors) if connects else None,
        ),
        "boxes": store.figure(f"{key}-boxes", charts.pseudotime_boxes(orders, colors) if orders else None),
        "epochs": outputs.result("train", unit, unit).get("epochs"),
        "trends": store.figure(f"{key}-trends", charts.trend_map(trend) if trend else None),
        "n_trends": len(trend.genes) if trend else 0,
        "trend_unit": "molecules in 10,000 of the spot, whatever the depth"
        if not trend or trend.counted
        else "values as they were given",
        "enhancement": enhancement_facts(enhancement),
        "evidence": [
            (words, store.figure(f"{key}-over-{name}", charts.evidence(decided, f"over_{name}")))
            for name, words in ESTIMATES.items()
            if name in ("normalised", "smoothed") and decided is not None and len(decided)
        ],
        "judged": decided is not None
        and {
            "genes": len(decided),
            "drawn": len(series.drawn_genes(decided)),
        },
        "judged_table": store.table(
            f"{key}-judged", judged_table(judged) if judged is not None and len(judged) else None
        ),
    }


def slug(name: str) -> str:
    """Return a name as an id may have it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def sample_content(
    sample: Sample, mates: Sequence[Mate], unit: Mapping[str, Any], outputs: Outputs, store: Store
) -> dict[str, Any]:
    """Return all that the page of one section shows.

    Parameters
    ----------
    sample
        The section.
    mates
        All sections of its unit.
    unit
        What :func:`unit_content` returned.
    outputs
        What the stages wrote.
    store
        Takes the figures and tables.
    """
    section, name = sample.section, sample.name
    key = "section"
    qc = outputs.result("qc", name, sample.unit)
    compared = outputs.result("evaluate", name, sample.unit).get(name)
    markers = outputs.result("markers", name, sample.unit)
    adjoining = series.adjoining_domains(markers.get("neighbours", {}).get(name, []))
    denoised = {gene: values.enhanced is not None for gene, values in section.genes.items()}
    figure = domain_figure(section, MAX_FIGURE_SIDE)
    return {
        "id": key,
        "name": name,
        "unit": unit,
        "mates": [mate.name for mate in mates if mate.name != name],
        "facts": {**_facts(sample), **sample.design},
        "noun": sample.noun,
        "n_spots": len(section.barcodes),
        "n_drawn": len(drawn_spots(len(section.barcodes))),
        "n_genes": sample.n_genes,
        "n_domains": len(section.colors),
        "medians": medians(section),
        "figure": data_uri(figure),
        "figure_size": figure.size,
        "figure_bar": _scale_bar(section),
        "has_image": section.image is not None,
        "square": section.square,
        "quality": [title for title in section.values if title in QUALITY],
        "results": [title for title in section.values if title not in QUALITY],
        "genes": {reason: [gene for gene in genes if gene in section.genes] for reason, genes in unit["genes"].items()},
        "lacking": [gene for gene in unit["genes"].get(ASKED, ()) if gene not in section.genes],
        "payload": tissue_payload(section, gene_words(denoised, unit["judgement"])),
        "messages": outputs.messages(name, sample.unit),
        "qc_filters": qc_filters(qc),
        "qc_quantiles": qc_quantiles(qc),
        "kept": f"{show(len(section.barcodes))} of {show(qc['n_spots_before'])} {sample.noun}" if qc else "",
        "histograms": [
            {"title": title, "figure": store.figure(f"{key}-{slug(title)}", charts.histogram(title, values), CHART)}
            for title, values in section.values.items()
            if title in QUALITY
        ],
        "image": image_facts(outputs.result("features", name, sample.unit)),
        "train": train_facts(outputs.result("train", name, sample.unit), outputs.parameters("train", sample.unit)),
        **_domains(sample, markers.get("depth_alone", {})),
        "spatial_genes": spatial_genes(markers, name),
        "neighbours": store.figure(f"{key}-neighbours", charts.neighbourhood_map(adjoining) if adjoining else None),
        "pseudotime": _pseudotime_picture(sample),
        "layouts": _layout_pictures(sample, mates),
        "reference": reference_shares(outputs.result("map", name, sample.unit)),
        "scores": outputs.scores_of(name),
        "score_titles": SCORES,
        "labels": (compared or {}).get("labels", []),
        "confusion": confusion_rows(compared),
        "parameters": {
            summary["stage"]: summary["parameters"]
            for summary in outputs.of_sample(name, sample.unit)
            if summary["parameters"]
        },
    }


def medians(section: Section) -> dict[str, float]:
    """Return the median over the spots of every value that is shown, by its title."""
    return {title: float(np.nanmedian(values)) for title, values in section.values.items()}


def _facts(sample: Sample) -> dict[str, str]:
    """Return what is known of the sample before any analysis."""
    facts = sample.facts
    return {
        "Platform": sample.platform,
        "Lattice": show(facts.get(_keys.LATTICE)),
        ("Spot pitch" if facts.get(_keys.LATTICE) != "none" else "Distance to neighbours"): _pitch(facts),
        "Species": show(facts.get(_keys.SPECIES)),
    }


def _pitch(facts: Mapping[str, Any]) -> str:
    """Return the pitch in µm and in the unit of the coordinates; once where these are one."""
    units = f"{show(facts.get(_keys.PITCH_PX))} units of the coordinates"
    scale = um_per_px(facts)
    if not math.isfinite(scale):
        return f"{units} (µm not known: give um_per_px)"
    um = f"{show(facts.get(_keys.PITCH_UM))} µm"
    return um if math.isclose(scale, 1.0, rel_tol=1e-6) else f"{um}, {units}"


def _scale_bar(section: Section) -> dict[str, Any] | None:
    """Return the length of a scale bar in words and as a share of the section's picture; ``None`` if not known."""
    width_um = window_of(section).width * section.um_per_px
    length = bar_um(width_um)
    return None if length is None else {"name": length_name(length), "share": length / width_um}


def _pseudotime_picture(sample: Sample) -> dict[str, Any] | None:
    """Return ranks of pseudotime on the tissue; ``None`` if there is none.

    Colours run from 0 to 1 on every section: ranks are of the whole unit.
    """
    values = sample.section.values.get(METRICS[_keys.PSEUDOTIME_RANK])
    if values is None:
        return None
    picture = spots_figure(sample.section, shades(values), SMALL_SIDE)
    return {"uri": data_uri(picture), "size": picture.size}


def _layout_pictures(sample: Sample, mates: Sequence[Mate]) -> list[dict[str, Any]]:
    """Return the layout of the embedding by domain and by pseudotime, other sections of the unit in grey."""
    section = sample.section
    if section.umap is None:
        return []
    others = [mate.umap for mate in mates if mate.name != sample.name and mate.umap is not None]
    beneath = np.concatenate([np.zeros((0, 2)), *others])
    colored = {"domain": [section.colors[domain] for domain in section.domains]}
    time = section.values.get(METRICS[_keys.PSEUDOTIME_RANK])
    if time is not None:
        colored["pseudotime"] = shades(time)
    return [
        {"by": by, "uri": data_uri(layout_figure(section.umap, colors, beneath, SMALL_SIDE)), "size": (SMALL_SIDE,) * 2}
        for by, colors in colored.items()
    ]


def _domains(sample: Sample, depth_alone: Mapping[str, float]) -> dict[str, Any]:
    """Return every domain with its colour, size and what its spots are like, by what not all domains have alike.

    Parameters
    ----------
    depth_alone
        Domains that no gene tells from the others, as the markers' summary has them.
    """
    section = sample.section
    medians = pd.DataFrame(section.values).groupby(np.asarray(section.domains)).median().reindex(list(section.colors))
    medians = medians.loc[:, medians.nunique() > (1 if len(medians) > 1 else 0)]
    sizes = Counter(section.domains)
    rows = [
        {
            "label": label,
            "color": color,
            "n": sizes[label],
            "share": sizes[label] / len(section.domains),
            "depth_alone": label in depth_alone,
            "medians": own,
        }
        for (label, color), own in zip(section.colors.items(), medians.to_numpy().tolist(), strict=True)
    ]
    return {"domains": rows, "domain_medians": medians.columns.tolist()}
