"""Figures of a section, drawn from arrays."""

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
"""Width of a panel in inches."""

FADED = 0.35
"""Opacity of the tissue image under spots."""

NOTHING = "#D9D9D9"
"""Colour of spots without a value."""

LEGEND_ROWS = 16
"""Maximum number of domains in a column of a legend."""


class Spots(NamedTuple):
    """Geometry of a section. Lengths are pixels of the full-resolution image; the y axis points down."""

    coordinates: NDArray[np.float64]
    """Centres of the spots, (n, 2)."""
    diameter: float
    square: bool
    """Whether to draw squares (adjacent bins) instead of discs (spots)."""
    background: Background | None
    um_per_px: float = float("nan")
    """Pixel size in µm; NaN, without a scale bar, if not known."""


class Values(NamedTuple):
    """Continuous values that colour the spots."""

    title: str
    unit: str
    values: NDArray[np.float64]
    """Values, (n,); NaN is drawn in grey."""
    counted: bool = False
    """Whether values are counts, with a logarithmic colour scale if they span more than a decade."""
    limits: tuple[float, float] | None = None
    """Colour limits; by default the range of the values without outliers."""


def domains_on_tissue(title: str, section: Spots, labels: NDArray[np.str_], colors: Mapping[str, str]) -> Figure:
    """Draw the domains, (n,) labels, on the tissue, beside the tissue image if there is one."""
    window = window_of(section.coordinates, section.diameter)
    figure, axes = _panels(title, window, 1 + (section.background is not None))
    if section.background is not None:
        show_image(axes[0], section.background, window, 1.0)
        axes[0].set_title("Tissue")
    add_scale_bar(axes[0], window, section.um_per_px)
    _tissue(axes[-1], section, window)
    polygons = _polygons(section, window)
    polygons.set(facecolor=[colors[label] for label in labels], rasterized=True)
    axes[-1].add_collection(polygons)
    axes[-1].set_title("Domains")
    _legend(figure, colors, labels)
    return figure


def values_on_tissue(title: str, section: Spots, panels: Sequence[Values]) -> Figure:
    """Draw continuous values on the tissue, one panel each."""
    window = window_of(section.coordinates, section.diameter)
    figure, axes = _panels(title, window, len(panels))
    for axis, panel in zip(axes, panels, strict=True):
        _tissue(axis, section, window)
        polygons = _polygons(section, window)
        _color_by_values(figure, axis, polygons, panel)
        axis.add_collection(polygons)
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
    """Draw the UMAP of the spots, (n, 2), coloured by domain, (n,), and by continuous values, one panel each."""
    figure = Figure(figsize=(WIDTH * (1 + len(panels)) + 0.6, WIDTH + 0.3), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(1, 1 + len(panels), squeeze=False).flat)
    size = float(np.clip(20_000 / len(places), 1.0, 20.0))
    # A fixed random order keeps the last domain from covering the others.
    order = np.random.default_rng(0).permutation(len(places))
    x, y = places[order].T
    axes[0].scatter(x, y, s=size, c=[colors[label] for label in labels[order]], linewidths=0, rasterized=True)
    axes[0].set_title("Domains")
    _legend(figure, colors, labels)
    for axis, panel in zip(axes[1:], panels, strict=True):
        points = axis.scatter(x, y, s=size, c=panel.values[order], linewidths=0, plotnonfinite=True)
        _color_by_values(figure, axis, points, panel._replace(values=panel.values[order]))
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
    """Draw the PAGA graph of the domains (Wolf et al., Genome Biology 20, 59, 2019).

    Parameters
    ----------
    title
        Title of the figure.
    places, labels
        UMAP, (n, 2), and domain, (n,), of the spots. A node lies at the median of its spots.
    colors
        Colour of each domain.
    edges
        Pairs of domains with their connectivity from 0 to 1, drawn as line width.
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
    axis.set_title("PAGA graph: line width = connectivity, size = spots", fontsize="medium")
    axis.margins(0.08)
    _empty_layout(axis)
    return figure


def _panels(title: str, window: Window, n: int) -> tuple[Figure, list[Axes]]:
    """Return a figure with ``n`` tissue panels in at most three columns."""
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
    """Remove ticks and frame of the axes of a layout."""
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.spines[:].set_visible(False)


def _tissue(axis: Axes, section: Spots, window: Window) -> None:
    if section.background is not None:
        show_image(axis, section.background, window, FADED)


def _polygons(section: Spots, window: Window) -> PolyCollection:
    width = section.diameter if section.square else visible(section.diameter, window)
    return spots(section.coordinates, width, section.square)


def _color_by_values(figure: Figure, axis: Axes, collection: Collection, panel: Values) -> None:
    """Colour spots by values, grey for missing values, with a colour bar that names the quantity and its unit."""
    norm = Normalize(*panel.limits) if panel.limits else color_range(panel.values, counted=panel.counted)
    collection.set(
        array=np.ma.masked_invalid(panel.values),
        cmap=colormaps[COLOR_MAP].with_extremes(bad=NOTHING),
        norm=norm,
        rasterized=True,
    )
    bar = figure.colorbar(collection, ax=axis, shrink=0.7, pad=0.01, label=f"{panel.title} ({panel.unit})")
    bar.outline.set_visible(False)


def _legend(figure: Figure, colors: Mapping[str, str], labels: NDArray[np.str_]) -> None:
    """Add a legend of the domains of the section at the right."""
    present = [label for label in colors if (labels == label).any()]
    handles = [Line2D([], [], marker="o", linestyle="", markersize=9, color=colors[label]) for label in present]
    columns = -(-len(present) // LEGEND_ROWS)
    figure.legend(
        handles, present, loc="outside right center", frameon=False, ncols=columns, handletextpad=0.1, title="Domain"
    )
