"""Pictures of the tissue at spots, to be looked at: one TIFF with a page a spot."""

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
"""Pictures of a section at most; of more spots, so many drawn at random."""

PITCHES = 2.0
"""Side of a picture, in pitches of 100 um or more; where the scale is not known, in pitches."""

LEAST_PX, MOST_PX = 40, 224
"""Pixels across a picture below which there is nothing to see, and above which it is reduced."""

QUALITY = 88
"""Of the JPEG compression."""


class Gallery(NamedTuple):
    """Pictures of spots."""

    barcodes: list[str]
    um: float
    """Side of a picture in micrometres; NaN where they are not known."""
    tiles: RGB
    """(m, side, side, 3)."""


def take_pictures(
    slide: Slide,
    barcodes: list[str],
) -> Gallery | None:
    """Cut pictures of spots, at random where there are many; ``None`` where the image is too coarse for them.

    Parameters
    ----------
    barcodes
        (n,), of the spots of the slide.
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
    """Write pictures as pages of a TIFF, JPEG-compressed; barcodes and width stand in its description as JSON."""
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
    """Read pictures of spots.

    Parameters
    ----------
    path
        As :func:`write_gallery` writes it.
    choose
        From the barcodes that there are pictures of to those wanted, in their order.

    Raises
    ------
    InputError
        If the file is something else.
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
