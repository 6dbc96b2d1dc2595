"""Histology images of any usual format, read by window as 8-bit RGB: memory does not grow with the image."""

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
"""Rows read at once where a whole image has to be passed over."""

DECODED_PX = 2**27
"""Pixels up to which an image that has no windows (PNG, JPEG, a TIFF in one piece) is held in memory, 0.4 GB; larger
ones are streamed into tiles on disk."""

PIECE = 2**26
"""Values in a strip or tile of a TIFF up to which it is read by window."""

_BROKEN = (OSError, ValueError, RuntimeError, IndexError, KeyError, SyntaxError, TypeError, zlib.error, lzma.LZMAError)
"""What the decoders raise on damaged files (Pillow's PNG reader raises ``SyntaxError``)."""


@dataclass(frozen=True)
class Raster:
    """One resolution of one image."""

    name: str
    """What it is, for messages and summaries."""
    scale: float
    """Its pixels per pixel of the full-resolution image."""
    height: int
    width: int
    read: Callable[[int, int, int, int], RGB]
    """``read(top, bottom, left, right)``: that window, (height, width, 3)."""
    um_per_px: float | None = None
    """What the file says of its pixels, where it is a scanner's own or OME-TIFF."""
    remark: str | None = None
    """What the user should know of the file."""


def from_array(pixels: npt.NDArray[Any], *, name: str, scale: float) -> Raster:
    """Wrap an image that is in memory; ``scale`` is its pixels per full-resolution pixel."""
    rgb = to_rgb(np.asarray(pixels))
    return Raster(name, scale, rgb.shape[0], rgb.shape[1], lambda top, bottom, left, right: rgb[top:bottom, left:right])


@contextmanager
def open_rasters(path: Path, *, sample: str) -> Iterator[list[Raster]]:
    """Open a full-resolution image file; yields its resolutions, the finest first.

    Formats of slide scanners (SVS, NDPI, MRXS, SCN, BIF, DICOM and others) are read by OpenSlide; TIFF, BigTIFF and
    OME-TIFF by window and level of their pyramid. What has no windows (PNG, JPEG, a TIFF compressed in one piece or in
    another colour model than grey, RGB, YCbCr and CMYK) is decoded as a whole up to :data:`DECODED_PX` pixels; beyond,
    libvips streams it into a pyramid of tiles in the folder for temporary files.

    Raises
    ------
    InputError
        If the file cannot be read as a brightfield image; also later, from ``Raster.read``, where damage shows only
        when the pixels are decoded.
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
    """Open the file of a slide scanner; ``None`` if it is none."""
    import openslide

    # What belongs to a slide of several files lies beside the file itself, not beside a task's link to it.
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
    """Open a TIFF that can be read by window; ``None`` if the file is none. Errors name the file ``named``."""
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
            raise InputError("a TIFF of coarser colours than brightness (YCbCr) without JPEG; save it as RGB")
        windowed = False
    return _levels(series, path, named, sample) if windowed else None


def _is_ycbcr(page: Any) -> bool:
    """Tell whether decoding a page leaves brightness and two differences of colour; that of JPEG makes RGB of them."""
    import tifffile

    jpeg = (tifffile.COMPRESSION.OJPEG, tifffile.COMPRESSION.JPEG, tifffile.COMPRESSION.JPEG_LOSSY)
    return page.photometric == tifffile.PHOTOMETRIC.YCBCR and page.compression not in jpeg


def _rgb_of_ycbcr(pixels: RGB) -> RGB:
    from PIL import Image

    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels), "YCbCr").convert("RGB"))


def _pixels(path: Path) -> int:
    """Return how many pixels an image has that Pillow can open."""
    with open_picture(path) as picture:
        return picture.width * picture.height


def _streamed(path: Path, target: Path) -> Path:
    """Copy an image of any size into a tiled pyramid, a band of it in memory at a time."""
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
    """Turn whatever a decoder raises into an error that names sample and file."""
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
    """Return the pyramid of a TIFF series, each level read by window."""
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
    """Return µm of a pixel as the first image of OME's XML states it; ``None`` where it does not."""
    pixels = re.search(r"<(?:\w+:)?Pixels\b[^>]*>", metadata or "")
    told = dict(re.findall(r'(PhysicalSizeX(?:Unit)?)="([^"]*)"', pixels.group())) if pixels else {}
    if "PhysicalSizeX" not in told or told.get("PhysicalSizeXUnit", "µm") not in ("µm", "μm", "um"):
        return None
    um = float(told["PhysicalSizeX"])
    return um if 0 < um < math.inf else None


def _white(reader: Callable[[int, int, int, int], npt.NDArray[Any]], height: int, width: int, *, ink: bool) -> float:
    """Return the value of white of an image that is not of 8 bits, from its brightest pixel, opacity left aside."""
    bands = (reader(top, min(top + BAND, height), 0, width) for top in range(0, height, BAND))
    return max(brightest(band if ink or band.shape[-1] not in (2, 4) else band[..., :-1]) for band in bands)


def _reader(array: Any, axes: str) -> Callable[[int, int, int, int], npt.NDArray[Any]]:
    """Return a reader of windows of a TIFF level as (height, width, channels), whatever the order of its axes."""
    order = [axes.index("Y"), axes.index("X")] + ([axes.index("S")] if "S" in axes else [])

    def read(top: int, bottom: int, left: int, right: int) -> npt.NDArray[Any]:
        window = {"Y": slice(top, bottom), "X": slice(left, right), "S": slice(None)}
        index = tuple(window.get(axis, slice(0, 1)) for axis in axes)
        pixels = np.asarray(array[index])
        others = [axis for axis in range(pixels.ndim) if axis not in order]
        return np.transpose(pixels, order + others).reshape([pixels.shape[axis] for axis in order])

    return read
