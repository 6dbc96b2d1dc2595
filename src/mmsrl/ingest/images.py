"""Tissue images of a section: files, and arrays in AnnData and SpatialData."""

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

MOST_OUTSIDE = 0.5
"""Share of spots beside an image from which it is taken for another one's."""


def read_image(path: Path) -> RGB:
    """Read an image as (height, width, 3) uint8.

    Raises
    ------
    InputError
        The file is damaged or no image.
    """
    return read_images({path.name: path})[0][path.name]


def read_images(paths: Mapping[str, Path]) -> tuple[dict[str, RGB], list[str]]:
    """Read images, each (height, width, 3) uint8, and say which of them are meant to be shown turned.

    Raises
    ------
    InputError
        A file is damaged or no image.
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
    """Turn an image array, (height, width) or (height, width, channels), into RGB uint8; ``None`` if it is none.

    Channels may come first, as torch has them. What is white is told by :func:`mmsrl._pictures.white_of`.
    """
    numbers = np.issubdtype(image.dtype, np.number) or image.dtype == bool
    if image.ndim == 3 and image.shape[2] > 4 and image.shape[0] in (1, 3, 4):
        image = np.moveaxis(image, 0, 2)
    if not numbers or image.ndim not in (2, 3) or image.size == 0 or (image.ndim == 3 and image.shape[2] > 4):
        return None
    if image.ndim == 3 and image.shape[2] in (2, 4) and np.ptp(image[:, :, -1]) == 0:
        image = image[:, :, :-1]  # an opacity that is the same everywhere says nothing
    return np.ascontiguousarray(_pictures.to_rgb(image))


def pictures_of(images: Mapping[str, Any]) -> tuple[dict[str, RGB], list[str]]:
    """Return `hires` and `lowres` of the images of an entry of `uns['spatial']`, and what of them is no image."""
    pictures, notes = {}, []
    for size in SIZES:
        if size not in images:
            continue
        array = np.asarray(images[size])
        picture = to_rgb(array)
        if picture is None:
            notes.append(
                f"the {size} image is an array of shape {array.shape} and type {array.dtype}, which is no picture, and "
                "is not used; give (height, width, 3)"
            )
        else:
            pictures[size] = picture
    return pictures, notes


def beside(spatial: NDArray[np.float64], factor: float, picture: RGB, size: str) -> tuple[float, str | None]:
    """Tell which share of spots, (n, 2), lies beside an image by its scale factor, and say so with numbers."""
    places = spatial * factor
    height, width = picture.shape[:2]
    off = np.logical_not(np.all((places >= 0) & (places <= [width, height]), axis=1))
    if not off.any():
        return 0.0, None
    (left, top), (right, bottom) = places.min(axis=0), places.max(axis=0)
    return float(off.mean()), (
        f"by tissue_{size}_scalef {factor:.4g} {off.sum()} of {len(off)} spots lie beside the {size} image, which is "
        f"{width} x {height} pixels: they span x {left:.0f} to {right:.0f} and y {top:.0f} to {bottom:.0f}"
    )
