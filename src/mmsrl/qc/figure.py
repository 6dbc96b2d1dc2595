"""Figure of the quality metrics on the tissue. Works on arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mmsrl._drawing import (
    COLOR_MAP,
    Background,
    add_scale_bar,
    color_range,
    empty_tissue,
    show_image,
    spots,
    visible,
    window_of,
)

KEPT, REMOVED = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe and Ito, a palette for colour-blind readers."""


class Panel(NamedTuple):
    """Panel with one metric on the tissue."""

    title: str
    values: NDArray[np.float64]
    """(n_spots,)."""
    counted: bool
    """Whether the values are counts. Counts over more than a decade get a logarithmic colour scale."""


def draw(
    title: str,
    coordinates: NDArray[np.float64],
    diameter: float,
    square: bool,
    panels: Sequence[Panel],
    keep: NDArray[np.bool_],
    background: Background | None,
    um_per_px: float,
) -> Figure:
    """Draw the tissue image, one panel for each metric, and the kept and removed spots.

    Parameters
    ----------
    title
        Title of the figure.
    coordinates
        (n_spots, 2) float64 x, y in pixels of the full-resolution image.
    diameter
        Spot diameter in the same pixels. Spots are drawn to scale.
    square
        Whether to draw squares (bins) instead of discs (spots).
    panels
        Metrics to draw.
    keep
        (n_spots,) bool, spots that passed all filters.
    background
        Tissue image, or ``None``.
    um_per_px
        Size of a pixel in µm. NaN omits the scale bar.

    Returns
    -------
    Figure
        The figure, which the caller saves.
    """
    window = window_of(coordinates, diameter)
    width = diameter if square else visible(diameter, window)
    n_panels = len(panels) + 1 + (background is not None)
    n_columns = 2 if n_panels in (2, 4) else 3
    n_rows = -(-n_panels // n_columns)
    height = 3.8 * window.proportion
    figure = Figure(figsize=(4.4 * n_columns, (height + 0.5) * n_rows + 0.4), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for unused in axes[n_panels:]:
        unused.remove()
    axes = axes[:n_panels]
    for axis in axes:
        empty_tissue(axis, window)
    add_scale_bar(axes[0], window, um_per_px)

    if background is not None:
        axis = axes.pop(0)
        show_image(axis, background, window, 1.0)
        axis.set_title("Tissue")
    for axis, panel in zip(axes, panels, strict=False):
        if background is not None:
            show_image(axis, background, window, 0.35)
        collection = spots(coordinates, width, square)
        norm = color_range(panel.values, counted=panel.counted)
        collection.set(array=np.clip(panel.values, norm.vmin, norm.vmax), cmap=COLOR_MAP, norm=norm)
        axis.add_collection(collection)
        axis.set_title(panel.title)
        figure.colorbar(collection, ax=axis, shrink=0.8, pad=0.01).outline.set_visible(False)

    axis = axes[-1]
    if background is not None:
        show_image(axis, background, window, 0.35)
    for chosen, color, name in ((keep, KEPT, "kept"), (~keep, REMOVED, "removed")):
        collection = spots(coordinates[chosen], width, square)
        collection.set_facecolor(color)
        axis.add_collection(collection)
        axis.plot([], [], "s", color=color, label=f"{chosen.sum():,} {name}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False, handletextpad=0.2)
    axis.set_title("Filter")
    return figure
