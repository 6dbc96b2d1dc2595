"""What every reader of a file returns; ``api`` makes the internal form of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl.ingest.matrix import Counts


class Content(NamedTuple):
    """A section as its files have it."""

    counts: Counts
    obs: pd.DataFrame
    """(n_spots, …): columns of the file; only those of the internal form are kept."""
    spatial: NDArray[np.float64]
    """(n_spots, 2): x, y."""
    pictures: dict[str, NDArray[np.uint8]]
    """`hires` and `lowres` as RGB, where they are there."""
    scalefactors: dict[str, float]
    source: str
    """Name of the file of the coordinates, for messages."""
    notes: list[dict[str, str]]
    """Messages: what was chosen or left out."""
    expression: str = "counts"
    """Or ``normalised``: what the values are."""
    bin_um: int | None = None
    """Width of a bin in µm by the name of its folder."""
    platform: str | None = None
    """A name of :data:`mmsrl._platforms.PLATFORMS`, where the form of the files is that of one instrument."""
    um_per_px: float | None = None
    """µm of one unit of the coordinates, where the files state it; the samplesheet is heard later."""
    um_per_px_from: str = ""
    """What states it, in words."""
    max_stacked: float = 0.0
    """Accepted share of spots on top of another."""
    area: NDArray[np.float64] | None = None
    """(n_spots,) area of the cells in the square of the units of ``spatial``, where the files have it."""
    outlines: NDArray[Any] | None = None
    """(n_spots,) polygons of shapely in the units of ``spatial``, ``None`` for a cell without one."""


def info(text: str) -> dict[str, str]:
    """Return a message that only informs."""
    return {"level": "info", "text": text}


def warning(text: str) -> dict[str, str]:
    """Return a message that warns."""
    return {"level": "warning", "text": text}
