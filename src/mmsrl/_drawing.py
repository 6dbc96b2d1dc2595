"""Spots and tissue image in Matplotlib figures, drawn to scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.colors import LogNorm, Normalize
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar  # type: ignore[import-untyped]
from numpy.typing import NDArray

from mmsrl._scale_bar import bar_um, length_name
from mmsrl._sections import finest_image

MARGIN = 0.04
"""Margin around the spots, as a share of their extent."""

COLOR_MAP = "viridis"
"""Colour map of continuous values."""

DISC_CORNERS = 24
"""Number of corners of the polygon of a round spot."""

MANY_SPOTS = 20_000
MANY_CORNERS = 8
"""Number of corners for sections with at least so many spots, which are a few pixels wide."""

LEAST_SHARE = 1 / 350
"""Minimum width of a round spot, as a share of the longer side of the window: two pixels."""

BAR_THICKNESS = 1 / 120
"""Thickness of the scale bar, as a share of the width of the window."""


class Background(NamedTuple):
    """Tissue image beneath the spots."""

    image: NDArray[np.uint8]
    """Pixels, (height, width, 3)."""
    scale: float
    """Pixels of ``image`` per pixel of the full-resolution image."""


def background_of(library: Mapping[str, Any]) -> Background | None:
    """Return the tissue image of the highest resolution in an entry of ``uns['spatial']``, or ``None``."""
    finest = finest_image(library)
    return None if finest is None else Background(*finest)


class Window(NamedTuple):
    """Visible part of the tissue."""

    low: NDArray[np.float64]
    """Upper left corner x, y in pixels of the full-resolution image, (2,)."""
    high: NDArray[np.float64]
    """Lower right corner x, y, (2,)."""

    @property
    def proportion(self) -> float:
        """Height divided by width, limited to the range of a panel."""
        return float(np.clip((self.high[1] - self.low[1]) / (self.high[0] - self.low[0]), 0.4, 1.6))


def window_of(coordinates: NDArray[np.float64], diameter: float) -> Window:
    """Return the bounding box of the spots, (n, 2), with a margin."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    pad = MARGIN * max(high - low) + diameter
    return Window(low - pad, high + pad)


def empty_tissue(axis: Axes, window: Window) -> None:
    """Set up axes for tissue: no ticks, y axis pointing down."""
    (left, top), (right, bottom) = window
    axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def add_scale_bar(axis: Axes, window: Window, um_per_px: float) -> None:
    """Draw a scale bar below the tissue at the left; none if the pixel size is not known (NaN)."""
    width = float(window.high[0] - window.low[0])
    length = bar_um(width * um_per_px)
    if length is None:
        return
    bar = AnchoredSizeBar(
        axis.transData,
        length / um_per_px,
        length_name(length),
        loc="upper left",
        bbox_to_anchor=(0.0, 0.0),
        bbox_transform=axis.transAxes,
        pad=0.2,
        borderpad=0.0,
        sep=3,
        frameon=False,
        size_vertical=width * BAR_THICKNESS,
    )
    axis.add_artist(bar)


def show_image(axis: Axes, background: Background, window: Window, strength: float) -> None:
    """Draw the part of the image within the window, with an opacity ``strength`` from 0 to 1."""
    height, width = background.image.shape[:2]
    left, top = np.clip(np.floor(window.low * background.scale), 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(window.high * background.scale), 0, [width, height]).astype(int)
    if right > left and bottom > top:
        extent = np.array([left, right, bottom, top]) / background.scale
        # Blend with white here, because transparent images make PDF files half as large again.
        part = 255 - strength * (255.0 - background.image[top:bottom, left:right])
        axis.imshow(part.round().astype(np.uint8), extent=tuple(extent), interpolation="antialiased", aspect="equal")
        empty_tissue(axis, window)


def visible(diameter: float, window: Window) -> float:
    """Return the drawn width of round spots: their diameter, with a minimum that remains visible."""
    return max(diameter, LEAST_SHARE * float(max(window.high - window.low)))


def spots(coordinates: NDArray[np.float64], diameter: float, square: bool) -> PolyCollection:
    """Return the spots as polygons to scale: squares for adjacent bins, discs for spots.

    A single collection is used, because tens of thousands of single patches take minutes.
    """
    corners = 4 if square else DISC_CORNERS if len(coordinates) < MANY_SPOTS else MANY_CORNERS
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    radius = diameter / 2 / (np.cos(np.pi / corners) if square else 1)
    outline = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    # Without anti-aliasing, no light seams appear between adjacent bins. An array draws faster than a list.
    polygons = coordinates[:, np.newaxis] + outline
    return PolyCollection(polygons, linewidths=0, antialiased=not square)  # type: ignore[arg-type]


def color_range(values: NDArray[np.float64], *, counted: bool) -> Normalize:
    """Return a colour range robust to outliers; logarithmic for counts that span more than a decade."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return Normalize(0, 1)
    low, high = (float(limit) for limit in np.quantile(finite, [0.005, 0.995]))
    if counted and high > 10 * max(low, 1):
        return LogNorm(max(low, 1), high)
    return Normalize(low, high if high > low else low + 1)
