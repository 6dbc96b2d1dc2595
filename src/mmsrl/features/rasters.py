"""Histology images of common formats, read in windows as 8-bit RGB: memory does not depend on the image size."""

from __future__ import annotations

import lzma
import math
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsrl._errors import InputError
from mmsrl._pictures import ORIENTATION, RGB, brightest, decoded, open_picture, plane_of, to_rgb, turned

BAND = 1024
"""Number of rows per read when a whole image is scanned."""

DECODED_PX = 2**27
"""Maximum number of pixels of an image without windows (PNG, JPEG, single-strip TIFF) to hold in memory: 0.4 GB. Larger
ones are converted to tiles on disk."""

PIECE = 2**26
"""Maximum number of values in a strip or tile of a TIFF to read it in windows."""

_BROKEN = (OSError, ValueError, RuntimeError, IndexError, KeyError, SyntaxError, TypeError, zlib.error, lzma.LZMAError)
"""Exceptions of decoders for damaged files (Pillow's PNG reader raises ``SyntaxError``)."""


@dataclass(frozen=True)
class Raster:
    """One resolution of an image."""

    name: str
    """Name for messages and summaries."""
    scale: float
    """Pixels per pixel of the full-resolution image."""
    height: int
    width: int
    read: Callable[[int, int, int, int], RGB]
    """``read(top, bottom, left, right)`` returns that window, (height, width, 3)."""
    um_per_px: float | None = None
    """Pixel size in the file of a scanner or OME-TIFF."""
    remark: str | None = None
    """Message about the file."""


def from_array(pixels: npt.NDArray[Any], *, name: str, scale: float) -> Raster:
    """Wrap an image in memory. ``scale``: its pixels per full-resolution pixel."""
    rgb = to_rgb(np.asarray(pixels))
    return Raster(name, scale, rgb.shape[0], rgb.shape[1], lambda top, bottom, left, right: rgb[top:bottom, left:right])


@contextmanager
def open_rasters(path: Path, *, sample: str) -> Iterator[list[Raster]]:
    """Open a full-resolution image file; yields its resolutions, finest first.

    OpenSlide reads formats of slide scanners (SVS, NDPI, MRXS, SCN, BIF, DICOM and others). TIFF, BigTIFF and OME-TIFF
    are read by window and level of their pyramid. Images without windows (PNG, JPEG, TIFFs in one piece or in another
    colour model than grey, RGB, YCbCr and CMYK) are decoded as a whole up to :data:`DECODED_PX` pixels. libvips
    converts larger ones to a tiled pyramid in the temporary folder.

    Raises
    ------
    InputError
        The file is no readable brightfield image. ``Raster.read`` raises it too, if damage appears on decoding.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"sample {sample}: image {path} does not exist")
    with ExitStack() as stack:
        with _named(path, sample):
            rasters = _slide(path, sample, stack) or _tiff(path, path, sample, stack)
            if rasters is None and _pixels(path) <= DECODED_PX:
                rasters = [_decoded(path)]
            if rasters is None:
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mmsrl-image-")))
                rasters = _tiff(_streamed(path, folder / "tiles.tif"), path, sample, stack)
        assert rasters is not None
        yield rasters


def _slide(path: Path, sample: str, stack: ExitStack) -> list[Raster] | None:
    """Open the file of a slide scanner. ``None`` for other files."""
    import openslide

    # Companion files of a slide lie beside the file itself, not beside the link in a task folder.
    there = path.resolve()
    vendor = openslide.OpenSlide.detect_format(there)
    if vendor in (None, "generic-tiff"):
        return None
    slide = stack.enter_context(openslide.OpenSlide(there))
    um = slide.properties.get(openslide.PROPERTY_NAME_MPP_X)
    rasters = []
    for level, ((width, height), shrink) in enumerate(
        zip(slide.level_dimensions, slide.level_downsamples, strict=True)
    ):

        def read(top: int, bottom: int, left: int, right: int, level: int = level, shrink: float = shrink) -> RGB:
            with _named(path, sample):
                place = (round(left * shrink), round(top * shrink))
                return to_rgb(np.asarray(slide.read_region(place, level, (right - left, bottom - top))))

        rasters.append(Raster(path.name, 1.0 / shrink, height, width, read, float(um) if um else None))
    return rasters


def _tiff(path: Path, named: Path, sample: str, stack: ExitStack) -> list[Raster] | None:
    """Open a TIFF that can be read in windows. ``None`` for other files. Errors name the file ``named``."""
    import tifffile

    try:
        tiff = stack.enter_context(tifffile.TiffFile(path))
    except tifffile.TiffFileError:
        return None
    series = plane_of(tiff)
    page = series.keyframe
    # A TIFF in one piece would be decoded whole for every window; one that is not compressed is mapped instead. What
    # packs single bits is small, and of kinds that only faxes have.
    piece = math.prod(page.chunks)
    windowed = (
        page.photometric
        in (
            tifffile.PHOTOMETRIC.MINISBLACK,
            tifffile.PHOTOMETRIC.RGB,
            tifffile.PHOTOMETRIC.YCBCR,
            tifffile.PHOTOMETRIC.SEPARATED,
        )
        and (piece <= PIECE or page.is_memmappable)
        and page.bitspersample >= 8
    )
    if _is_ycbcr(page) and page.subsampling not in (None, (1, 1)):
        if math.prod(page.shape[:2]) > DECODED_PX:
            raise InputError("a TIFF with chroma subsampling (YCbCr) without JPEG; save it as RGB")
        windowed = False
    return _levels(series, path, named, sample) if windowed else None


def _is_ycbcr(page: Any) -> bool:
    """Return whether decoded pixels are YCbCr. JPEG decoders return RGB."""
    import tifffile

    jpeg = (tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.JPEG_LOSSY)
    return page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression not in jpeg


def _rgb_of_ycbcr(pixels: RGB) -> RGB:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels), "YCbCr").convert("RGB"))


def _pixels(path: Path) -> int:
    """Return the number of pixels of an image that Pillow can open."""
    with open_picture(path) as picture:
        return picture.width * picture.height


def _streamed(path: Path, target: Path) -> Path:
    """Convert an image of any size to a tiled pyramid, one band at a time."""
    import pyvips

    try:
        image = pyvips.Image.new_from_file(str(path), access="sequential", fail_on="truncated")
        if image.hasalpha():
            image = image.flatten(background=255)
        image.colourspace("srgb").cast("uchar").tiffsave(
            str(target), tile=True, tile_width=256, tile_height=256, pyramid=True, bigtiff=True
        )
    except pyvips.Error as error:
        raise ValueError(" ".join(str(error).split())) from error
    return target


@contextmanager
def _named(path: Path, sample: str) -> Iterator[None]:
    """Convert exceptions of decoders to errors that name sample and file."""
    import openslide

    try:
        yield
    except InputError as error:
        raise InputError(f"sample {sample}: image {path}: {error}") from error
    except (*_BROKEN, openslide.OpenSlideError) as error:
        raise InputError(
            f"sample {sample}: image {path} cannot be read ({type(error).__name__}: {error}); "
            "it is truncated, damaged or not an image: copy it again or leave the column 'image' empty"
        ) from error


def _decoded(path: Path) -> Raster:
    with open_picture(path) as picture:
        pixels, remark = decoded(picture, path.name)
    return replace(from_array(pixels, name=path.name, scale=1.0), remark=remark)


def _levels(series: Any, path: Path, named: Path, sample: str) -> list[Raster]:
    """Return the pyramid of a TIFF series, each level read in windows."""
    import tifffile
    import zarr

    rasters: list[Raster] = []
    page = series.keyframe
    ink, ycbcr = page.photometric == tifffile.PHOTOMETRIC.SEPARATED, _is_ycbcr(page)
    remark = turned(page.tags.valueof(ORIENTATION, 1), named.name)
    white: float | None = None
    um_per_px = _um_of_ome(series.parent.ome_metadata)
    for number, level in reversed(list(enumerate(series.levels))):
        axes, shape = level.axes.replace("C", "S"), level.shape
        mapped = len(level.pages) == 1 and level.keyframe.is_memmappable
        array = (
            tifffile.memmap(path, series=0, level=number, mode="r")
            if mapped
            else zarr.open(series.aszarr(level=number), mode="r")
        )
        reader = _reader(array, axes)
        height, width = shape[axes.index("Y")], shape[axes.index("X")]
        if white is None and level.dtype != np.uint8:
            white = _white(reader, height, width, ink=ink)  # of the coarsest level, for all
        scale = 1.0 if number == 0 else height / series.levels[0].shape[series.levels[0].axes.index("Y")]

        def read(
            top: int, bottom: int, left: int, right: int, reader: Any = reader, white: float | None = white
        ) -> RGB:
            with _named(named, sample):
                pixels = reader(top, bottom, left, right)
                return to_rgb(_rgb_of_ycbcr(pixels) if ycbcr else pixels, white, ink=ink)

        rasters.append(Raster(named.name, scale, height, width, read, um_per_px, remark))
    return rasters[::-1]


def _um_of_ome(metadata: str | None) -> float | None:
    """Return the pixel size in µm from the first image in OME-XML. ``None`` if missing."""
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", metadata or "")
    attributes = dict(re.findall(r'(PhysicalSizeX(?:Unit)?)="([^"]*)"', pixels.group())) if pixels else {}
    if "PhysicalSizeX" not in attributes or attributes.get("PhysicalSizeXUnit", "µm") not in ("µm", "μm", "um"):
        return None
    um = float(attributes["PhysicalSizeX"])
    return um if 0 < um < math.inf else None


def _white(reader: Callable[[int, int, int, int], npt.NDArray[Any]], height: int, width: int, *, ink: bool) -> float:
    """Return the white level of an image of other than 8 bits: its brightest pixel, without the alpha channel."""
    bands = (reader(top, min(top + BAND, height), 0, width) for top in range(0, height, BAND))
    return max(brightest(band if ink or band.shape[-1] not in (2, 4) else band[..., :-1]) for band in bands)


def _reader(array: Any, axes: str) -> Callable[[int, int, int, int], npt.NDArray[Any]]:
    """Return a reader of windows of a TIFF level as (height, width, channels), for any order of axes."""
    order = [axes.index("Y"), axes.index("X")] + ([axes.index("S")] if "S" in axes else [])

    def read(top: int, bottom: int, left: int, right: int) -> npt.NDArray[Any]:
        window = {"Y": slice(top, bottom), "X": slice(left, right), "S": slice(None)}
        index = tuple(window.get(axis, slice(0, 1)) for axis in axes)
        pixels = np.asarray(array[index])
        others = [axis for axis in range(pixels.ndim) if axis not in order]
        return np.transpose(pixels, order + others).reshape([pixels.shape[axis] for axis in order])

    return read
