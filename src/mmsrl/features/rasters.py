"""Histology images of any usual format, read by window as 8-bit RGB."""

from __future__ import annotations

import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsrl._errors import InputError

RGB = npt.NDArray[np.uint8]

BAND = 1024
"""Rows read at once where a whole image has to be passed over."""

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


def to_rgb(pixels: npt.NDArray[Any], white: float | None = None) -> RGB:
    """Bring pixels of any usual kind to 8-bit RGB.

    Parameters
    ----------
    pixels
        (height, width) or (height, width, channels) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels;
        integers, or floats in 0..1. Transparent pixels become white, as glass is.
    white
        The value that becomes 255; by default 1 for floats and the largest value of an integer type.

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

    TIFF, BigTIFF, OME-TIFF and SVS are read by window and level of their pyramid. Other formats, and TIFFs in other
    colour models than grey, RGB and YCbCr, are decoded as a whole.

    Raises
    ------
    InputError
        If the file cannot be read as a brightfield image; also later, from ``Raster.read``, where damage shows only
        when the pixels are decoded.
    """
    import tifffile

    path = Path(path)
    if not path.is_file():
        raise InputError(f"sample {sample}: image {path} does not exist")
    with _named(path, sample):
        try:
            tiff = tifffile.TiffFile(path)
        except tifffile.TiffFileError:
            tiff = None
    if tiff is None:
        with _named(path, sample):
            raster = _decoded(path)
        yield [raster]
        return
    with tiff:
        with _named(path, sample):
            page = tiff.series[0].keyframe
            windowed = page.photometric in (
                tifffile.PHOTOMETRIC.MINISBLACK,
                tifffile.PHOTOMETRIC.RGB,
                tifffile.PHOTOMETRIC.YCBCR,
            )
            rasters = _levels(tiff.series[0], path, sample) if windowed else [_decoded(path)]
        yield rasters


@contextmanager
def _named(path: Path, sample: str) -> Iterator[None]:
    """Turn whatever a decoder raises into an error that names sample and file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"sample {sample}: image {path}: {error}") from error
    except _BROKEN as error:
        raise InputError(
            f"sample {sample}: image {path} cannot be read ({type(error).__name__}: {error}); "
            "it is truncated, damaged or not an image: copy it again or leave the column 'image' empty"
        ) from error


def _decoded(path: Path) -> Raster:
    from PIL import Image

    # Whole slides are larger than what Pillow takes for a decompression bomb; the user named this file.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as image:
            if image.mode.startswith("I") or image.mode == "F":
                pixels = np.asarray(image)
                return from_array(to_rgb(pixels, white=max(float(pixels.max()), 1.0)), name=path.name, scale=1.0)
            if image.has_transparency_data:
                return from_array(np.asarray(image.convert("RGBA")), name=path.name, scale=1.0)
            return from_array(np.asarray(image.convert("RGB")), name=path.name, scale=1.0)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _levels(series: Any, path: Path, sample: str) -> list[Raster]:
    """Return the pyramid of a TIFF series, each level read through zarr by window."""
    import zarr

    rasters: list[Raster] = []
    white: float | None = None
    for number, level in reversed(list(enumerate(series.levels))):
        axes, shape = level.axes.replace("C", "S"), level.shape
        extra = [size for axis, size in zip(axes, shape, strict=True) if axis not in "YXS"]
        if any(size > 1 for size in extra):
            raise InputError(f"the TIFF has axes {level.axes} of size {shape}; give one brightfield plane")
        reader = _reader(zarr.open(series.aszarr(level=number), mode="r"), axes)
        height, width = shape[axes.index("Y")], shape[axes.index("X")]
        if white is None and level.dtype != np.uint8:
            # 16-bit cameras seldom fill 16 bits: the brightest pixel of the coarsest level is white.
            white = max(float(reader(top, min(top + BAND, height), 0, width).max()) for top in range(0, height, BAND))
            white = max(white, 1.0)
        scale = 1.0 if number == 0 else height / series.levels[0].shape[series.levels[0].axes.index("Y")]

        def read(
            top: int, bottom: int, left: int, right: int, reader: Any = reader, white: float | None = white
        ) -> RGB:
            with _named(path, sample):
                return to_rgb(reader(top, bottom, left, right), white)

        to_rgb(np.empty((1, 1, shape[axes.index("S")] if "S" in axes else 1), np.uint8))  # refuses odd channel counts
        rasters.append(Raster(path.name, scale, height, width, read))
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
