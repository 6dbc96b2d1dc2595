"""Figures of the study page: strip charts, composition, odds ratios and volcano plots."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from mmsrl.markers.table import FDR
from mmsrl.page.charts import GAINS, INK, LOSES, UNSURE, ink_on

MOST_POINTS = 2000
"""Maximum number of genes in a volcano plot: significant genes first, then an even selection of the others."""

MOST_LABELS = 10
"""Maximum number of labelled genes in a volcano plot."""

LETTER_WIDTH, LABEL_HEIGHT = 0.03, 0.06
"""Width of a letter and height of a line on a narrow screen, as a share of the axes."""

STRIP_PX, STRIP_SPREAD = 44, 0.5
"""Height of a condition in a strip chart in pixels, and the share of it over which its sections are spread."""

BAR_PX = 24
"""Height of the bar of a section, in pixels."""

REST = "#d8dde4"
"""Colour of spots whose domain has no counterpart among the shared domains."""

SMALLEST_P = 1e-300


def short(name: str, most: int = 16) -> str:
    """Shorten a name to fit an axis."""
    return name if len(name) <= most else name[: most - 1] + "…"


def condition_strip(
    values: Mapping[str, float], groups: Mapping[str, Sequence[str]], flagged: Collection[str]
) -> go.Figure:
    """Draw a strip chart of a metric of all sections by condition.

    Parameters
    ----------
    values
        Metric by section. Sections without a value are left out.
    groups
        Sections by condition.
    flagged
        Outliers in this metric, which are labelled.
    """
    x: list[float] = []
    y: list[float] = []
    names: list[str] = []
    for row, sections in enumerate(groups.values()):
        known = sorted((name for name in sections if name in values), key=lambda name: values[name])
        # Spread sections vertically by rank, so that equal values do not hide each other.
        y += [round(row + STRIP_SPREAD * (rank / max(len(known) - 1, 1) - 0.5), 3) for rank in range(len(known))]
        x += [values[name] for name in known]
        names += known
    outlying = [name in flagged for name in names]
    right = max(x, default=0) / 2
    figure = go.Figure(
        go.Scatter(
            x=x,
            y=y,
            mode="markers+text",
            marker={
                "color": [LOSES if out else GAINS for out in outlying],
                "symbol": ["diamond" if out else "circle" for out in outlying],
                "size": [11 if out else 9 for out in outlying],
                "line": {"width": 1, "color": "#fff"},
            },
            text=[short(name) if out else "" for name, out in zip(names, outlying, strict=True)],
            textposition=["middle left" if at > right else "middle right" for at in x],
            textfont={"size": 12, "color": INK},
            customdata=names,
            hovertemplate="%{customdata}: %{x}<extra></extra>",
            cliponaxis=False,
        )
    )
    figure.update_layout(showlegend=False, hovermode="closest", height=50 + STRIP_PX * len(groups))
    figure.update_layout(margin={"t": 4, "b": 36})
    figure.update_xaxes(rangemode="tozero", nticks=5)
    figure.update_yaxes(
        tickvals=list(range(len(groups))),
        ticktext=[short(name) for name in groups],
        range=[len(groups) - 0.4, -0.6],
        gridcolor="rgba(0,0,0,0)",
    )
    return figure


def composition_bars(
    sections: Sequence[Mapping[str, Any]], groups: Mapping[str, str], domains: Sequence[str], colors: Mapping[str, str]
) -> go.Figure:
    """Draw stacked bars with the share of each domain by section, grouped by condition.

    Parameters
    ----------
    sections
        Sections, sorted by condition, with ``sample``, ``condition``, ``n_spots`` and ``shares`` by domain.
    groups
        Heading by condition.
    domains, colors
        Domains in order, and their colours.
    """
    rows: list[float] = []
    headings: list[tuple[float, str]] = []
    at = 0.0
    for index, section in enumerate(sections):
        if index == 0 or section["condition"] != sections[index - 1]["condition"]:
            headings.append((at, groups[section["condition"]]))
            at += 1
        rows.append(at)
        at += 1
    figure = go.Figure()
    for name in domains:
        shares = [float(section["shares"].get(name) or 0) for section in sections]
        figure.add_bar(**_bars(rows, shares, sections, f"domain {name}", name, colors[name]))
    rest = [max(1 - sum(value or 0 for value in section["shares"].values()), 0.0) for section in sections]
    if max(rest, default=0) > 1e-3:
        figure.add_bar(**_bars(rows, rest, sections, "no counterpart", "", REST))
    for row, text in headings:
        figure.add_annotation(
            x=0, xref="paper", xanchor="left", y=row, yanchor="middle", text=text, showarrow=False, font={"size": 13}
        )
    figure.update_layout(
        barmode="stack", bargap=0.18, showlegend=False, hovermode="closest", height=round(BAR_PX * at + 70)
    )
    figure.update_xaxes(title="Share of the section’s spots (%)", range=[0, 100])
    figure.update_yaxes(
        tickvals=rows,
        ticktext=[short(section["sample"]) for section in sections],
        range=[at - 0.4, -0.6],
        showgrid=False,
    )
    return figure


def _bars(
    rows: Sequence[float],
    shares: Sequence[float],
    sections: Sequence[Mapping[str, Any]],
    words: str,
    label: str,
    color: str,
) -> dict[str, Any]:
    return {
        "x": [round(100 * share, 2) for share in shares],
        "y": list(rows),
        "orientation": "h",
        "name": label,
        "marker": {"color": color, "line": {"color": "#fff", "width": 0.5}},
        # On a narrow screen, a bar is about 200 px wide and a letter 7 px.
        "text": [label if 7 * len(label) + 4 <= 200 * share else "" for share in shares],
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "textfont": {"color": ink_on(color), "size": 11},
        "customdata": [
            f"{section['sample']}: {words}, {100 * share:.1f} % of {section['n_spots']:,} spots"
            for section, share in zip(sections, shares, strict=True)
        ],
        "hovertemplate": "%{customdata}<extra></extra>",
    }


LIMITS = (2, 3, 4, 6, 8, 16, 32)
"""Possible limits of the axis of odds ratios."""


class Forest(NamedTuple):
    """Positions of odds ratios on a logarithmic axis from ``1 / limit`` to ``limit``, as shares of its length."""

    limit: int
    marks: list[tuple[float, float, float] | None]
    """Lower end, estimate and upper end; ``None`` without an estimate."""


def forest(ratios: Sequence[tuple[float | None, float | None, float | None]]) -> Forest:
    """Place odds ratios and their intervals on a common logarithmic axis.

    Parameters
    ----------
    ratios
        Lower end, estimate and upper end. Values beyond 32-fold are drawn at the end of the axis.
    """
    known = [[math.log2(max(value, 1e-9)) for value in row if value is not None] for row in ratios]
    widest = max((abs(value) for row in known if len(row) == 3 for value in row), default=1.0)
    limit = next((limit for limit in LIMITS if math.log2(limit) >= widest), LIMITS[-1])

    def place(value: float) -> float:
        return round(min(max((value / math.log2(limit) + 1) / 2, 0.0), 1.0), 4)

    marks = [(place(row[0]), place(row[1]), place(row[2])) if len(row) == 3 else None for row in known]
    return Forest(limit, marks)


def drawn_points(table: pd.DataFrame, most: int = MOST_POINTS) -> pd.DataFrame:
    """Select the genes of a volcano plot: significant genes first, then an even selection of the others.

    Parameters
    ----------
    table
        Genes of a domain and condition with a p-value, most significant first.
    most
        Maximum number of genes.
    """
    significant = (table["p_adjusted"] < FDR).to_numpy()
    first = np.flatnonzero(significant)[:most]
    others = np.flatnonzero(~significant)
    room = min(most - len(first), len(others))
    chosen = others[np.linspace(0, len(others) - 1, room).round().astype(np.int64)] if room else others[:0]
    return table.iloc[np.sort(np.concatenate([first, chosen]))]


def volcano(table: pd.DataFrame, control: str) -> go.Figure:
    """Draw a volcano plot of fold change and p-value, with labels for significant genes.

    Parameters
    ----------
    table
        Genes to draw, most significant first: ``gene``, ``log2_fold_change``, ``p_value`` and ``p_adjusted``.
    control
        Reference condition of the fold changes.
    """
    x = table["log2_fold_change"].to_numpy(np.float64)
    y = -np.log10(np.maximum(table["p_value"].to_numpy(np.float64), SMALLEST_P))
    significant = (table["p_adjusted"] < FDR).to_numpy()
    reach = 1.3 * max(float(np.abs(x).max(initial=0)), 1.0)
    top = 1.12 * max(float(y.max(initial=0)), 2.0)
    figure = go.Figure()
    for name, rows, color, symbol in (
        ("not significant", ~significant, UNSURE, "circle-open"),
        ("higher", significant & (x > 0), GAINS, "circle"),
        ("lower", significant & (x <= 0), LOSES, "diamond"),
    ):
        figure.add_scatter(
            x=x[rows].round(3).tolist(),
            y=y[rows].round(3).tolist(),
            mode="markers",
            name=name,
            marker={"color": color, "symbol": symbol, "size": 6 if color != UNSURE else 5, "opacity": 0.7},
            text=table["gene"][rows].tolist(),
            customdata=[float(f"{value:.2g}") if np.isfinite(value) else None for value in table["p_adjusted"][rows]],
            hovertemplate="%{text}: log2 fold change %{x:.2f}, adjusted p %{customdata}<extra></extra>",
        )
    labels = [short(gene, 14) for gene in table["gene"]]
    # Halfway between the least significant gene below the FDR and the next gene.
    threshold = (y[significant].min(initial=top) + y[~significant].max(initial=0)) / 2
    named, sides = _named(x / (2 * reach), y / top, significant, labels, threshold / top)
    figure.add_scatter(
        x=x[named].round(3).tolist(),
        y=y[named].round(3).tolist(),
        mode="markers+text",
        marker={"size": 8, "opacity": 0},  # invisible markers keep labels off the points
        text=[labels[index] for index in named],
        textposition=[f"{side} center" for side in sides],
        textfont={"size": 12, "color": INK},
        hoverinfo="skip",
        showlegend=False,
        cliponaxis=False,
    )
    if significant.any():
        figure.add_hline(y=round(float(threshold), 3), line={"color": INK, "width": 1, "dash": "dash"})
    figure.update_layout(legend={"y": 1.02, "yanchor": "bottom", "x": 0, "itemsizing": "constant"}, margin={"t": 34})
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(title=f"log2 fold change over {short(control)}", range=[-reach, reach])
    figure.update_yaxes(title="−log10 p", range=[-0.02 * top, top])
    return figure


def _named(
    x: npt.NDArray[np.float64],
    y: npt.NDArray[np.float64],
    significant: npt.NDArray[np.bool_],
    labels: Sequence[str],
    threshold: float,
) -> tuple[list[int], list[str]]:
    """Choose the genes to label, most significant first. Labels above or below a point must not overlap.

    Parameters
    ----------
    x, y
        Positions as shares of the axes, (n,).
    significant, labels
        Significance and label of each gene, (n,).
    threshold
        Height, as a share of the axis, below which no gene is labelled.

    Returns
    -------
    Labelled rows, and ``top`` or ``bottom`` for each.
    """
    named: list[int] = []
    sides: list[str] = []
    boxes = np.zeros((0, 3))
    points = np.column_stack([x, y])[significant]
    for index in np.flatnonzero(significant).tolist():
        for side, shift in (("top", LABEL_HEIGHT), ("bottom", -LABEL_HEIGHT)):
            box = np.array([x[index], y[index] + 0.7 * shift, LETTER_WIDTH * (len(labels[index]) + 1)])
            beside = np.abs(boxes[:, 0] - box[0]) >= (boxes[:, 2] + box[2]) / 2
            clear = (beside | (np.abs(boxes[:, 1] - box[1]) >= LABEL_HEIGHT)).all()
            covered = (np.abs(points - box[:2]) < (box[2] / 2, LABEL_HEIGHT / 2)).all(axis=1).any()
            if clear and not covered and box[1] - LABEL_HEIGHT / 2 >= threshold:
                boxes = np.vstack([boxes, box])
                named.append(index)
                sides.append(side)
                break
        if len(named) == MOST_LABELS:
            break
    return named, sides
