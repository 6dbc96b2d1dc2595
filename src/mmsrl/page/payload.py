"""What the page unpacks when it is needed: base64 of gzipped JSON, which a browser reads on its own."""

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
from mmsrl.page.tissue import MAX_IMAGE_SIDE, Float, Gene, Section, background, data_uri, window_of

MAX_INTERACTIVE_SPOTS = 120_000
"""Above this a browser no longer turns a section fluently; an even subset is drawn and the page says so."""

LEVELS = 255
"""Expression is kept in so many steps from lowest to highest: more than a scale of colours tells apart."""


def packed(content: Any) -> str:
    """Pack JSON; the same content gives the same text."""
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode("ascii")


def drawn_spots(n_spots: int) -> npt.NDArray[np.int64]:
    """Return which spots of a section the interactive figure draws: all, or an even subset where there are too many."""
    return evenly(n_spots, MAX_INTERACTIVE_SPOTS)


def rounded(values: Float) -> list[float | None]:
    """Round to four significant digits, whole numbers to the digit; ``None`` where not finite."""
    whole = np.all(np.mod(values[np.isfinite(values)], 1) == 0)
    return [
        None if not np.isfinite(value) else int(value) if whole else float(f"{value:.4g}") for value in values.tolist()
    ]


def levels(values: Float) -> dict[str, Any]:
    """Keep finite values as steps between their lowest and highest: ``low + step * (high - low) / LEVELS``."""
    low, high = float(values.min()), float(values.max())
    steps = np.round((values - low) / max(high - low, 1e-12) * LEVELS).astype(np.int64)
    return {"low": float(f"{low:.5g}"), "high": float(f"{high:.5g}"), "steps": steps.tolist()}


def tissue_payload(section: Section, words: Mapping[str, str]) -> str:
    """Pack what the interactive figure of a section needs.

    Coordinates are whole full-resolution pixels counted from the corner of the window, or finer where the spots are
    less than 20 pixels wide.

    Parameters
    ----------
    section
        The section.
    words
        What is said of each gene when it is shown.
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
        "genes": {name: gene(name, values) for name, values in section.genes.items()},
        "image": None,
    }
    if section.image is not None:
        content["image"] = data_uri(background(section, window, MAX_IMAGE_SIDE))
    return packed(content)
