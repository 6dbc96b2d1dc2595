"""Conversion of images to 8-bit RGB, and checks of image files, shared by check, ingest and features."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mmsrl._errors import InputError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from tifffile import TiffFile, TiffPageSeries

RGB = NDArray[np.uint8]

SLIDES = (".mrxs", ".dcm", ".vms", ".vmu", ".czi", ".svslide", ".zvi")
"""Suffixes of slide scanner formats other than TIFF, which only ``features`` reads."""

SCANNERS = {"svs", "ndpi", "ndpis", "scn", "bif", "philips", "ventana", "avs", "qpi", "indica"}
"""Slide scanner formats based on TIFF, by their name in tifffile. Their files may hold several planes."""

ONE = 1.1
"""Largest value of an image with values from 0 to 1, which interpolation may slightly exceed."""

FULL = (255.0, 4095.0, 65535.0)
"""Largest values of 8-bit, 12-bit and 16-bit images."""

ORIENTATION = 274
"""EXIF and TIFF tag of the display orientation. The value 1, or no tag, means no rotation."""


def white_of(pixels: NDArray[Any]) -> float:
    """Return the value of white in an image array of any numeric type.

    White is 1 for booleans and for values from 0 to 1. Otherwise, it is the smallest of the 8-bit, 12-bit and 16-bit
    maxima that no pixel exceeds. The data type is ignored, because images are often stored as floats or wider integers.
    """
    if pixels.dtype == np.uint8:
        return 255.0
    finite = pixels[np.isfinite(pixels)]
    top = float(finite.max()) if finite.size else 1.0
    if top <= (ONE if np.issubdtype(pixels.dtype, np.floating) else 1):
        return 1.0
    return next((white for white in FULL if top <= white), top)


def brightest(pixels: NDArray[Any]) -> float:
    """Return the largest pixel value, which is white in camera images with more than 8 bits."""
    return max(float(pixels.max()), 1.0)


def to_rgb(pixels: NDArray[Any], white: float | None = None, *, ink: bool = False) -> RGB:
    """Convert pixels of any common type to 8-bit RGB.

    Parameters
    ----------
    pixels
        (height, width) or (height, width, channels) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels of
        any numeric type. Transparent pixels become white, like glass.
    white
        Value that becomes 255; by default the result of :func:`white_of` for the colour channels.
    ink
        Whether the four channels are cyan, magenta, yellow and black.

    Raises
    ------
    InputError
        If the image has another number of channels.
    """
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    channels = pixels.shape[2]
    if channels not in (1, 2, 3, 4):
        raise InputError(f"the image has {channels} channels; a brightfield image has 1, 3 or 4")
    if ink:
        pixels = _eight_bits(pixels, white)
        cmy, paper = pixels[:, :, :3].astype(np.float32) / 255.0, 255.0 - pixels[:, :, 3:4].astype(np.float32)
        return np.rint(paper * (1.0 - cmy)).astype(np.uint8)
    if channels in (1, 3):
        colours = _eight_bits(pixels, white)
    else:
        opaque = None if white is None else _opaque(pixels.dtype)
        alpha = _eight_bits(pixels[:, :, -1:], opaque).astype(np.float32) / 255.0
        colours = np.rint(_eight_bits(pixels[:, :, :-1], white) * alpha + 255.0 * (1.0 - alpha)).astype(np.uint8)
    return colours if colours.shape[2] == 3 else np.repeat(colours, 3, axis=2)


def _eight_bits(values: NDArray[Any], white: float | None) -> RGB:
    if values.dtype == np.uint8:
        return values
    scaled = np.nan_to_num(values.astype(np.float32)) * (255.0 / (white_of(values) if white is None else white))
    eight: RGB = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return eight


def _opaque(dtype: np.dtype[Any]) -> float:
    """Return the alpha value of an opaque pixel in an image that is read in windows."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


@contextmanager
def open_picture(path: Path) -> Iterator[Picture]:
    """Open the header of an image with Pillow, without a size limit.

    Pillow would reject whole slides as decompression bombs, but the user chose this file.
    """
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as picture:
            yield picture
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decoded(picture: Picture, name: str) -> tuple[RGB, str | None]:
    """Return the RGB pixels of an image, (height, width, 3), and a warning if its orientation tag is set.

    Pillow applies the orientation tag of TIFF files only.
    """
    orientation = int(picture.getexif().get(ORIENTATION, 1) or 1)
    remark = turned(orientation, name, applied=picture.format == "TIFF")
    if picture.mode.startswith("I") or picture.mode == "F":
        pixels = np.asarray(picture)
        return to_rgb(pixels, brightest(pixels)), remark
    if picture.has_transparency_data:
        return to_rgb(np.asarray(picture.convert("RGBA"))), remark
    return np.asarray(picture.convert("RGB")), remark


def turned(orientation: int, name: str, *, applied: bool = False) -> str | None:
    """Return a warning if the tag ``orientation`` asks for rotation or mirroring, else ``None``."""
    if orientation not in range(2, 9):
        return None
    handling = "The tag was applied" if applied else "The tag was ignored"
    return (
        f"the image {name} has an EXIF or TIFF tag for rotation or mirroring (orientation {orientation}). {handling}. "
        "If the coordinates do not fit the image, save it in the right orientation without the tag"
    )


def plane_of(tiff: TiffFile) -> TiffPageSeries:
    """Return the first image of a TIFF file with its resolution levels.

    Raises
    ------
    InputError
        If the file is not a single brightfield plane.
    """
    series = tiff.series[0]
    axes, shape = series.axes.replace("C", "S"), series.shape
    if any(size > 1 for axis, size in zip(axes, shape, strict=True) if axis not in "YXS"):
        raise InputError(f"the TIFF has axes {series.axes} of size {shape}; give one brightfield plane")
    channels = shape[axes.index("S")] if "S" in axes else 1
    if channels not in (1, 2, 3, 4):
        raise InputError(f"the image has {channels} channels; a brightfield image has 1, 3 or 4")
    return series


def check_header(path: Path) -> None:
    """Check by its header that ``features`` can read an image file.

    Raises
    ------
    InputError
        If the file is not an image, or not a single brightfield plane.
    """
    import tifffile

    if path.suffix.lower() in SLIDES:
        return
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # its warnings are raised as errors below
    try:
        with tifffile.TiffFile(path) as tiff:
            if not tiff.flags & SCANNERS:
                plane_of(tiff)
            return
    except tifffile.TiffFileError:
        pass  # not a TIFF file
    except InputError:
        raise
    # The exception of tifffile for a damaged header depends on the position of the damage.
    except Exception as error:
        raise InputError("the header of the TIFF file is damaged; copy the file again") from error
    try:
        with open_picture(path):
            return
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError("not a readable image; convert it to TIFF, PNG or JPEG") from error
