"""The small figures of the report, as plotly JSON; their common look is in ``templates/report.js``."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
import plotly.graph_objects as go

from mmsrl._palette import PALETTE

MAX_POINTS = 600
"""A curve with more points than a screen has columns is thinned."""

DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
"""Curves differ in their dashes as well as in colour."""


def to_json(figure: go.Figure) -> str:
    """Serialise without the template, and so that it can stand inside a ``<script>`` element."""
    figure.update_layout(template="none")
    text: str = figure.to_json()
    return text.replace("<", "\\u003c")


def training_curves(log: pd.DataFrame) -> go.Figure:
    """Draw every loss of a training log over the epochs.

    Parameters
    ----------
    log
        The first column is the epoch, all other numeric columns are losses.
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
    """Return the names of the columns that are losses: numeric, neither the first nor the time."""
    numeric = log.iloc[:, 1:].select_dtypes("number")
    return [name for name in numeric.columns if name != "seconds"]


def histogram(title: str, values: npt.NDArray[np.float64]) -> go.Figure:
    """Draw the distribution of a metric over spots, binned here so that the page stays small."""
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
    """Draw how stable each number of domains is, and which one was taken.

    Parameters
    ----------
    numbers, stabilities
        Numbers of domains that were tried, and how well labelings with so many agree.
    chosen
        The number taken.
    """
    figure = go.Figure(
        go.Scatter(x=list(numbers), y=list(stabilities), mode="lines+markers", line_color=PALETTE[0], name="stability")
    )
    figure.add_vline(x=chosen, line={"dash": "dash", "color": PALETTE[5]}, annotation_text=f"taken: {chosen}")
    figure.update_layout(xaxis_title="Number of domains", yaxis_title="Stability", showlegend=False)
    return figure
