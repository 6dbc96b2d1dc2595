"""Tiles of an image around spots: sizes, positions, and reading each region once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from mmsrl._errors import InputError
from mmsrl._pictures import RGB
from mmsrl.features.rasters import Raster
from mmsrl.geometry import VISIUM_PITCH_UM

T = TypeVar("T")

SCALES = (1.0, 3.0)
"""Sides of the tiles around a spot in spot spacings: the spot with its gap, and the surrounding tissue. Chosen by the
cross-validated R² of expression (``docs/features.md``)."""

PITCH_UM = VISIUM_PITCH_UM
"""Minimum spot spacing for tile sides in µm, because a bin of 2 µm shows nothing by itself."""

COLOUR_PITCHES = 2.0
"""Side, in spot spacings, of the tile whose colour is used without texture."""

TEXTURE_PX = 16
"""Minimum number of pixels across a tile, and per 100 µm of an image, for texture. If the scale is unknown, per spot
spacing."""

RESOLVED_PX = 2.0
"""Minimum number of pixels per spot spacing to separate neighbouring spots (Nyquist)."""

NODES_PER_TILE = 4
"""Number of grid nodes across a tile. Features of denser spots are interpolated between nodes."""

BLOCK_PX = 4096
"""Side of the blocks in which a large image is read."""

BATCH_PX = 2**22
"""Number of pixels per batch of tiles."""


class Ruler(NamedTuple):
    """Lengths on an image: in µm if the scale is known, else in spot spacings."""

    pitch_px: float
    """Spot spacing in pixels of the full-resolution image."""
    pitch_um: float
    """Spot spacing in µm. NaN if unknown."""

    @property
    def known(self) -> bool:
        """Whether lengths are in µm."""
        return math.isfinite(self.pitch_um) and self.pitch_um > 0

    @property
    def um_per_px(self) -> float:
        """Size of a pixel of the full-resolution image in µm. NaN if unknown."""
        return self.pitch_um / self.pitch_px if self.known else math.nan

    @property
    def base(self) -> float:
        """Unit of tile sides: the spot spacing, but at least that of Visium."""
        return max(self.pitch_um, PITCH_UM) if self.known else 1.0

    @property
    def texture(self) -> float:
        """Length with at least :data:`TEXTURE_PX` pixels in an image with texture."""
        return PITCH_UM if self.known else 1.0

    def px(self, length: float) -> float:
        """Return a length in pixels of the full-resolution image."""
        return length / self.um_per_px if self.known else length * self.pitch_px

    def suffix(self, length: float) -> str:
        """Return a length as suffix of column names."""
        return f"{length:g}um" if self.known else f"{length:g}pitch"

    def text(self, *lengths: float) -> str:
        """Return lengths for messages."""
        return f"{', '.join(f'{length:g}' for length in lengths)} {'µm' if self.known else 'spot spacings'}"


def tile_sides(ruler: Ruler, asked: str | None) -> list[float]:
    """Return the sides of the tiles as lengths of the ruler, smallest first.

    Parameters
    ----------
    ruler
        Ruler of the section.
    asked
        Sides in µm, separated by commas. ``None`` uses :data:`SCALES`.

    Raises
    ------
    InputError
        ``asked`` has another form, or the scale is unknown.
    """
    if not asked:
        return [scale * ruler.base for scale in SCALES]
    try:
        sides = sorted({float(side) for side in asked.split(",")})
    except ValueError:
        sides = [0.0]
    if sides[0] <= 0 or not math.isfinite(sides[-1]):
        raise InputError(f"tile_um '{asked}': give sides in micrometres joined by commas, such as 100,300")
    if not ruler.known:
        raise InputError(
            f"tile_um '{asked}' is in micrometres, and the scale of this section is not known: give pitch_um or "
            "um_per_px in the samplesheet, or leave tile_um out"
        )
    return sides


def outside(centres: npt.NDArray[np.float64], raster: Raster) -> npt.NDArray[np.bool_]:
    """Return the mask of centres, (n, 2) as x, y in pixels of the raster, that lie off it."""
    x, y = centres.T
    inside: npt.NDArray[np.bool_] = (x >= 0) & (x < raster.width) & (y >= 0) & (y < raster.height)
    return ~inside


def interpolation_grid(
    centres: npt.NDArray[np.float64], spacing: float
) -> tuple[npt.NDArray[np.float64], sp.csr_matrix]:
    """Build a square grid around centres, and bilinear interpolation weights.

    Parameters
    ----------
    centres
        Centres x and y, (n, 2).
    spacing
        Distance of neighbouring nodes, in the unit of ``centres``.

    Returns
    -------
    nodes
        (m, 2), only nodes that a centre needs.
    weights
        (n, m), rows sum to 1: ``weights @ values_at_nodes`` are the values at the centres.
    """
    corner = np.floor(centres / spacing).astype(np.int64)
    fraction = centres / spacing - corner
    offsets = np.array([(0, 0), (1, 0), (0, 1), (1, 1)])
    keys = corner[:, None, :] + offsets  # (n, 4, 2)
    share = np.where(offsets == 1, fraction[:, None, :], 1.0 - fraction[:, None, :]).prod(axis=2)  # (n, 4)
    unique, inverse = np.unique(keys.reshape(-1, 2), axis=0, return_inverse=True)
    rows = np.repeat(np.arange(len(centres)), 4)
    weights = sp.csr_matrix((share.ravel(), (rows, inverse.ravel())), shape=(len(centres), len(unique)))
    return unique * spacing, weights


def cut_tiles(
    raster: Raster, centres: npt.NDArray[np.float64], side: int
) -> Iterator[tuple[npt.NDArray[np.int64], RGB]]:
    """Cut square tiles, reading the image block by block.

    Parameters
    ----------
    raster
        Image to cut from. It is reflected beyond its borders.
    centres
        Centres x and y in pixels of the raster, (n, 2).
    side
        Side of a tile in pixels of the raster.

    Yields
    ------
    index, tiles
        Indices of centres, (b,), and their tiles, (b, side, side, 3).
    """
    first = np.floor(centres - side / 2 + 0.5).astype(np.int64)  # leftmost and topmost pixel of each tile
    block = np.floor(centres / BLOCK_PX).astype(np.int64)
    order = np.lexsort((block[:, 0], block[:, 1]))
    changes = np.flatnonzero(np.any(np.diff(block[order], axis=0) != 0, axis=1)) + 1
    span = np.arange(side)
    batch = int(np.clip(BATCH_PX // side**2, 1, 256))
    for members in np.split(order, changes):
        columns = _reflect(first[members, 0, None] + span, raster.width)
        rows = _reflect(first[members, 1, None] + span, raster.height)
        top, left = int(rows.min()), int(columns.min())
        window = raster.read(top, int(rows.max()) + 1, left, int(columns.max()) + 1)
        for start in range(0, len(members), batch):
            part = slice(start, start + batch)
            y, x = rows[part, :, None] - top, columns[part, None, :] - left
            yield members[part], window[y, x]


def _reflect(index: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Reflect indices beyond 0..size-1 into the image, without repeating the border pixel."""
    period = max(2 * (size - 1), 1)
    index = np.mod(index, period)
    return np.minimum(index, period - index) if size > 1 else np.zeros_like(index)


def reduced(tiles: RGB, side: int) -> RGB:
    """Downsample tiles, (b, n, n, 3), by the largest integer factor that leaves at least ``side`` pixels."""
    factor = max(tiles.shape[1] // side, 1)
    if factor == 1:
        return tiles
    n = tiles.shape[1] // factor
    cut = tiles[:, : n * factor, : n * factor].reshape(len(tiles), n, factor, n, factor, 3)
    small: RGB = np.rint(cut.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
    return small


def ahead(chunks: Iterator[T]) -> Iterator[T]:
    """Prefetch the next item of an iterator in another thread, so that reading and describing overlap."""
    with ThreadPoolExecutor(max_workers=1) as pool:
        coming = pool.submit(next, chunks, None)
        while (chunk := coming.result()) is not None:
            coming = pool.submit(next, chunks, None)
            yield chunk
