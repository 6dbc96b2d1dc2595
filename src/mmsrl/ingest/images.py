"""Tissue images as 8-bit RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmsrl._errors import InputError


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as (height, width, 3) uint8.

    Raises
    ------
    InputError
        The file is damaged or no image.
    """
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name}: not an image, or damaged ({error}); copy it anew, or remove it") from error


def to_rgb(image: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Turn an image array, (height, width) or (height, width, 1, 3 or 4), into RGB uint8; ``None`` if it is none.

    Floats are taken to lie in [0, 1], as matplotlib and scanpy have them, if none is above 1; else in [0, 255].
    """
    if image.ndim == 2:
        image = image[:, :, np.newaxis]
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or image.size == 0:
        return None
    image = np.broadcast_to(image[:, :, :3] if image.shape[2] > 1 else image, (*image.shape[:2], 3))
    if np.issubdtype(image.dtype, np.floating):
        image = np.nan_to_num(image)
        image = np.clip(np.rint(image * (255 if image.max() <= 1 else 1)), 0, 255)
    elif image.dtype == np.uint16:
        image = image // 257
    return np.ascontiguousarray(image, dtype=np.uint8)
