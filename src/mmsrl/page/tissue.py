"""Tissue images and spots as small pictures for web pages."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from plotly.colors import sample_colorscale

Float = npt.NDArray[np.float64]

MARGIN = 0.06
"""Margin around the spots, as a fraction of their extent."""

MAX_IMAGE_SIDE = 1200
MAX_FIGURE_SIDE = 800
MAX_THUMBNAIL_SIDE = 360
WEBP_QUALITY = 72

LEAST_PX = 2.0
"""Minimum width of a round spot in a picture. Cells of a large section would otherwise be too pale to see."""

SEQUENTIAL = "Cividis"
"""Colour map of continuous values, readable with any colour vision and in print."""

ELSEWHERE = "#D5DAE0"
"""Colour of spots without a value and of spots of other sections."""


class Gene(NamedTuple):
    """Log-normalised expression of a gene on a section; arrays of shape (n_spots,)."""

    raw: Float
    enhanced: Float | None
    """De-noised expression, or ``None`` if the gene was not de-noised."""


@dataclass(frozen=True)
class Section:
    """Section to draw. Lengths are pixels of the full-resolution image; the y axis points down."""

    barcodes: Sequence[str]
    x: Float
    y: Float
    diameter: float
    square: bool
    """Whether to draw squares (adjacent bins) instead of discs (spots)."""
    domains: Sequence[str]
    colors: Mapping[str, str]
    values: Mapping[str, Float]
    """Continuous values by their title, shape (n_spots,) each."""
    image: npt.NDArray[np.uint8] | None
    """Shape (height, width, 3)."""
    scale: float
    """Pixels of ``image`` per full-resolution pixel."""
    genes: Mapping[str, Gene] = field(default_factory=dict)
    umap: Float | None = None
    """UMAP of the embedding, shape (n_spots, 2)."""
    um_per_px: float = math.nan
    """Pixel size in µm; NaN if not known."""
    expression_unit: str = "ln(1 + scaled counts)"


@dataclass(frozen=True)
class Window:
    """Visible rectangle of tissue. Edges are in full-resolution pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Width in full-resolution pixels."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Height in full-resolution pixels."""
        return self.bottom - self.top


def window_of(section: Section) -> Window:
    """Return the bounding box of the spots with a margin."""
    width, height = np.ptp(section.x), np.ptp(section.y)
    margin = MARGIN * max(width, height) + section.diameter
    return Window(
        float(section.x.min() - margin),
        float(section.y.min() - margin),
        float(section.x.max() + margin),
        float(section.y.max() + margin),
    )


def background(section: Section, window: Window, max_side: int) -> Image.Image:
    """Crop the tissue image to a window, at most at its own resolution. Pixels outside the image are white.

    Parameters
    ----------
    section
        Section; its ``image`` may be ``None``.
    window
        Window, which may reach beyond the image.
    max_side
        Longest side of the result in pixels. A section without an image gives exactly this size.
    """
    longest = max(window.width, window.height)
    if section.image is None:
        zoom = max_side / longest
        return Image.new("RGB", (max(1, round(window.width * zoom)), max(1, round(window.height * zoom))), "white")
    box = tuple(edge * section.scale for edge in (window.left, window.top, window.right, window.bottom))
    zoom = min(section.scale, max_side / longest)
    size = (max(1, round(window.width * zoom)), max(1, round(window.height * zoom)))
    inner = (
        max(box[0], 0.0),
        max(box[1], 0.0),
        min(box[2], section.image.shape[1]),
        min(box[3], section.image.shape[0]),
    )
    canvas = Image.new("RGB", size, "white")
    if inner[2] <= inner[0] or inner[3] <= inner[1]:
        return canvas
    ratio = (size[0] / (box[2] - box[0]), size[1] / (box[3] - box[1]))
    corner = (round((inner[0] - box[0]) * ratio[0]), round((inner[1] - box[1]) * ratio[1]))
    inner_size = (max(1, round((inner[2] - inner[0]) * ratio[0])), max(1, round((inner[3] - inner[1]) * ratio[1])))
    tissue = Image.fromarray(section.image).resize(inner_size, Image.Resampling.LANCZOS, box=inner)
    canvas.paste(tissue, corner)
    return canvas


def domain_figure(section: Section, max_side: int) -> Image.Image:
    """Draw all spots to scale over the tissue image, in the colours of their domains.

    Returns
    -------
    RGB image whose longest side is ``max_side`` pixels.
    """
    return spots_figure(section, [section.colors[domain] for domain in section.domains], max_side)


def spots_figure(section: Section, colors: Sequence[str], max_side: int) -> Image.Image:
    """Draw all spots to scale over the tissue image, with a minimum size that remains visible."""
    window = window_of(section)
    zoom = 2 * max_side / max(window.width, window.height)  # drawn at twice the size and halved, for smooth edges
    size = (max(1, round(window.width * zoom)), max(1, round(window.height * zoom)))
    canvas = background(section, window, max_side).resize(size, Image.Resampling.BICUBIC)
    if section.image is not None:
        canvas = Image.blend(canvas, Image.new("RGB", size, "white"), 0.35)
    draw = ImageDraw.Draw(canvas)
    radius = max(section.diameter * zoom / 2, 0.75 if section.square else LEAST_PX)
    shape = draw.rectangle if section.square else draw.ellipse
    left, top = (section.x - window.left) * zoom, (section.y - window.top) * zoom
    for x, y, color in zip(left.tolist(), top.tolist(), colors, strict=True):
        shape((x - radius, y - radius, x + radius, y + radius), fill=color)
    return canvas.resize((max(1, size[0] // 2), max(1, size[1] // 2)), Image.Resampling.BOX)


def layout_figure(points: Float, colors: Sequence[str], beneath: Float, side: int) -> Image.Image:
    """Draw a square scatter plot of a layout such as UMAP, with spots of other sections in grey beneath.

    Parameters
    ----------
    points, beneath
        Spots of the section, (n, 2), and of other sections, (m, 2); the y axis points up.
    colors
        Colours of ``points``, (n,).
    side
        Side of the picture in pixels.
    """
    everything = np.concatenate([points, beneath])
    low, high = everything.min(axis=0), everything.max(axis=0)
    big = 2 * side
    zoom = 0.94 * big / max(float((high - low).max()), 1e-9)
    middle = (low + high) / 2
    radius = float(np.clip(250 / np.sqrt(len(everything)), 1, 8)) * side / 400
    canvas = Image.new("RGB", (big, big), "white")
    draw = ImageDraw.Draw(canvas)

    def discs(places: Float, fills: Sequence[str]) -> None:
        shown = big / 2 + (places - middle) * (zoom, -zoom)
        for (x, y), fill in zip(shown.tolist(), fills, strict=True):
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)

    discs(beneath, [ELSEWHERE] * len(beneath))
    # A random order keeps the last domain from covering all others.
    order = np.random.default_rng(0).permutation(len(points))
    discs(points[order], [colors[row] for row in order])
    return canvas.resize((side, side), Image.Resampling.BOX)


def shades(values: Float) -> list[str]:
    """Map values from 0 to 1 to the sequential colour map; values that are not finite become grey."""
    finite = np.isfinite(values)
    scale = sample_colorscale(SEQUENTIAL, [step / 255 for step in range(256)], colortype="tuple")
    hexes = ["#" + "".join(f"{round(255 * part):02X}" for part in color) for color in scale]
    steps = np.clip(np.nan_to_num(values), 0, 1)
    return [hexes[round(255 * step)] if known else ELSEWHERE for step, known in zip(steps, finite, strict=True)]


def data_uri(image: Image.Image) -> str:
    """Encode an image as a WebP data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
