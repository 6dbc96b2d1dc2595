"""Where training can go on after being killed: one file, whole or not at all."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmsrl._files import atomic_path

logger = logging.getLogger(__name__)


def fingerprint(settings: Any, arrays: Iterable[np.ndarray], **others: object) -> str:
    """Return a hash of everything training depends on: settings, data, seed, versions.

    Weights trained under one fingerprint are never continued under another.
    """
    digest = hashlib.sha256(repr((dataclasses.asdict(settings), sorted(others.items()), torch.__version__)).encode())
    for array in arrays:
        digest.update(repr((array.shape, array.dtype.str)).encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run in ``path``, valid for ``fingerprint`` alone."""

    path: Path
    fingerprint: str
    every: int
    """Epochs between two saves."""

    def save(self, state: dict[str, Any]) -> None:
        """Write ``state`` atomically: a process killed at any moment leaves the previous state or this one."""
        with atomic_path(self.path) as temporary:
            torch.save({"fingerprint": self.fingerprint, **state}, temporary)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """Return the saved state, or ``None`` where there is none for this fingerprint."""
        if not self.path.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location=device, weights_only=True)
        except (RuntimeError, EOFError, pickle.UnpicklingError):
            logger.warning("%s cannot be read; training starts over", self.path.name)
            return None
        if state.pop("fingerprint", None) != self.fingerprint:
            logger.warning("%s belongs to other data or settings; training starts over", self.path.name)
            return None
        return state
