"""Spots and tissue image in a figure of matplotlib, true to scale."""

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
"""Tissue shown around the spots, as a share of their extent."""

COLOR_MAP = "viridis"

DISC_CORNERS = 24
"""Corners of the polygon that a round spot is drawn as."""

MANY_SPOTS = 20_000
MANY_CORNERS = 8
"""Corners of so many spots and more, which are a few pixels wide."""

LEAST_SHARE = 1 / 350
"""Width of a round spot that can still be seen, as a share of the longer side of what is shown: two pixels."""


BAR_THICKNESS = 1 / 120
"""Of a scale bar, as a share of the width of what is shown."""


class Background(NamedTuple):
    """Tissue image under the spots."""

    image: NDArray[np.uint8]
    """(height, width, 3)."""
    scale: float
    """Pixels of ``image`` per pixel of the full-resolution image."""


def background_of(library: Mapping[str, Any]) -> Background | None:
    """Return the finest tissue image of an entry of ``uns['spatial']``, ``None`` where there is none."""
    found = finest_image(library)
    return None if found is None else Background(*found)


class Window(NamedTuple):
    """The part of the tissue that is shown."""

    low: NDArray[np.float64]
    """(2,) x, y of the upper left corner in pixels of the full-resolution image."""
    high: NDArray[np.float64]
    """(2,) of the lower right one."""

    @property
    def proportion(self) -> float:
        """Height over width, within what a panel can have."""
        return float(np.clip((self.high[1] - self.low[1]) / (self.high[0] - self.low[0]), 0.4, 1.6))


def window_of(coordinates: NDArray[np.float64], diameter: float) -> Window:
    """Return the extent of the spots, (n, 2), and a margin around it."""
    low, high = coordinates.min(axis=0), coordinates.max(axis=0)
    pad = MARGIN * max(high - low) + diameter
    return Window(low - pad, high + pad)


def empty_tissue(axis: Axes, window: Window) -> None:
    """Make axes a piece of tissue: no ticks, y pointing down."""
    (left, top), (right, bottom) = window
    axis.set(xlim=(left, right), ylim=(bottom, top), aspect="equal", xticks=[], yticks=[])
    axis.spines[:].set_visible(False)


def add_scale_bar(axis: Axes, window: Window, um_per_px: float) -> None:
    """Draw a scale bar below the tissue, at the left; none where the µm of a pixel are not known (NaN)."""
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
    """Show the part of the image that lies within the window; ``strength`` 1: as it is, 0: not at all."""
    height, width = background.image.shape[:2]
    left, top = np.clip(np.floor(window.low * background.scale), 0, [width, height]).astype(int)
    right, bottom = np.clip(np.ceil(window.high * background.scale), 0, [width, height]).astype(int)
    if right > left and bottom > top:
        extent = np.array([left, right, bottom, top]) / background.scale
        # Blended with the white of the page here: transparent pictures make PDF and SVG half as large again.
        part = 255 - strength * (255.0 - background.image[top:bottom, left:right])
        axis.imshow(part.round().astype(np.uint8), extent=tuple(extent), interpolation="antialiased", aspect="equal")
        empty_tissue(axis, window)


def visible(diameter: float, window: Window) -> float:
    """Return how wide round spots are drawn in a window: as they are, but no smaller than can be seen."""
    return max(diameter, LEAST_SHARE * float(max(window.high - window.low)))


def spots(coordinates: NDArray[np.float64], diameter: float, square: bool) -> PolyCollection:
    """Return the spots as polygons true to scale: squares where bins tile the plane, else discs.

    One collection for all of them, as tens of thousands of single patches take minutes.
    """
    corners = 4 if square else DISC_CORNERS if len(coordinates) < MANY_SPOTS else MANY_CORNERS
    angles = 2 * np.pi * (np.arange(corners) + 0.5) / corners
    radius = diameter / 2 / (np.cos(np.pi / corners) if square else 1)
    outline = radius * np.column_stack([np.cos(angles), np.sin(angles)])
    # Bins touch: without anti-aliasing no light seams show between them. An array, and no list, is drawn fast.
    polygons = coordinates[:, np.newaxis] + outline
    return PolyCollection(polygons, linewidths=0, antialiased=not square)  # type: ignore[arg-type]


def color_range(values: NDArray[np.float64], *, counted: bool) -> Normalize:
    """Return a colour range that a few outliers don't stretch; logarithmic for counts over more than a decade."""
    finite = values[np.isfinite(values)]
    if len(finite) == 0:
        return Normalize(0, 1)
    low, high = (float(limit) for limit in np.quantile(finite, [0.005, 0.995]))
    if counted and high > 10 * max(low, 1):
        return LogNorm(max(low, 1), high)
    return Normalize(low, high if high > low else low + 1)
