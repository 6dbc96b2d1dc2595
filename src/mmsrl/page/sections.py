"""Content of the page of a section, and the content that the sections of a unit share."""

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
    domain_profiles,
    enhancement_facts,
    gene_words,
    marker_note,
    marker_rows,
    spatial_genes,
    spatial_words,
    trajectory_facts,
)
from mmsrl.page.payload import drawn_spots, tissue_payload
from mmsrl.page.sample import AXIS_TITLES, METRICS, QUALITY, Mate, Sample
from mmsrl.page.stages import (
    SCORES,
    choice_points,
    confusion_matrix,
    covariate_facts,
    image_facts,
    qc_filters,
    qc_quantiles,
    reference_shares,
    section_matrix,
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
"""Longest side of pictures that are shown side by side, in pixels."""

CHART = 260
"""Height of a small figure in pixels."""


def unit_content(
    unit: str, mates: Sequence[Mate], outputs: Outputs, genes: Mapping[str, Sequence[str]], store: Store
) -> dict[str, Any]:
    """Build the content that the pages of all sections of a unit share.

    Parameters
    ----------
    unit
        Id of the unit.
    mates
        Sections of the unit.
    outputs
        Stage outputs of the unit.
    genes
        Genes that the tissue figure offers, by reason.
    store
        Receives the figures and tables.
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
    partition = outputs.result("domains", unit, unit)
    points, chosen = choice_points(partition), partition.get("chosen") or {}
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
        "covariates": covariate_facts(partition, outputs.result("train", unit, unit)),
        "by_section": section_matrix(partition, colors, unit),
        "choice": points and {"number": chosen["n_domains"], "rule": chosen["rule"]},
        "choice_curve": store.figure(
            f"{key}-choice", charts.choice_curve(*points, chosen["n_domains"]) if points else None, CHART
        ),
        "markers": marker_rows(markers),
        "profiles": domain_profiles(markers, colors),
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
        "trend_unit": "molecules per 10,000" if not trend or trend.counted else "normalised values as given",
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
    """Convert a name to a valid HTML id."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name)


def sample_content(
    sample: Sample, mates: Sequence[Mate], unit: Mapping[str, Any], outputs: Outputs, store: Store
) -> dict[str, Any]:
    """Build the content of the page of a section.

    Parameters
    ----------
    sample
        Section.
    mates
        All sections of its unit.
    unit
        Content from :func:`unit_content`.
    outputs
        Stage outputs of the unit.
    store
        Receives the figures and tables.
    """
    section, name = sample.section, sample.name
    key = "section"
    qc = outputs.result("qc", name, sample.unit)
    evaluated = outputs.result("evaluate", name, sample.unit).get(name) or {}
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
            {
                "title": title,
                "figure": store.figure(
                    f"{key}-{slug(title)}", charts.histogram(AXIS_TITLES.get(title, title), values), CHART
                ),
            }
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
        "confusion": confusion_matrix(evaluated, unit["colors"], name),
        "parameters": {
            summary["stage"]: summary["parameters"]
            for summary in outputs.of_sample(name, sample.unit)
            if summary["parameters"]
        },
    }


def medians(section: Section) -> dict[str, float]:
    """Return the median over the spots of each continuous value, by its title."""
    return {title: float(np.nanmedian(values)) for title, values in section.values.items()}


def _facts(sample: Sample) -> dict[str, str]:
    """Return facts on the sample that precede the analysis."""
    facts = sample.facts
    return {
        "Platform": sample.platform,
        "Lattice": show(facts.get(_keys.LATTICE)),
        (
            "Spot distance (centre to centre)" if facts.get(_keys.LATTICE) != "none" else "Distance to neighbours"
        ): _pitch(facts),
        "Species": show(facts.get(_keys.SPECIES)),
    }


def _pitch(facts: Mapping[str, Any]) -> str:
    """Return the spot distance in µm and in the unit of the coordinates, or once if the units agree."""
    units = f"{show(facts.get(_keys.PITCH_PX))} coordinate units"
    scale = um_per_px(facts)
    if not math.isfinite(scale):
        return f"{units} (not known in µm; set um_per_px)"
    um = f"{show(facts.get(_keys.PITCH_UM))} µm"
    return um if math.isclose(scale, 1.0, rel_tol=1e-6) else f"{um}, {units}"


def _scale_bar(section: Section) -> dict[str, Any] | None:
    """Return the length of the scale bar as text and as a share of the picture; ``None`` if not known."""
    width_um = window_of(section).width * section.um_per_px
    length = bar_um(width_um)
    return None if length is None else {"name": length_name(length), "share": length / width_um}


def _pseudotime_picture(sample: Sample) -> dict[str, Any] | None:
    """Draw pseudotime ranks on the tissue; ``None`` without pseudotime.

    Colours span 0 to 1 on every section, because ranks are computed over the whole unit.
    """
    values = sample.section.values.get(METRICS[_keys.PSEUDOTIME_RANK])
    if values is None:
        return None
    picture = spots_figure(sample.section, shades(values), SMALL_SIDE)
    return {"uri": data_uri(picture), "size": picture.size}


def _layout_pictures(sample: Sample, mates: Sequence[Mate]) -> list[dict[str, Any]]:
    """Draw the UMAP by domain and by pseudotime, with other sections of the unit in grey."""
    section = sample.section
    if section.umap is None:
        return []
    others = [mate.umap for mate in mates if mate.name != sample.name and mate.umap is not None]
    beneath = np.concatenate([np.zeros((0, 2)), *others])
    colored = {"domain": [section.colors[domain] for domain in section.domains]}
    time = section.values.get(METRICS[_keys.PSEUDOTIME_RANK])
    if time is not None:
        colored["pseudotime rank"] = shades(time)
    return [
        {"by": by, "uri": data_uri(layout_figure(section.umap, colors, beneath, SMALL_SIDE)), "size": (SMALL_SIDE,) * 2}
        for by, colors in colored.items()
    ]


def _domains(sample: Sample, depth_alone: Mapping[str, float]) -> dict[str, Any]:
    """Return colour, size and medians of each domain, for the metrics that differ between domains.

    Parameters
    ----------
    depth_alone
        Domains without differential genes at equal depth, from the summary of the markers.
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
            "medians": values,
        }
        for (label, color), values in zip(section.colors.items(), medians.to_numpy().tolist(), strict=True)
    ]
    return {"domains": rows, "domain_medians": medians.columns.tolist()}
