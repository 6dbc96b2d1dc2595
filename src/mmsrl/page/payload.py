"""Data of the interactive tissue figure, as base64-encoded, gzipped JSON that browsers can unpack."""

from __future__ import annotations

import base64
import gzip
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsrl._samples import evenly
from mmsrl.page.sample import AXIS_TITLES
from mmsrl.page.tissue import MAX_IMAGE_SIDE, Float, Gene, Section, background, data_uri, window_of

MAX_INTERACTIVE_SPOTS = 120_000
"""Maximum number of spots of the interactive figure. Larger sections are subsampled evenly to keep browsers fluent."""

LEVELS = 255
"""Number of steps between the lowest and the highest expression. A colour map shows no finer differences."""


def packed(content: Any) -> str:
    """Encode JSON as text. The same content always gives the same text."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def drawn_spots(n_spots: int) -> npt.NDArray[np.int64]:
    """Return the rows of the spots that the interactive figure draws: all, or an even subset of a large section."""
    return evenly(n_spots, MAX_INTERACTIVE_SPOTS)


def rounded(values: Float) -> list[float | None]:
    """Round to four significant digits, or to integers if all values are whole; ``None`` if not finite."""
    whole = np.all(np.mod(values[np.isfinite(values)], 1) == 0)
    return [
        None if not np.isfinite(value) else int(value) if whole else float(f"{value:.4g}") for value in values.tolist()
    ]


def levels(values: Float) -> dict[str, Any]:
    """Quantise finite values to steps between minimum and maximum: ``low + step * (high - low) / LEVELS``."""
    low, high = float(values.min()), float(values.max())
    steps = np.round((values - low) / max(high - low, 1e-12) * LEVELS).astype(np.int64)
    return {"low": float(f"{low:.5g}"), "high": float(f"{high:.5g}"), "steps": steps.tolist()}


def tissue_payload(section: Section, words: Mapping[str, str]) -> str:
    """Encode the data of the interactive figure of a section.

    Coordinates are full-resolution pixels from the corner of the window. They are rounded to integers, or to two
    decimals if spots are less than 20 pixels wide.

    Parameters
    ----------
    section
        Section.
    words
        Sentence about each gene.
    """
    window = window_of(section)
    rows = drawn_spots(len(section.barcodes))
    decimals = 0 if section.diameter >= 20 else 2

    def coordinates(values: Float, origin: float) -> list[float] | list[int]:
        shifted = np.round(values[rows] - origin, decimals)
        result: list[float] | list[int] = (shifted.astype(np.int64) if decimals == 0 else shifted).tolist()
        return result

    def gene(name: str, values: Gene) -> dict[str, Any]:
        enhanced = None if values.enhanced is None else levels(values.enhanced[rows])
        return {"raw": levels(values.raw[rows]), "enhanced": enhanced, "words": words.get(name, "")}

    names = list(section.colors)
    code = {name: index for index, name in enumerate(names)}
    barcodes, domains = list(section.barcodes), list(section.domains)
    content: dict[str, Any] = {
        "width": round(window.width, 2),
        "height": round(window.height, 2),
        "diameter": round(section.diameter, 2),
        "square": section.square,
        "um_per_px": section.um_per_px if math.isfinite(section.um_per_px) else None,
        "domains": names,
        "colors": list(section.colors.values()),
        "barcode": [barcodes[row] for row in rows],
        "x": coordinates(section.x, window.left),
        "y": coordinates(section.y, window.top),
        "domain": [code[domains[row]] for row in rows],
        "values": {title: rounded(values[rows]) for title, values in section.values.items()},
        "labels": {title: AXIS_TITLES.get(title, title) for title in section.values},
        "expression": section.expression_unit,
        "genes": {name: gene(name, values) for name, values in section.genes.items()},
        "image": None,
    }
    if section.image is not None:
        content["image"] = data_uri(background(section, window, MAX_IMAGE_SIDE))
    return packed(content)
