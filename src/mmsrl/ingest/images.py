"""Readers of tissue images: files, and arrays in AnnData and SpatialData."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsrl import _pictures
from mmsrl._errors import InputError
from mmsrl._pictures import RGB

SIZES = ("hires", "lowres")
"""Names of images in `uns['spatial']`, in order of preference."""

MAX_OUTSIDE = 0.5
"""Maximum share of spots outside an image; above it, the image belongs to other coordinates."""


def read_image(path: Path) -> RGB:
    """Read an image as (height, width, 3) uint8.

    Raises
    ------
    InputError
        The file is damaged or not an image.
    """
    return read_images({path.name: path})[0][path.name]


def read_images(paths: Mapping[str, Path]) -> tuple[dict[str, RGB], list[str]]:
    """Read images as (height, width, 3) uint8, with notes on those with a rotation in their metadata.

    Raises
    ------
    InputError
        A file is damaged or not an image.
    """
    pictures, notes = {}, []
    for size, path in paths.items():
        try:
            with _pictures.open_picture(path) as picture:
                pictures[size], remark = _pictures.decoded(picture, path.name)
        except (OSError, SyntaxError, ValueError) as error:
            raise InputError(f"{path.name}: not an image, or damaged ({error}); copy it anew, or remove it") from error
        notes += [remark] if remark else []
    return pictures, notes


def to_rgb(image: NDArray[Any]) -> RGB | None:
    """Convert an array to an RGB image, (height, width, 3) uint8; ``None`` if it is not an image.

    The array is (height, width), (height, width, channels) or (channels, height, width).
    :func:`mmsrl._pictures.white_of` determines the value of white.
    """
    numbers = np.issubdtype(image.dtype, np.number) or image.dtype == bool
    if image.ndim == 3 and image.shape[2] > 4 and image.shape[0] in (1, 3, 4):
        image = np.moveaxis(image, 0, 2)
    if not numbers or image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] > 4):
        return None
    if image.ndim == 3 and image.shape[2] in (2, 4) and np.ptp(image[:, :, -1]) == 0:
        image = image[:, :, :-1]  # drop a constant alpha channel
    return np.ascontiguousarray(_pictures.to_rgb(image))


def pictures_of(images: Mapping[str, Any]) -> tuple[dict[str, RGB], list[str]]:
    """Return `hires` and `lowres` of an entry of `uns['spatial']` as RGB, with notes on arrays that are not images."""
    pictures, notes = {}, []
    for size in SIZES:
        if size not in images:
            continue
        array = np.asarray(images[size])
        picture = to_rgb(array)
        if picture is None:
            notes.append(
                f"the {size} image is an array of shape {array.shape} and type {array.dtype}, which is not an image, "
                "and is not used; give (height, width, 3)"
            )
        else:
            pictures[size] = picture
    return pictures, notes


def beside(spatial: NDArray[np.float64], factor: float, picture: RGB, size: str) -> tuple[float, str | None]:
    """Return the share of spots outside an image and a warning about them.

    Parameters
    ----------
    spatial
        (n_spots, 2) coordinates x, y in pixels of the full-resolution image.
    factor
        Scale factor of the image.
    picture
        (height, width, 3) image.
    size
        Name of the image: ``hires`` or ``lowres``.
    """
    pixels = spatial * factor
    height, width = picture.shape[:2]
    outside = np.logical_not(np.all((pixels >= 0) & (pixels <= [width, height]), axis=1))
    if not outside.any():
        return 0.0, None
    (left, top), (right, bottom) = pixels.min(axis=0), pixels.max(axis=0)
    return float(outside.mean()), (
        f"by tissue_{size}_scalef {factor:.4g} {outside.sum()} of {len(outside)} spots lie beside the {size} image of "
        f"{width} x {height} pixels: spots span x {left:.0f} to {right:.0f} and y {top:.0f} to {bottom:.0f}"
    )
