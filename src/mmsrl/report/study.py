"""Content of the study page, which compares conditions."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from mmsrl._palette import domain_colors, natural_order
from mmsrl.compare.quality import DEVIATIONS, FACTOR, FEWEST
from mmsrl.markers.table import FDR
from mmsrl.page.matrix import Cell, Heading, Matrix, Row, domain_headings
from mmsrl.page.store import Choice, Store
from mmsrl.page.words import brief, probability, show
from mmsrl.report.cards import address
from mmsrl.report.content import STUDY, RunOutputs
from mmsrl.report.study_charts import (
    MOST_POINTS,
    composition_bars,
    condition_strip,
    drawn_points,
    forest,
    volcano,
)
from mmsrl.report.study_tables import study_gene_table, study_set_table

VOLCANO = 420
"""Height of a volcano plot in pixels."""

MOST_GENES, ALL_GENES = 500, 20_000
"""Maximum number of listed genes per domain and condition, and in total."""

MOST_SETS = 25
"""Maximum number of listed gene sets per domain, condition and direction."""

MOST_SENTENCES = 6
"""Maximum number of sentences on the composition."""


def study_content(
    outputs: RunOutputs, colors_of: Mapping[str, Mapping[str, str]], pages: Collection[str], store: Store
) -> dict[str, Any] | None:
    """Build the content of the study page; ``None`` if no conditions were compared.

    Parameters
    ----------
    outputs
        Outputs of the run.
    colors_of
        Colours of the domains of each unit. Shared domains take the colours of one unit.
    pages
        Sections with a page.
    store
        Receives the figures and tables.
    """
    summary = outputs.summaries.get(("compare", STUDY))
    if summary is None:
        return None
    result = summary["result"]
    unit_colors = colors_of.get(result["domains_of"], {})
    known = set(result["domains"]) <= unit_colors.keys()
    colors = {name: unit_colors[name] for name in result["domains"]} if known else domain_colors(result["domains"])
    sections = sections_of(result)
    messages = [{"stage": "compare", **message} for message in summary["messages"]]
    return {
        "id": STUDY,
        "colors": colors,
        "conditions": result["conditions"],
        "control": result["control"],
        "several": len(result["conditions"]) > 2,
        "lead": _lead(result),
        "facts": _facts(result),
        "replicate": result["replicate"],
        "meaning": _meaning(result),
        "covariates": natural_order({name for section in sections for name in section["covariates"]}),
        "has_donors": any(section["donor"] is not None for section in sections),
        "sections": sections,
        "links": {name: address(name) for name in pages},
        **_quality(result, sections, store),
        **_composition(result, sections, colors, store),
        **_expression(result, outputs.comparison.get("expression"), store),
        "set_table": store.table(
            f"{STUDY}-gene-sets",
            study_set_table(outputs.comparison.get("gene_sets"), len(result["conditions"]) > 2, MOST_SETS),
        ),
        "most_sets": MOST_SETS,
        "matches": _matches(result, colors),
        "domains_of": result["domains_of"],
        "messages": messages,
        "warnings": sum(message["level"] == "warning" for message in messages),
    }


def sections_of(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the sections sorted by condition, control first, and by name."""
    by_name = {section["sample"]: section for section in result["sections"]}
    ordered = [by_name[name] for name in natural_order(by_name)]
    return sorted(ordered, key=lambda section: result["conditions"].index(section["condition"]))


def _lead(result: Mapping[str, Any]) -> str:
    control, *others = result["conditions"]
    compared = " and ".join([", ".join(others[:-1]), others[-1]] if len(others) > 1 else others)
    return f"{show(len(result['sections']))} sections: {compared} compared with {control}, the control."


def _facts(result: Mapping[str, Any]) -> dict[str, str | None]:
    """Return the formula of the model and the numbers of compared replicates."""
    tested = [row for row in result["composition"] if row["n_condition"] is not None]
    sizes = []
    for condition in result["conditions"][1:]:
        pairs = [(row["n_condition"], row["n_control"]) for row in tested if row["condition"] == condition]
        if pairs:
            one, other = max(pairs)
            sizes.append(f"{one} {condition} vs {other} {result['control']}")
    return {
        "Model": result["model"] or None,
        "Replicates": f"{result['replicate']}s, {'paired by donor' if result['paired'] else 'not paired'}",
        "Compared": "; ".join(sizes) or None,
        "Domains": f"{len(result['domains'])}, numbered as in {result['domains_of']}",
    }


def _meaning(result: Mapping[str, Any]) -> list[str]:
    """Explain what p-values and confidence intervals refer to."""
    if result["replicate"] == "donor":
        sentences = [
            "Donors are the replicates. Sections of the same donor and condition were summed. Intervals and p-values "
            "describe differences between donors and extend to similar donors."
        ]
        if result["paired"]:
            sentences.append(
                "Donors with sections in the control and in another condition are compared with themselves. "
                "Donors with a single condition are left out of the tests."
            )
    else:
        sentences = [
            "Sections are the replicates. Intervals and p-values describe differences between sections, not spots."
        ]
        if all(section["donor"] is None for section in result["sections"]):
            sentences.append(
                "They extend to other animals or patients only if each section comes from a different one, because "
                "no donors were given."
            )
    sentences.append(
        "Domains were found in the same counts that are compared here. The test cannot separate the condition from "
        "confounders outside the model, such as the day of an experiment."
    )
    return sentences


def _quality(result: Mapping[str, Any], sections: Sequence[Mapping[str, Any]], store: Store) -> dict[str, Any]:
    """Return a strip chart per metric, the values of all sections, and sentences on flagged sections."""
    quality = {
        title: {name: value for name, value in values.items() if value is not None}
        for title, values in result["quality"].items()
    }
    quality = {title: values for title, values in quality.items() if values}
    groups = {
        condition: [section["sample"] for section in sections if section["condition"] == condition]
        for condition in result["conditions"]
    }
    strips: list[dict[str, Any]] = []
    flag_texts: dict[str, list[str]] = {}
    for index, (title, values) in enumerate(quality.items()):
        flagged = {section["sample"] for section in sections if title in section["outlier"]}
        figure = condition_strip(values, groups, flagged)
        named = f"; flagged: {', '.join(sorted(flagged))}" if flagged else ""
        shown = store.figure(f"{STUDY}-quality-{index + 1}", figure)
        strips.append({"title": title, "figure": shown, "label": f"{title} by condition{named}"})
        others = [value for name, value in values.items() if name not in flagged]
        for name in natural_order(flagged & set(values)):
            within = f" (others: {show(min(others))} to {show(max(others))})" if others else ""
            flag_texts.setdefault(name, []).append(f"{title.lower()} {show(values[name])}{within}")
    return {
        "rule": {"deviations": DEVIATIONS, "factor": FACTOR, "fewest": FEWEST},
        "quality": quality,
        "strips": strips,
        "flagged": {name: "; ".join(flag_texts[name]) for name in natural_order(flag_texts)},
    }


def _composition(
    result: Mapping[str, Any], sections: Sequence[Mapping[str, Any]], colors: Mapping[str, str], store: Store
) -> dict[str, Any]:
    """Return the composition chart, and the tests of each domain with positions of their odds ratios."""
    rows = result["composition"]
    headings = {
        name: f"<b>{name}</b>{' (control)' if name == result['control'] else ''}" for name in result["conditions"]
    }
    bars = composition_bars(sections, headings, result["domains"], colors)
    placed = forest([(row["low"], row["odds_ratio"], row["high"]) for row in rows])
    significant = [row for row in rows if _significant(row)]
    return {
        "bars": store.figure(f"{STUDY}-composition", bars),
        "composition": [
            {**row, "mark": mark, "significant": _significant(row)}
            for row, mark in zip(rows, placed.marks, strict=True)
        ],
        "limit": placed.limit,
        "composition_sentences": [_changed(row) for row in significant[:MOST_SENTENCES]],
        "composition_more": max(len(significant) - MOST_SENTENCES, 0),
        "tested": any(row["p_value"] is not None for row in rows),
        "fdr": FDR,
    }


def _significant(row: Mapping[str, Any]) -> bool:
    return row["p_adjusted"] is not None and row["p_adjusted"] < FDR


def _changed(row: Mapping[str, Any]) -> dict[str, str]:
    shares = [f"{100 * row[name]:.1f}\N{NO-BREAK SPACE}%" for name in ("share_control", "share_condition")]
    return {
        "domain": row["domain"],
        "text": f"{'larger' if row['odds_ratio'] > 1 else 'smaller'} in {row['condition']}, {' → '.join(shares)} "
        f"(odds ratio {brief(row['odds_ratio'])}, adjusted p {probability(row['p_adjusted'])}).",
    }


def _expression(result: Mapping[str, Any], table: pd.DataFrame | None, store: Store) -> dict[str, Any]:
    """Return the results of each domain and condition, their volcano plots, and the table of genes."""
    rows = result["expression"]
    parts: list[tuple[Mapping[str, Any], pd.DataFrame]] = []
    if table is not None and len(table):
        by_pair = dict(iter(table.dropna(subset=["p_value"]).groupby(["domain", "condition"], sort=False)))
        for row in rows:
            part = by_pair.get((row["domain"], row["condition"]))
            if part is not None:
                parts.append((row, part.sort_values("p_value", kind="stable")))
    most = min(MOST_GENES, ALL_GENES // max(len(parts), 1))
    several = len(result["conditions"]) > 2
    listed = pd.concat([part.head(most) for _, part in parts]).sort_values("p_value", kind="stable") if parts else None
    return {
        "expression": rows,
        "volcano": _volcanoes(parts, result["control"], store) if parts else None,
        "volcano_choices": {
            condition: [
                (index, f"Domain {row['domain']}{', ' + condition if several else ''}: {_found(row)}")
                for index, (row, _) in enumerate(parts)
                if row["condition"] == condition
            ]
            for condition in dict.fromkeys(row["condition"] for row, _ in parts)
        },
        "most_points": MOST_POINTS,
        "gene_table": store.table(f"{STUDY}-genes", None if listed is None else study_gene_table(listed, several)),
        "most_genes": most,
        "cut": any(len(part) > most for _, part in parts),
    }


def _found(row: Mapping[str, Any]) -> str:
    n = (row["n_up"] or 0) + (row["n_down"] or 0)
    return f"{show(n)} significant" if n else "none significant"


def _volcanoes(parts: Sequence[tuple[Mapping[str, Any], pd.DataFrame]], control: str, store: Store) -> dict[str, Any]:
    """Draw a volcano plot per domain and condition. The initial one has the most significant genes."""
    figures = []
    for row, part in parts:
        drawn = drawn_points(part)
        fewer = f" The figure shows {show(len(drawn))} of {show(len(part))} genes." if len(drawn) < len(part) else ""
        words = (
            f"Domain {row['domain']}, {row['condition']} over {control}: of {show(row['n_tested'])} tested genes, "
            f"{show(row['n_up'])} are higher and {show(row['n_down'])} lower.{fewer}"
        )
        figures.append((volcano(drawn, control), words))
    first = max(range(len(parts)), key=lambda index: (parts[index][0]["n_up"] or 0) + (parts[index][0]["n_down"] or 0))
    choice: Choice = store.choice(f"{STUDY}-volcano", figures, first, VOLCANO)
    return {"shown": choice.shown, "packed": choice.packed, "first": first, "words": figures[first][1]}


def _matches(result: Mapping[str, Any], colors: Mapping[str, str]) -> Matrix | None:
    """Return the match of each shared domain by unit, with its certainty; ``None`` if all sections share a unit."""
    by_unit: dict[str, list[Mapping[str, Any]]] = {}
    for match in result.get("matches", []):
        by_unit.setdefault(match["unit"], []).append(match)
    rows = []
    for unit in natural_order(by_unit):
        cells = [_match_cell([match for match in by_unit[unit] if match["matched"] == name]) for name in colors]
        unmatched = [match["domain"] for match in by_unit[unit] if match["matched"] is None]
        rows.append(Row(Heading(unit), cells, show(unmatched)))
    label = "Domains of each unit matched with the shared domains"
    return Matrix(label, "Unit", domain_headings(colors), rows, "Unmatched") if rows else None


def _match_cell(matches: Sequence[Mapping[str, Any]]) -> Cell:
    """Return the matched domains with their certainty in brackets, shaded by the lowest certainty."""
    certainties = [match["certainty"] for match in matches if match["certainty"] is not None]
    shade = min(certainties, default=0.0)
    text = ", ".join(f"{match['domain']} ({brief(match['certainty'])})" for match in matches)
    return Cell(text or "–", shade if math.isfinite(shade) else 0.0)
