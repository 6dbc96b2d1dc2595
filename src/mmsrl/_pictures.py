"""Pictures of any usual kind as 8-bit RGB, and whether a file is one: what check, ingest and features share."""

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
"""Endings of slide scanners' files that are no TIFF; ``features`` finds out what is in them."""

SCANNERS = {"svs", "ndpi", "ndpis", "scn", "bif", "philips", "ventana", "avs", "qpi", "indica"}
"""TIFFs of slide scanners by the names that tifffile has for them, which may hold more than one plane."""

ONE = 1.1
"""Largest value of a picture of shares between 0 and 1, which interpolation may take a little above."""

FULL = (255.0, 4095.0, 65535.0)
"""Largest values of 8, 12 and 16 bits."""

ORIENTATION = 274
"""Tag of EXIF and TIFF that says how a picture is to be turned before it is shown; 1 or nothing: not at all."""


def white_of(pixels: NDArray[Any]) -> float:
    """Return the value of white in an array of any type of numbers.

    1 for truth values and for shares between 0 and 1; else the most that 8, 12 or 16 bits hold, the first that no
    pixel exceeds, whatever the type: pictures are often kept as floats or as wider integers.
    """
    if pixels.dtype == np.uint8:
        return 255.0
    finite = pixels[np.isfinite(pixels)]
    top = float(finite.max()) if finite.size else 1.0
    if top <= (ONE if np.issubdtype(pixels.dtype, np.floating) else 1):
        return 1.0
    return next((white for white in FULL if top <= white), top)


def brightest(pixels: NDArray[Any]) -> float:
    """Return the value of white in a camera's picture that is not of 8 bits: cameras seldom fill 12 or 16 bits."""
    return max(float(pixels.max()), 1.0)


def to_rgb(pixels: NDArray[Any], white: float | None = None, *, ink: bool = False) -> RGB:
    """Bring pixels of any usual kind to 8-bit RGB.

    Parameters
    ----------
    pixels
        (height, width) or (height, width, channels) with 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA) channels of
        any type of numbers. Transparent pixels become white, as glass is.
    white
        The value that becomes 255; ``None``: as :func:`white_of` tells it from the colours.
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
    """Return the value of an opaque pixel in an image that is read by window."""
    return float(np.iinfo(dtype).max) if np.issubdtype(dtype, np.integer) else 1.0


@contextmanager
def open_picture(path: Path) -> Iterator[Picture]:
    """Open the header of a picture that Pillow reads, whatever its size.

    Pillow takes whole slides for decompression bombs; the user named this file.
    """
    from PIL import Image

    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as picture:
            yield picture
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def decoded(picture: Picture, name: str) -> tuple[RGB, str | None]:
    """Return the pixels of a picture, (height, width, 3), palettes and inks as colours, and a word where it is turned.

    Pillow turns TIFFs as their tag says, and nothing else.
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
    """Say that a picture is meant to be shown turned or mirrored, by the tag ``orientation``; ``None`` where not."""
    if orientation not in range(2, 9):
        return None
    taken = "is read so" if applied else "is read as its pixels lie in the file"
    return (
        f"the image {name} is to be shown turned or mirrored (orientation {orientation} by its EXIF or TIFF tag) and "
        f"{taken}: if the coordinates were measured on it the other way, save it as they need it, without the tag"
    )


def plane_of(tiff: TiffFile) -> TiffPageSeries:
    """Return the first image of a TIFF, with its resolutions.

    Raises
    ------
    InputError
        It is no single brightfield plane.
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
    """Check by its header alone that a file is an image that ``features`` can read.

    Raises
    ------
    InputError
        It is none, or no single brightfield plane.
    """
    import tifffile

    if path.suffix.lower() in SLIDES:
        return
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it warns of is told as an error
    try:
        with tifffile.TiffFile(path) as tiff:
            if not tiff.flags & SCANNERS:
                plane_of(tiff)
            return
    except tifffile.TiffFileError:
        pass  # of another kind
    except InputError:
        raise
    # What tifffile raises for a damaged header depends on where the damage is.
    except Exception as error:
        raise InputError("a TIFF whose header is damaged; copy it anew") from error
    try:
        with open_picture(path):
            return
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError("not an image that can be read; convert it to TIFF, PNG or JPEG") from error
