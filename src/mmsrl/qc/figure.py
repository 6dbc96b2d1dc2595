"""Quality on the tissue, as one picture. Arrays only."""

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
"""Blue and vermilion of Okabe and Ito, told apart with any colour vision."""


class Panel(NamedTuple):
    """One metric on the tissue."""

    title: str
    values: NDArray[np.float64]
    """(n,)."""
    counted: bool
    """Counts, whose colours are logarithmic where they span more than a decade: what filters look at is low."""


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
    """Draw the tissue, one panel for each metric, and which spots were kept.

    Parameters
    ----------
    title
        Over the figure.
    coordinates
        (n, 2) x, y in pixels of the full-resolution image.
    diameter
        Of a spot, in the same pixels; spots are drawn true to scale.
    square
        Bins that tile the plane are drawn as squares, spots as discs.
    panels
        Metrics to draw.
    keep
        (n,) spots that passed.
    background
        Image, if there is one.
    um_per_px
        µm of a pixel; NaN where they are not known: then there is no scale bar.
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
        drawn = spots(coordinates, width, square)
        norm = color_range(panel.values, counted=panel.counted)
        drawn.set(array=np.clip(panel.values, norm.vmin, norm.vmax), cmap=COLOR_MAP, norm=norm)
        axis.add_collection(drawn)
        axis.set_title(panel.title)
        figure.colorbar(drawn, ax=axis, shrink=0.8, pad=0.01).outline.set_visible(False)

    axis = axes[-1]
    if background is not None:
        show_image(axis, background, window, 0.35)
    for chosen, color, name in ((keep, KEPT, "kept"), (~keep, REMOVED, "removed")):
        drawn = spots(coordinates[chosen], width, square)
        drawn.set_facecolor(color)
        axis.add_collection(drawn)
        axis.plot([], [], "s", color=color, label=f"{chosen.sum():,} {name}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False, handletextpad=0.2)
    axis.set_title("Filter")
    return figure
