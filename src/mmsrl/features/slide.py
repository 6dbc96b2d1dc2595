"""Image of one section with its spots: descriptors and quality of tiles."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl._pictures import RGB
from mmsrl.features import tissue
from mmsrl.features.cache import remembered
from mmsrl.features.descriptors import Descriptor
from mmsrl.features.nodes import Nodes
from mmsrl.features.rasters import Raster
from mmsrl.features.tiles import NODES_PER_TILE, TEXTURE_PX, Ruler, ahead, cut_tiles, interpolation_grid, reduced

if TYPE_CHECKING:
    from pathlib import Path

QUALITY_PX = 64
"""Side of the tiles that quality is measured on, in pixels, if the image has as many."""


class Slide(NamedTuple):
    """An image and the spots on it. Lengths are in pixels of the full-resolution image."""

    rasters: list[Raster]
    """Resolutions, finest first."""
    checksum: str
    """SHA-256 of the image."""
    centres: npt.NDArray[np.float64]
    """(n, 2): x and y."""
    off: npt.NDArray[np.bool_]
    """(n,): mask of spots off the image."""
    ruler: Ruler

    def level(self, side: float, pixels: float) -> Raster:
        """Return the coarsest resolution in which a tile still has this number of pixels across, or the finest."""
        return [r for r in self.rasters if r is self.rasters[0] or r.scale * side >= pixels][-1]


class Described(NamedTuple):
    """Descriptors of the spots."""

    nodes: list[Nodes]
    """One for each block."""
    columns: list[str]
    blocks: npt.NDArray[np.int64]
    """(d,): block of each column, that is its descriptor and tile size."""
    parts: list[dict[str, Any]]
    """Summary of each block."""


def appearance(slide: Slide) -> tissue.Appearance:
    """Learn the appearance of tissue and background, at a resolution that shows texture."""
    raster = slide.level(slide.ruler.px(slide.ruler.texture), TEXTURE_PX)
    return tissue.look_at(raster, slide.centres[~slide.off] * raster.scale)


def describe(
    slide: Slide,
    descriptors: Sequence[Descriptor],
    sides: Sequence[float],
    *,
    stain: tissue.Appearance | None,
    cache: Path | None,
) -> Described:
    """Compute every descriptor for tiles of every size around every spot.

    Parameters
    ----------
    slide
        Image and spots.
    descriptors
        Methods to describe tiles.
    sides
        Sides of the tiles, as lengths of the ruler of the slide.
    stain
        Appearance of the tissue, to normalise the stain. ``None`` leaves the colours unchanged.
    cache
        Folder of the cache of descriptors.
    """
    prepare = None if stain is None else tissue.reinhard(stain)
    nodes: list[Nodes] = []
    columns: list[str] = []
    blocks: list[int] = []
    parts: list[dict[str, Any]] = []
    for length in sides:
        side = slide.ruler.px(length)
        for descriptor in descriptors:
            raster = slide.level(side, descriptor.input_px)
            key = {
                "image": slide.checksum,
                "side": round(side, 3),
                "scale": raster.scale,
                "descriptor": descriptor.name,
                "input": descriptor.input_px,
                "weights": descriptor.weights_sha256,
                "settings": descriptor.settings,
                "stain": None if stain is None else [*stain.lab_mean.round(3), *stain.lab_sd.round(3)],
            }
            described, computed = _at_nodes(
                slide,
                side,
                raster,
                descriptor.input_px,
                len(descriptor.columns),
                _prepared(descriptor, prepare),
                key=key,
                cache=cache,
            )
            nodes.append(described)
            columns += [f"{name}_{slide.ruler.suffix(length)}" for name in descriptor.columns]
            blocks += [len(parts)] * len(descriptor.columns)
            parts.append(
                {
                    "descriptor": descriptor.name,
                    "um": length if slide.ruler.known else None,
                    "px": side * raster.scale,
                    "pitches": side / slide.ruler.pitch_px,
                    "columns": len(descriptor.columns),
                    "places": len(described.values),
                    "computed": computed,
                    "weights_sha256": descriptor.weights_sha256,
                }
            )
    return Described(nodes, columns, np.array(blocks), parts)


def measure_quality(slide: Slide, look: tissue.Appearance) -> npt.NDArray[np.float32]:
    """Return tissue, focus, haematoxylin and eosin of a tile around every spot, (n, 4). NaN off the image."""
    side = slide.ruler.px(slide.ruler.base)
    raster = slide.level(side, QUALITY_PX)

    def measure(tiles: RGB) -> npt.NDArray[np.float32]:
        return tissue.quality(tiles, look)

    measured, _ = _at_nodes(slide, side, raster, QUALITY_PX, 4, measure, key={}, cache=None)
    values = measured.at(slice(None))
    values[slide.off] = np.nan
    return values


def _prepared(descriptor: Descriptor, prepare: Callable[[RGB], RGB] | None) -> Callable[[RGB], npt.NDArray[np.float32]]:
    return descriptor.describe if prepare is None else lambda tiles: descriptor.describe(prepare(tiles))


def _at_nodes(
    slide: Slide,
    side: float,
    raster: Raster,
    input_px: int,
    width: int,
    function: Callable[[RGB], npt.NDArray[np.float32]],
    *,
    key: dict[str, Any],
    cache: Path | None,
) -> tuple[Nodes, int]:
    """Apply a function to tiles at all spots, or at the nodes of an interpolation grid if spots are dense.

    Tiles have ``input_px`` pixels across or up to twice as many, or fewer if the image is coarser.

    Returns
    -------
    The values at the nodes, and the number of nodes that were not in the cache.
    """
    from tqdm import tqdm

    spacing = side / NODES_PER_TILE
    places, weights = slide.centres, None
    if slide.ruler.pitch_px < spacing:
        places, weights = interpolation_grid(slide.centres, spacing)

    def compute(wanted: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        values = np.empty((len(wanted), width), np.float32)
        tiles_of = cut_tiles(raster, wanted * raster.scale, max(1, round(side * raster.scale)))
        with tqdm(total=len(wanted), desc="features", unit="tile", disable=None) as progress:
            for index, tiles in ahead(tiles_of):
                values[index] = function(reduced(tiles, input_px))
                progress.update(len(index))
        return values

    values, computed = remembered(cache, key, places, width, compute)
    return Nodes(values, weights), computed
