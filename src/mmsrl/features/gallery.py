"""Gallery: tiles of spots to look at, as one TIFF with a page for each spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mmsrl._errors import InputError
from mmsrl._files import atomic_path
from mmsrl._pictures import RGB
from mmsrl._samples import at_random
from mmsrl.features.tiles import cut_tiles

if TYPE_CHECKING:
    from mmsrl.features.slide import Slide

MOST_TILES = 1000
"""Maximum number of tiles of a section. Larger sections are subsampled at random."""

PITCHES = 2.0
"""Side of a tile in spot spacings, of at least 100 µm if the scale is known."""

LEAST_PX, MOST_PX = 40, 224
"""Minimum side of a tile in pixels, and side above which tiles are reduced."""

QUALITY = 88
"""Quality of the JPEG compression."""


class Gallery(NamedTuple):
    """Tiles of spots."""

    barcodes: list[str]
    um: float
    """Side of a tile in µm. NaN if unknown."""
    tiles: RGB
    """(m, side, side, 3)."""


def take_pictures(
    slide: Slide,
    barcodes: list[str],
) -> Gallery | None:
    """Cut tiles of spots, subsampled at random if there are many. ``None`` if the image is too coarse.

    Parameters
    ----------
    slide
        Image and spots.
    barcodes
        Barcodes of the spots, (n,).
    """
    from PIL import Image

    length = PITCHES * slide.ruler.base
    side = slide.ruler.px(length)
    if side * slide.rasters[0].scale < LEAST_PX:
        return None
    raster = slide.level(side, MOST_PX)
    chosen = np.flatnonzero(~slide.off)
    chosen = chosen[at_random(len(chosen), MOST_TILES, 0)]
    cut = max(round(side * raster.scale), 1)
    shown = min(cut, MOST_PX)
    pictures = np.empty((len(chosen), shown, shown, 3), np.uint8)
    for index, tiles in cut_tiles(raster, slide.centres[chosen] * raster.scale, cut):
        for number, tile in zip(index, tiles, strict=True):
            pictures[number] = np.asarray(Image.fromarray(tile).resize((shown, shown), Image.Resampling.BOX))
    return Gallery([barcodes[number] for number in chosen], length if slide.ruler.known else float("nan"), pictures)


def write_gallery(path: Path, gallery: Gallery) -> None:
    """Write tiles as pages of a JPEG-compressed TIFF, with barcodes and side in its description as JSON."""
    import tifffile

    about = {"barcodes": gallery.barcodes, "um": gallery.um if np.isfinite(gallery.um) else None}
    with atomic_path(path) as temporary, tifffile.TiffWriter(temporary) as tiff:
        for number, tile in enumerate(gallery.tiles):
            tiff.write(
                tile,
                photometric="rgb",
                compression="jpeg",
                compressionargs={"level": QUALITY},
                description=json.dumps(about) if number == 0 else None,
                metadata=None,
            )


def read_gallery(path: Path, choose: Callable[[list[str]], list[str]]) -> Gallery:
    """Read tiles of spots.

    Parameters
    ----------
    path
        File written by :func:`write_gallery`.
    choose
        Function of all barcodes that returns the wanted ones, in their order.

    Raises
    ------
    InputError
        The file has another format.
    """
    import tifffile

    try:
        with tifffile.TiffFile(path) as tiff:
            about: dict[str, Any] = json.loads(tiff.pages.first.description)
            page = {barcode: number for number, barcode in enumerate(about["barcodes"])}
            names = choose(list(page))
            tiles = [tiff.pages[page[name]].asarray() for name in names]
        um = float("nan") if about["um"] is None else float(about["um"])
    except (tifffile.TiffFileError, ValueError, KeyError, TypeError, IndexError, OSError) as error:
        raise InputError(
            f"{path.name}: not the pictures that mmsrl-features writes, or damaged; copy it anew"
        ) from error
    return Gallery(names, um, np.stack(tiles) if tiles else np.empty((0, 0, 0, 3), np.uint8))
