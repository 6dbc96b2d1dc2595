"""Histology images of any usual format, read by window as 8-bit RGB: memory does not grow with the image."""

from __future__ import annotations

import lzma
import math
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsrl._errors import InputError

RGB = npt.NDArray[np.uint8]

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
    """What the file says of its pixels, where it is a scanner's own."""


def to_rgb(pixels: npt.NDArray[Any], white: float | None = None, *, ink: bool = False) -> RGB:
    """Bring pixels of any usual kind to 8-bit RGB.

    Parameters
    ----------
    pixels
        (height, width) or (height, width, channels) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels;
        integers, or floats in 0..1. Transparent pixels become white, as glass is.
    white
        The value that becomes 255; by default 1 for floats and the largest value of an integer type.
    ink
        The first four channels are cyan, magenta, yellow and black.

    Raises
    ------
    InputError
        For any other number of channels.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2]
    if channels not in (1, 2, 3, 4):
        raise InputError(f"the image has {channels} channels; a brightfield image has 1, 3 or 4")
    if pixels.dtype != np.uint8:
        if white is None:
            white = 1.0 if np.issubdtype(pixels.dtype, np.floating) else float(np.iinfo(pixels.dtype).max)
        pixels = np.rint(np.clip(pixels.astype(np.float32) * (255.0 / white), 0, 255)).astype(np.uint8)
    if ink:
        cmy, paper = pixels[:, :, :3].astype(np.float32) / 255.0, 255.0 - pixels[:, :, 3:4].astype(np.float32)
        return np.rint(paper * (1.0 - cmy)).astype(np.uint8)
    if channels in (2, 4):
        alpha = pixels[:, :, -1:].astype(np.float32) / 255.0
        pixels = np.rint(pixels[:, :, :-1] * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return pixels if pixels.shape[2] == 3 else np.repeat(pixels, 3, axis=2)


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
    series = tiff.series[0]
    page = series.keyframe
    # A TIFF in one piece would be decoded whole for every window; one that is not compressed is mapped instead.
    piece = math.prod(page.chunks)
    windowed = page.photometric in (
        tifffile.PHOTOMETRIC.MINISBLACK,
        tifffile.PHOTOMETRIC.RGB,
        tifffile.PHOTOMETRIC.YCBCR,
        tifffile.PHOTOMETRIC.SEPARATED,
    ) and (piece <= PIECE or page.is_memmappable)
    return _levels(series, path, named, sample) if windowed else None


def _pixels(path: Path) -> int:
    """Return how many pixels an image has that Pillow can open."""
    from PIL import Image

    with _no_limit(), Image.open(path) as image:
        return image.width * image.height


@contextmanager
def _no_limit() -> Iterator[None]:
    """Let Pillow open whole slides, which it takes for decompression bombs; the user named this file."""
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


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
    from PIL import Image

    with _no_limit(), Image.open(path) as image:
        if image.mode.startswith("I") or image.mode == "F":
            pixels = np.asarray(image)
            return from_array(to_rgb(pixels, white=max(float(pixels.max()), 1.0)), name=path.name, scale=1.0)
        if image.has_transparency_data:
            return from_array(np.asarray(image.convert("RGBA")), name=path.name, scale=1.0)
        return from_array(np.asarray(image.convert("RGB")), name=path.name, scale=1.0)


def _levels(series: Any, path: Path, named: Path, sample: str) -> list[Raster]:
    """Return the pyramid of a TIFF series, each level read by window."""
    import tifffile
    import zarr

    rasters: list[Raster] = []
    white: float | None = None
    ink = series.keyframe.photometric == tifffile.PHOTOMETRIC.SEPARATED
    for number, level in reversed(list(enumerate(series.levels))):
        axes, shape = level.axes.replace("C", "S"), level.shape
        extra = [size for axis, size in zip(axes, shape, strict=True) if axis not in "YXS"]
        if any(size > 1 for size in extra):
            raise InputError(f"the TIFF has axes {level.axes} of size {shape}; give one brightfield plane")
        mapped = len(level.pages) == 1 and level.keyframe.is_memmappable
        array = (
            tifffile.memmap(path, series=0, level=number, mode="r")
            if mapped
            else zarr.open(series.aszarr(level=number), mode="r")
        )
        reader = _reader(array, axes)
        height, width = shape[axes.index("Y")], shape[axes.index("X")]
        if white is None and level.dtype != np.uint8:
            # 16-bit cameras seldom fill 16 bits: the brightest pixel of the coarsest level is white.
            white = max(float(reader(top, min(top + BAND, height), 0, width).max()) for top in range(0, height, BAND))
            white = max(white, 1.0)
        scale = 1.0 if number == 0 else height / series.levels[0].shape[series.levels[0].axes.index("Y")]

        def read(
            top: int, bottom: int, left: int, right: int, reader: Any = reader, white: float | None = white
        ) -> RGB:
            with _named(named, sample):
                return to_rgb(reader(top, bottom, left, right), white, ink=ink)

        to_rgb(np.empty((1, 1, shape[axes.index("S")] if "S" in axes else 1), np.uint8))  # refuses odd channel counts
        rasters.append(Raster(named.name, scale, height, width, read))
    return rasters[::-1]


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
