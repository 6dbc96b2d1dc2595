"""The figures of a section. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import Collection, PolyCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from mmsrl._drawing import (
    COLOR_MAP,
    Background,
    Window,
    add_scale_bar,
    color_range,
    empty_tissue,
    show_image,
    spots,
    visible,
    window_of,
)

WIDTH = 5.0
"""Of a panel, in inches."""

FADED = 0.35
"""Strength of the tissue image under spots."""

NOTHING = "#D9D9D9"
"""Spots without a value."""

LEGEND_ROWS = 16
"""Domains in one column of a legend."""


class Spots(NamedTuple):
    """Where the spots of a section lie. Lengths are pixels of the full-resolution image, y pointing down."""

    coordinates: NDArray[np.float64]
    """(n, 2)."""
    diameter: float
    square: bool
    """Bins that tile the plane are drawn as squares, spots as discs."""
    background: Background | None
    um_per_px: float = float("nan")
    """µm of a pixel; NaN where they are not known: then there is no scale bar."""


class Values(NamedTuple):
    """Numbers to colour spots by."""

    title: str
    values: NDArray[np.float64]
    """(n,); NaN is drawn grey."""
    counted: bool = False
    """Counts, whose colours are logarithmic where they span more than a decade."""
    limits: tuple[float, float] | None = None
    """Ends of the colours; those of the values, less outliers, if not given."""


def domains_on_tissue(title: str, section: Spots, labels: NDArray[np.str_], colors: Mapping[str, str]) -> Figure:
    """Draw the domains, (n,) labels, on the tissue, and beside them the tissue itself where there is an image."""
    window = window_of(section.coordinates, section.diameter)
    figure, axes = _panels(title, window, 1 + (section.background is not None))
    if section.background is not None:
        show_image(axes[0], section.background, window, 1.0)
        axes[0].set_title("Tissue")
    add_scale_bar(axes[0], window, section.um_per_px)
    _tissue(axes[-1], section, window)
    drawn = _drawn(section, window)
    drawn.set(facecolor=[colors[label] for label in labels], rasterized=True)
    axes[-1].add_collection(drawn)
    axes[-1].set_title("Domains")
    _legend(figure, colors, labels)
    return figure


def values_on_tissue(title: str, section: Spots, panels: Sequence[Values]) -> Figure:
    """Draw numbers on the tissue, a panel each."""
    window = window_of(section.coordinates, section.diameter)
    figure, axes = _panels(title, window, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        _tissue(axis, section, window)
        drawn = _drawn(section, window)
        _coloured(figure, axis, drawn, panel)
        axis.add_collection(drawn)
        axis.set_title(panel.title)
    add_scale_bar(axes[0], window, section.um_per_px)
    return figure


def layout(
    title: str,
    places: NDArray[np.float64],
    labels: NDArray[np.str_],
    colors: Mapping[str, str],
    panels: Sequence[Values],
) -> Figure:
    """Draw the spots in the layout of the embedding, (n, 2): by domain, (n,), and by numbers, a panel each."""
    figure = Figure(figsize=(WIDTH * (1 + len(panels)) + 0.6, WIDTH + 0.3), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(1, 1 + len(panels), squeeze=False).flat)
    size = float(np.clip(20_000 / len(places), 1.0, 20.0))
    # One after the other would hide what comes first: the order is random, and the same every time.
    order = np.random.default_rng(0).permutation(len(places))
    x, y = places[order].T
    axes[0].scatter(x, y, s=size, c=[colors[label] for label in labels[order]], linewidths=0, rasterized=True)
    axes[0].set_title("Domains")
    _legend(figure, colors, labels)
    for axis, panel in zip(axes[1:], panels, strict=True):
        drawn = axis.scatter(x, y, s=size, c=panel.values[order], linewidths=0, plotnonfinite=True)
        _coloured(figure, axis, drawn, panel._replace(values=panel.values[order]))
        axis.set_title(panel.title)
    for axis in axes:
        axis.set(xlabel="UMAP 1", ylabel="UMAP 2")
        _empty_layout(axis)
    return figure


def connections(
    title: str,
    places: NDArray[np.float64],
    labels: NDArray[np.str_],
    colors: Mapping[str, str],
    edges: Sequence[tuple[str, str, float]],
) -> Figure:
    """Draw how strongly domains connect (PAGA, Wolf et al., Genome Biology 20, 59, 2019).

    Parameters
    ----------
    title
        Over the figure.
    places, labels
        (n, 2) layout and (n,) domains of the spots: a domain stands at the median of its own.
    colors
        By domain.
    edges
        Two domains and the strength of their connection, 0 to 1, which is the width of the line.
    """
    figure = Figure(figsize=(WIDTH + 1.0, WIDTH), layout="constrained")
    figure.suptitle(title)
    axis = figure.subplots()
    present = [label for label in colors if (labels == label).any()]
    centre = {label: np.median(places[labels == label], axis=0) for label in present}
    share = {label: float((labels == label).mean()) for label in present}
    axis.scatter(places[:, 0], places[:, 1], s=2, c=NOTHING, linewidths=0, rasterized=True, zorder=0)
    for one, other, strength in edges:
        axis.plot(*np.stack([centre[one], centre[other]], axis=1), color="#404040", linewidth=8 * strength, zorder=1)
    for label in present:
        x, y = centre[label]
        axis.scatter(x, y, s=250 + 1200 * share[label], c=colors[label], edgecolors="white", zorder=2)
        axis.annotate(label, centre[label], ha="center", va="center", fontweight="bold", zorder=3).set_bbox(
            {"boxstyle": "round,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.75}
        )
    axis.set_title("Connections of domains")
    axis.margins(0.08)
    _empty_layout(axis)
    return figure


def _panels(title: str, window: Window, n: int) -> tuple[Figure, list[Axes]]:
    """Return a figure of ``n`` pieces of tissue in at most three columns."""
    columns = min(n, 2 if n == 4 else 3)
    rows = -(-n // columns)
    figure = Figure(
        figsize=(WIDTH * columns + 0.4, (WIDTH * window.proportion + 0.3) * rows + 0.3), layout="constrained"
    )
    figure.suptitle(title)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[n:]:
        unused.remove()
    for axis in axes[:n]:
        empty_tissue(axis, window)
    return figure, axes[:n]


def _empty_layout(axis: Axes) -> None:
    """Make axes those of a layout, where only distances mean something: no ticks."""
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)


def _tissue(axis: Axes, section: Spots, window: Window) -> None:
    if section.background is not None:
        show_image(axis, section.background, window, FADED)


def _drawn(section: Spots, window: Window) -> PolyCollection:
    width = section.diameter if section.square else visible(section.diameter, window)
    return spots(section.coordinates, width, section.square)


def _coloured(figure: Figure, axis: Axes, drawn: Collection, panel: Values) -> None:
    """Colour spots by numbers, those without one grey, with a bar that says which colour is what."""
    norm = Normalize(*panel.limits) if panel.limits else color_range(panel.values, counted=panel.counted)
    drawn.set(
        array=np.ma.masked_invalid(panel.values),
        cmap=colormaps[COLOR_MAP].with_extremes(bad=NOTHING),
        norm=norm,
        rasterized=True,
    )
    figure.colorbar(drawn, ax=axis, shrink=0.7, pad=0.01).outline.set_visible(False)


def _legend(figure: Figure, colors: Mapping[str, str], labels: NDArray[np.str_]) -> None:
    """Name the colours of the domains that there are, at the right."""
    present = [label for label in colors if (labels == label).any()]
    handles = [Line2D([], [], marker="o", linestyle="", markersize=9, color=colors[label]) for label in present]
    columns = -(-len(present) // LEGEND_ROWS)
    figure.legend(handles, present, loc="outside right center", frameon=False, ncols=columns, handletextpad=0.1)
