"""Samples of many spots: which of them are looked at."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def at_random(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Return which of ``n`` spots to take, ascending: all of them, or ``most`` at random."""
    return np.arange(n) if n <= most else np.sort(np.random.default_rng(seed).choice(n, most, replace=False))


def evenly(n: int, most: int) -> NDArray[np.int64]:
    """Return which of ``n`` spots to take, ascending: all of them, or ``most`` evenly."""
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).round().astype(np.int64)
