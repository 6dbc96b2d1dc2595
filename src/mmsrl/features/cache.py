"""Cache of tile descriptors between runs."""

from __future__ import annotations

import hashlib
import json
import logging
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsrl._files import atomic_path

Places = npt.NDArray[np.float64]
Values = npt.NDArray[np.float32]

log = logging.getLogger(__name__)

MODULES = ("descriptors", "rasters", "texture", "tiles", "tissue")
"""Modules that read, cut, stain and describe tiles. A change of their code invalidates the cache."""


def remembered(
    folder: Path | None, key: Mapping[str, Any], places: Places, width: int, compute: Callable[[Places], Values]
) -> tuple[Values, int]:
    """Return the descriptors of tiles, and compute only those that are not in the cache.

    Parameters
    ----------
    folder
        Folder of the cache. ``None`` disables it. If two runs write at the same time, the later file remains.
    key
        All that descriptors depend on beside the position and our code: image, side and resolution of the tile, network
        and weights.
    places
        Centres of the tiles, (n, 2).
    width
        Number of columns of a descriptor.
    compute
        Function of centres, (m, 2), that returns descriptors, (m, width).

    Returns
    -------
    values
        (n, width) float32.
    computed
        Number of tiles that were not in the cache.
    """
    if folder is None:
        return compute(places), len(places)
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps({**key, "code": code_checksum()}, sort_keys=True).encode()).hexdigest()
    path = folder / f"{name}.npz"
    known_places, known_values = _read(path, width)
    index = {place.tobytes(): number for number, place in enumerate(known_places)}
    position = np.array([index.get(place.tobytes(), -1) for place in np.ascontiguousarray(places)], dtype=np.int64)
    new = position < 0
    values = np.empty((len(places), width), np.float32)
    values[~new] = known_values[position[~new]]
    if new.any():
        values[new] = compute(places[new])
        with atomic_path(path) as temporary, temporary.open("wb") as handle:
            np.savez(
                handle,
                places=np.concatenate([known_places, places[new]]),
                values=np.concatenate([known_values, values[new]]),
            )
    return values, int(new.sum())


def code_checksum(folder: Path = Path(__file__).parent) -> str:
    """Return the SHA-256 of the code in :data:`MODULES`."""
    return hashlib.sha256(b"".join((folder / f"{module}.py").read_bytes() for module in MODULES)).hexdigest()


def _read(path: Path, width: int) -> tuple[Places, Values]:
    try:
        with np.load(path) as stored:
            places, values = stored["places"], stored["values"]
        if values.shape == (len(places), width) and places.shape[1:] == (2,):
            return places, values
    except FileNotFoundError:
        pass
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        log.warning("%s is damaged (%s) and is replaced", path.name, error)
    return np.empty((0, 2)), np.empty((0, width), np.float32)
