"""Subsampling of spots."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def at_random(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return ascending positions of at most ``most`` of ``n`` spots, drawn at random without replacement."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """Return ascending positions of at most ``most`` of ``n`` spots, evenly spaced."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)
