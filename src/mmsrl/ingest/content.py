"""Common result of all readers, from which ``internal`` builds the internal form."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl.ingest.matrix import Counts


class Content(NamedTuple):
    """Section as read from its files."""

    counts: Counts
    obs: pd.DataFrame
    """(n_spots, …) annotations of the file; the internal form keeps a few of them."""
    spatial: NDArray[np.float64]
    """(n_spots, 2) coordinates x, y."""
    pictures: dict[str, NDArray[np.uint8]]
    """Images `hires` and `lowres` as RGB, (height, width, 3), if there are any."""
    scalefactors: dict[str, float]
    source: str
    """Name of the file with the coordinates, for messages."""
    notes: list[dict[str, str]]
    """Messages on choices of the reader and on data left out."""
    expression: str = "counts"
    """Kind of values: ``counts`` or ``normalised``."""
    bin_um: int | None = None
    """Bin size in µm, from the name of the folder."""
    platform: str | None = None
    """A name of :data:`mmsrl._platforms.PLATFORMS`, if the file format belongs to one instrument."""
    um_per_px: float | None = None
    """Length of one coordinate unit in µm, if the files state it. The samplesheet overrides it."""
    um_per_px_from: str = ""
    """Source of ``um_per_px``, for messages."""
    max_stacked: float = 0.0
    """Maximum share of spots with the same coordinates as another spot."""
    area: NDArray[np.float64] | None = None
    """(n_spots,) cell area in squared coordinate units, if the files have it."""
    outlines: NDArray[Any] | None = None
    """(n_spots,) shapely polygons in coordinate units; ``None`` for a cell without polygon."""


def info(text: str) -> dict[str, str]:
    """Return a message of level ``info``."""
    return {"level": "info", "text": text}


def warning(text: str) -> dict[str, str]:
    """Return a message of level ``warning``."""
    return {"level": "warning", "text": text}
