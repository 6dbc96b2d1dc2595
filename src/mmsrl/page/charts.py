"""Figures of section pages as Plotly JSON. ``templates/plots.js`` sets their common style."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from mmsrl._palette import PALETTE
from mmsrl.enhance.verdict import BETTER, UNDECIDED, WORSE
from mmsrl.page.series import Adjoining, Order, Trend, domain_graph, drawn_genes
from mmsrl.page.tissue import SEQUENTIAL

MAX_POINTS = 600
"""Maximum number of points of a curve; longer curves are subsampled."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Line styles, so that curves differ not only in colour."""

INK = "#1b2330"
GAINS, LOSES, UNSURE = PALETTE[0], PALETTE[5], "#8a94a6"
"""Blue, vermilion and grey, which differ with any colour vision."""

MOST_LABELS = 12
"""Maximum number of domains for which a heat map shows numbers in its cells."""

ROW_PX = 17
"""Height of a row of a heat map of genes, in pixels."""


def to_json(figure: go.Figure) -> str:
    """Serialise a figure without its template, escaped for a ``<script>`` element."""
    figure.update_layout(template="none")
    text: str = figure.to_json()
    return text.replace("<", "\\u003c")


def training_curves(log: pd.DataFrame) -> go.Figure:
    """Draw each loss of a training log over the epochs.

    Parameters
    ----------
    log
        Training log. The first column is the epoch; all other numeric columns are losses.
    """
    rows = np.unique(np.linspace(0, len(log) - 1, min(len(log), MAX_POINTS)).round().astype(int))
    thinned = log.iloc[rows]
    epoch = thinned.iloc[:, 0].tolist()
    figure = go.Figure()
    for index, name in enumerate(loss_columns(log)):
        figure.add_scatter(
            x=epoch,
            y=[float(f"{value:.5g}") if np.isfinite(value) else None for value in thinned[name]],
            name=name,
            mode="lines",
            line={"color": PALETTE[index % len(PALETTE)], "dash": DASHES[index % len(DASHES)], "width": 2},
        )
    figure.update_layout(xaxis_title="Epoch", yaxis_title="Loss", showlegend=len(figure.data) > 1)
    return figure


def loss_columns(log: pd.DataFrame) -> list[str]:
    """Return the names of the losses: numeric columns except the first one and the time."""
    numeric = log.iloc[:, 1:].select_dtypes("number")
    return [name for name in numeric.columns if name != "seconds"]


def histogram(title: str, values: npt.NDArray[np.float64]) -> go.Figure:
    """Draw a histogram of a metric over spots, binned in advance to keep the page small."""
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, bins=40)
    figure = go.Figure(
        go.Bar(
            x=[float(f"{middle:.4g}") for middle in (edges[1:] + edges[:-1]) / 2],
            y=counts.tolist(),
            width=float(edges[1] - edges[0]),
            marker_color=PALETTE[0],
            hovertemplate="%{x}: %{y} spots<extra></extra>",
        )
    )
    figure.update_layout(xaxis_title=title, yaxis_title="Spots", bargap=0)
    return figure


def choice_curve(numbers: Sequence[int], stabilities: Sequence[float], chosen: int) -> go.Figure:
    """Draw the stability of each number of domains, and mark the chosen number.

    Parameters
    ----------
    numbers, stabilities
        Candidate numbers of domains, and the agreement of repeated clusterings.
    chosen
        Chosen number.
    """
    figure = go.Figure(
        go.Scatter(x=list(numbers), y=list(stabilities), mode="lines+markers", line_color=PALETTE[0], name="stability")
    )
    figure.add_vline(x=chosen, line={"dash": "dash", "color": PALETTE[5]}, annotation_text=f"chosen: {chosen}")
    figure.update_layout(xaxis_title="Number of domains", yaxis_title="Stability", showlegend=False)
    figure.update_xaxes(tickformat="d", nticks=12)
    return figure


def domain_map(
    sizes: Mapping[str, int], edges: Sequence[Mapping[str, Any]], order: Mapping[str, float], colors: Mapping[str, str]
) -> go.Figure:
    """Draw the PAGA graph of the domains. Node size shows the number of spots, line width the connectivity.

    Parameters
    ----------
    sizes, colors
        Number of spots and colour of each domain.
    edges
        Edges to draw: ``one``, ``other`` and ``connectivity``.
    order
        Median pseudotime rank by domain, possibly empty. It runs from left to right as far as the edges allow.
    """
    places = domain_graph(list(sizes), edges, order)
    figure = go.Figure()
    for edge in edges:
        one, other, strength = places[edge["one"]], places[edge["other"]], float(edge["connectivity"])
        # Intermediate points give the whole line a tooltip.
        along = np.linspace(0, 1, 9)[:, None]
        x, y = (one + along * (np.asarray(other) - one)).round(4).T.tolist()
        figure.add_scatter(
            x=x,
            y=y,
            mode="lines",
            line={"width": 1 + 11 * strength, "color": "#8A94A1"},
            hoverinfo="text",
            text=f"{edge['one']} – {edge['other']}: connectivity {strength:.2f}",
        )
    largest = max(sizes.values())
    figure.add_scatter(
        x=[places[name][0] for name in sizes],
        y=[places[name][1] for name in sizes],
        mode="markers+text",
        marker={
            "size": [round(18 + 30 * (n / largest) ** 0.5, 1) for n in sizes.values()],
            "color": [colors[name] for name in sizes],
            "line": {"width": 1.5, "color": "#fff"},
            "opacity": 1,
        },
        text=list(sizes),
        textfont={"color": [ink_on(colors[name]) for name in sizes], "size": 13},
        customdata=[f"Domain {name}<br>{n:,} spots{_at(order.get(name))}" for name, n in sizes.items()],
        hovertemplate="%{customdata}<extra></extra>",
        cliponaxis=False,
    )
    hidden = {"visible": False, "range": [-1.25, 1.25]}
    figure.update_layout(xaxis=hidden, yaxis=hidden, showlegend=False, hovermode="closest")
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8})
    return figure


def _at(pseudotime: float | None) -> str:
    return "" if pseudotime is None else f"<br>median pseudotime rank {pseudotime:.2f}"


def ink_on(color: str) -> str:
    """Return the text colour, dark or white, with the higher contrast on a background."""
    channels = np.array([int(color[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    luminance = float(linear @ (0.2126, 0.7152, 0.0722))
    # WCAG contrast ratio: (lighter + 0.05) / (darker + 0.05).
    return "#fff" if 1.05 / (luminance + 0.05) > (luminance + 0.05) / 0.066 else INK


def pseudotime_boxes(orders: Sequence[Order], colors: Mapping[str, str]) -> go.Figure:
    """Draw box plots of the pseudotime rank by domain: median, quartiles and the middle 90 % of the spots."""
    figure = go.Figure()
    for order in reversed(orders):
        low, first, middle, third, high = order.quantiles
        figure.add_box(
            y=[order.domain],
            orientation="h",
            lowerfence=[low],
            q1=[first],
            median=[middle],
            q3=[third],
            upperfence=[high],
            fillcolor=colors[order.domain],
            line={"color": INK, "width": 1.2},
            hoverinfo="x",
            name=order.domain,
        )
    figure.update_layout(showlegend=False, height=90 + 30 * len(orders))
    figure.update_xaxes(title="Pseudotime rank (0 = root, 1 = end)", range=[-0.02, 1.02])
    figure.update_yaxes(title="Domain", type="category", showgrid=False)
    return figure


def trend_map(trend: Trend) -> go.Figure:
    """Draw fitted expression along pseudotime, scaled per gene. Genes with the earliest peak are on top."""
    n = trend.curves.shape[1]
    ticks = np.unique(np.linspace(0, n - 1, 5).round().astype(int)).tolist()
    figure = go.Figure(
        go.Heatmap(
            z=trend.scaled.round(3).tolist(),
            y=trend.genes,
            x=list(range(n)),
            customdata=trend.curves.round(3).tolist(),
            colorscale=SEQUENTIAL,
            zmin=0,
            zmax=1,
            ygap=1,
            colorbar={
                "title": {"text": "Fitted<br>expression", "side": "top", "font": {"size": 12}},
                "tickvals": [0, 1],
                "ticktext": ["gene’s min.", "gene’s max."],
                "thickness": 12,
                "len": 200,
                "lenmode": "pixels",
                "y": 1,
                "yanchor": "top",
            },
            hovertemplate=f"%{{y}}: %{{customdata}}{' molecules per 10,000' if trend.counted else ''}<extra></extra>",
        )
    )
    figure.update_layout(height=max(ROW_PX * len(trend.genes) + 70, 300), margin={"t": 8})
    figure.update_xaxes(
        title="Pseudotime rank (0 = root, 1 = end)",
        tickvals=ticks,
        ticktext=[f"{trend.grid[tick]:.2f}" for tick in ticks],
    )
    figure.update_yaxes(autorange="reversed", type="category", dtick=1, tickfont={"size": 11}, showgrid=False)
    return figure


def neighbourhood_map(adjoining: Adjoining) -> go.Figure:
    """Draw the ratio of observed to expected contacts between domains, on a logarithmic colour scale."""
    names = adjoining.names
    ratio = np.clip(adjoining.log2_ratio, -3, 3)
    figure = go.Figure(
        go.Heatmap(
            z=ratio.round(3).tolist(),
            x=names,
            y=names,
            zmin=-3,
            zmax=3,
            colorscale=[[0, "#2D4B87"], [0.25, "#8FB4DB"], [0.5, "#F7F7F7"], [0.75, "#EFA765"], [1, "#A84300"]],
            xgap=1,
            ygap=1,
            text=adjoining.cells,
            texttemplate="%{text}" if len(names) <= MOST_LABELS else "",
            textfont={"size": 11},
            customdata=adjoining.words,
            hovertemplate="%{customdata}<extra></extra>",
            colorbar={
                "title": {"text": "Contacts,<br>observed /<br>expected", "side": "top", "font": {"size": 11}},
                "tickvals": [-3, -1, 0, 1, 3],
                "ticktext": ["⅛×", "½×", "1×", "2×", "8×"],
                "thickness": 12,
                "len": 0.9,
            },
        )
    )
    figure.update_layout(height=min(max(100 + 38 * len(names), 260), 400), margin={"t": 8})
    figure.update_xaxes(title="Neighbouring domain", type="category", showgrid=False, constrain="domain")
    figure.update_yaxes(title="Domain", type="category", autorange="reversed", showgrid=False)
    figure.update_yaxes(scaleanchor="x", constrain="domain", constraintoward="top")
    return figure


def evidence(table: pd.DataFrame, saved: str) -> go.Figure:
    """Draw the share of another estimate's held-out deviance that de-noised expression saves, by gene.

    Parameters
    ----------
    table
        Columns ``gene``, ``held_out`` (molecules), ``verdict`` and ``saved``.
    saved
        Name of the column with the saved share.
    """
    drawn = drawn_genes(table)
    percent = 100 * drawn[saved]
    lowest, highest = -50.0, max(float(percent.max()) * 1.05, 5.0)
    figure = go.Figure()
    for name, color, symbol in (
        (UNDECIDED, UNSURE, "circle-open"),
        (BETTER, GAINS, "circle"),
        (WORSE, LOSES, "diamond"),
    ):
        rows = drawn["verdict"] == name
        figure.add_scatter(
            x=drawn["held_out"][rows].tolist(),
            y=np.maximum(percent[rows], lowest).round(2).tolist(),
            mode="markers",
            name=name,
            marker={"color": color, "symbol": symbol, "size": 5, "opacity": 0.6},
            customdata=[
                f"{gene}: {value:+.1f} %" for gene, value in zip(drawn["gene"][rows], percent[rows], strict=True)
            ],
            hovertemplate="%{customdata}, %{x} molecules<extra></extra>",
        )
    figure.add_hline(y=0, line={"color": INK, "width": 1})
    figure.update_xaxes(title="Held-out molecules of the gene", type="log", dtick=1)
    figure.update_yaxes(title="Saved deviance (%)", range=[lowest * 1.05, highest])
    figure.update_layout(legend={"y": 1.02, "yanchor": "bottom", "x": 0, "itemsizing": "constant"}, margin={"t": 30})
    return figure
