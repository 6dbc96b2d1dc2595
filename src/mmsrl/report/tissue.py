"""Tissue images and spots, as small as a web page wants them."""

from __future__ import annotations

import base64
import gzip
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Float = npt.NDArray[np.float64]

MARGIN = 0.06
"""Tissue shown around the spots, as a fraction of their extent."""

MAX_IMAGE_SIDE = 1200
MAX_FIGURE_SIDE = 800
MAX_THUMBNAIL_SIDE = 420
WEBP_QUALITY = 72

MAX_INTERACTIVE_SPOTS = 120_000
"""Above this a browser no longer turns a section fluently; an even subset is drawn and the report says so."""


@dataclass(frozen=True)
class Section:
    """What is drawn of one sample. Lengths are in pixels of the full-resolution image, y pointing down."""

    barcodes: Sequence[str]
    x: Float
    y: Float
    diameter: float
    square: bool
    """Bins that tile the plane are drawn as squares, spots as discs."""
    domains: Sequence[str]
    colors: Mapping[str, str]
    values: Mapping[str, Float]
    """Continuous values by the title they are shown under, shape (n_spots,) each."""
    image: npt.NDArray[np.uint8] | None
    """Shape (height, width, 3)."""
    scale: float
    """Pixels of ``image`` per full-resolution pixel."""


@dataclass(frozen=True)
class Window:
    """The rectangle of tissue shown: edges in full-resolution pixels."""

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
    """Return the extent of the spots and a margin around it."""
    width, height = np.ptp(section.x), np.ptp(section.y)
    margin = MARGIN * max(width, height) + section.diameter
    return Window(
        float(section.x.min() - margin),
        float(section.y.min() - margin),
        float(section.x.max() + margin),
        float(section.y.max() + margin),
    )


def background(section: Section, window: Window, max_side: int) -> Image.Image:
    """Cut the window out of the tissue image, at its own resolution or less; white where there is no tissue image.

    Parameters
    ----------
    section
        Its ``image`` may be ``None``.
    window
        May reach over the edge of the image.
    max_side
        Longest side of the result in pixels. A picture without tissue image has exactly this size.
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
    """Draw all spots in the colours of their domains over the tissue image, true to scale.

    Returns
    -------
    RGB image whose longest side is ``max_side`` pixels.
    """
    window = window_of(section)
    zoom = 2 * max_side / max(window.width, window.height)  # twice the size, then halved: smooth edges
    size = (max(1, round(window.width * zoom)), max(1, round(window.height * zoom)))
    canvas = background(section, window, max_side).resize(size, Image.Resampling.BICUBIC)
    if section.image is not None:
        canvas = Image.blend(canvas, Image.new("RGB", size, "white"), 0.35)
    draw = ImageDraw.Draw(canvas)
    radius = max(section.diameter * zoom / 2, 0.75)
    shape = draw.rectangle if section.square else draw.ellipse
    left, top = (section.x - window.left) * zoom, (section.y - window.top) * zoom
    for x, y, domain in zip(left.tolist(), top.tolist(), section.domains, strict=True):
        shape((x - radius, y - radius, x + radius, y + radius), fill=section.colors[domain])
    return canvas.resize((max(1, size[0] // 2), max(1, size[1] // 2)), Image.Resampling.BOX)


def data_uri(image: Image.Image) -> str:
    """Encode an image as a WebP data URI."""
    buffer = io.BytesIO()
    image.save(buffer, format="WEBP", quality=WEBP_QUALITY, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")


def drawn_spots(n_spots: int) -> npt.NDArray[np.int64]:
    """Return which spots the interactive figure draws: all, or evenly many of them where there are too many."""
    if n_spots <= MAX_INTERACTIVE_SPOTS:
        return np.arange(n_spots)
    return np.linspace(0, n_spots - 1, MAX_INTERACTIVE_SPOTS).round().astype(np.int64)


def rounded(values: Float) -> list[float | None]:
    """Round to four significant digits, whole numbers to the digit; ``None`` where not finite."""
    whole = np.all(np.mod(values[np.isfinite(values)], 1) == 0)
    return [
        None if not np.isfinite(value) else int(value) if whole else float(f"{value:.4g}") for value in values.tolist()
    ]


def interactive_payload(section: Section) -> str:
    """Pack what the interactive figure needs: base64 of gzipped JSON, which a browser unpacks on its own.

    Coordinates are whole full-resolution pixels counted from the corner of the window, or finer where the spots are
    less than 20 pixels wide.
    """
    window = window_of(section)
    rows = drawn_spots(len(section.barcodes))
    decimals = 0 if section.diameter >= 20 else 2

    def coordinates(values: Float, origin: float) -> list[float] | list[int]:
        shifted = np.round(values[rows] - origin, decimals)
        result: list[float] | list[int] = (shifted.astype(np.int64) if decimals == 0 else shifted).tolist()
        return result

    names = list(section.colors)
    code = {name: index for index, name in enumerate(names)}
    barcodes, domains = list(section.barcodes), list(section.domains)
    content: dict[str, Any] = {
        "width": round(window.width, 2),
        "height": round(window.height, 2),
        "diameter": round(section.diameter, 2),
        "square": section.square,
        "domains": names,
        "colors": list(section.colors.values()),
        "barcode": [barcodes[row] for row in rows],
        "x": coordinates(section.x, window.left),
        "y": coordinates(section.y, window.top),
        "domain": [code[domains[row]] for row in rows],
        "values": {title: rounded(values[rows]) for title, values in section.values.items()},
        "image": None,
    }
    if section.image is not None:
        content["image"] = data_uri(background(section, window, MAX_IMAGE_SIDE))
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    # mtime=0: the same input gives the same file.
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")
