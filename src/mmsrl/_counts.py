"""Test for raw counts. Works on arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def not_counts(values: NDArray[Any]) -> str | None:
    """Return why ``values`` cannot be counts; ``None`` if they can."""
    bad = ~np.isfinite(values)
    if bad.any():
        return f"{bad.sum()} values are NaN or infinite"
    bad = values < 0
    if bad.any():
        return f"{bad.sum()} values are negative, e.g. {values[bad][0]:g}"
    bad = values != np.round(values)
    if bad.any():
        return f"{bad.sum()} values are not whole numbers, e.g. {values[bad][0]:g}"
    return None
