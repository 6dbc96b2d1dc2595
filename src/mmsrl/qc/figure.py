"""Quality on the tissue, as one picture. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from numpy.typing import NDArray

MARGIN = 0.04
"""Tissue shown around the spots, as a share of their extent."""

COLOR_MAP = "viridis"
KEPT, REMOVED = "#0072B2", "#D55E00"
"""Blue and vermilion of Okabe and Ito, told apart with any colour vision."""


DISC_CORNERS = 24
"""Corners of the polygon that a round spot is drawn as."""


class Panel(NamedTuple):
    """One metric on the tissue."""

    title: str
    values: NDArray[np.float64]
    """(n,)."""
    counted: bool
    """Counts, whose colours are logarithmic where they span more than a decade: what filters look at is low."""


class Background(NamedTuple):
    """Tissue image under the spots."""

    image: NDArray[np.uint8]
    """(height, width, 3)."""
    scale: float
    """Pixels of ``image`` per pixel of the full-resolution image."""


def draw(
    title: str,
    coordinates: NDArray[np.float64],
    diameter: float,
    square: bool,
    panels: Sequence[Panel],
    keep: NDArray[np.bool_],
    background: Background | None,
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
    """
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    pad = MARGIN * max(high - low) + diameter
    low, high = low - pad, high + pad
    n_panels = len(panels) + 1 + (background is not None)
    n_columns = 2 if n_panels in (2, 4) else 3
    n_rows = -(-n_panels // n_columns)
    height = 3.8 * float(np.clip((high[1] - low[1]) / (high[0] - low[0]), 0.4, 1.6))
    figure = Figure(figsize=(4.4 * n_columns, (height + 0.5) * n_rows + 0.4), layout="constrained")
    figure.suptitle(title)
    axes = list(figure.subplots(n_rows, n_columns, squeeze=False).flat)
    for unused in axes[n_panels:]:
        unused.remove()
    axes = axes[:n_panels]
    for axis in axes:
        axis.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]), aspect="equal", xticks=[], yticks=[])
        axis.spines[:].set_visible(False)

    if background is not None:
        axis = axes.pop(0)
        _show_image(axis, background, low, high, 1.0)
        axis.set_title("Tissue")
    for axis, panel in zip(axes, panels, strict=False):
        if background is not None:
            _show_image(axis, background, low, high, 0.35)
        spots = _spots(coordinates, diameter, square)
        norm = _norm(panel)
        spots.set(array=np.clip(panel.values, norm.vmin, norm.vmax), cmap=COLOR_MAP, norm=norm)
        axis.add_collection(spots)
        axis.set_title(panel.title)
        figure.colorbar(spots, ax=axis, shrink=0.8, pad=0.01).outline.set_visible(False)

    axis = axes[-1]
    if background is not None:
        _show_image(axis, background, low, high, 0.35)
    for chosen, color, name in ((keep, KEPT, "kept"), (~keep, REMOVED, "removed")):
        spots = _spots(coordinates[chosen], diameter, square)
        spots.set_facecolor(color)
        axis.add_collection(spots)
        axis.plot([], [], "s", color=color, label=f"{chosen.sum():,} {name}")
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=2, frameon=False, handletextpad=0.2)
    axis.set_title("Filter")
    return figure


def _spots(coordinates: NDArray[np.float64], diameter: float, square: bool) -> PolyCollection:
    """Polygons true to scale: one array for all spots, as tens of thousands of single patches take minutes."""
    corners = 4 if square else DISC_CORNERS
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    radius = diameter / 2 / (np.cos(np.pi / corners) if square else 1)
    outline = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    # Bins touch: without anti-aliasing no light seams show between them.
    return PolyCollection(list(coordinates[:, np.newaxis] + outline), linewidths=0, antialiased=not square)


def _show_image(
    axis: Axes, background: Background, low: NDArray[np.float64], high: NDArray[np.float64], strength: float
) -> None:
    """Show the part of the image that lies within the panel."""
    height, width = background.image.shape[:2]
    left, top = np.clip(np.floor(low * background.scale), 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(high * background.scale), 0, [width, height]).astype(int)
    if right > left and bottom > top:
        extent = np.array([left, right, bottom, top]) / background.scale
        part = background.image[top:bottom, left:right]
        axis.imshow(part, extent=tuple(extent), alpha=strength, interpolation="antialiased", aspect="equal")
        axis.set(xlim=(low[0], high[0]), ylim=(high[1], low[1]))


def _norm(panel: Panel) -> Normalize:
    """Colour range that a few outliers don't stretch."""
    finite = panel.values[np.isfinite(panel.values)]
    if len(finite) == 0:
        return Normalize(0, 1)
    low, high = (float(limit) for limit in np.quantile(finite, [0.005, 0.995]))
    if panel.counted and high > 10 * max(low, 1):
        return LogNorm(max(low, 1), high)
    return Normalize(low, high if high > low else low + 1)
