"""Descriptors of tiles kept from one run to the next."""

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
"""Those of this package that read, cut, stain and describe tiles: other code, other descriptors."""


def remembered(
    folder: Path | None, key: Mapping[str, Any], places: Places, width: int, compute: Callable[[Places], Values]
) -> tuple[Values, int]:
    """Return the descriptors of tiles, computing only those that are not in the cache yet.

    Parameters
    ----------
    folder
        Where they are kept; ``None`` keeps nothing. Two runs that write at once leave the file of the later one.
    key
        All that descriptors depend on beside the place and our own code: image, side and resolution of the tile,
        network and weights.
    places
        (n, 2), centres of the tiles.
    width
        Columns of a descriptor.
    compute
        From places, (m, 2), to descriptors, (m, width).

    Returns
    -------
    values
        (n, width).
    computed
        Tiles that were not in the cache.
    """
    if folder is None:
        return compute(places), len(places)
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(json.dumps({**key, "code": code_checksum()}, sort_keys=True).encode()).hexdigest()
    path = folder / f"{name}.npz"
    known_places, known_values = _read(path, width)
    index = {place.tobytes(): number for number, place in enumerate(known_places)}
    found = np.array([index.get(place.tobytes(), -1) for place in np.ascontiguousarray(places)], dtype=np.int64)
    new = found < 0
    values = np.empty((len(places), width), np.float32)
    values[~new] = known_values[found[~new]]
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
        log.warning("%s is damaged (%s) and made anew", path.name, error)
    return np.empty((0, 2)), np.empty((0, width), np.float32)
