"""Formatting of values for readers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def show(value: Any) -> str:
    """Format a value with thousands separators and four significant digits; missing values become a dash."""
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case int() | np.integer():
            return f"{int(value):,}"
        case float() | np.floating():
            number = float(value)
            if not math.isfinite(number):
                return "–"
            return f"{number:,.0f}" if abs(number) >= 1000 or number == round(number) else f"{number:.4g}"
        case Mapping():
            return ", ".join(f"{name}: {show(item)}" for name, item in value.items()) or "–"
        case list() | tuple():
            return ", ".join(show(item) for item in value) or "–"
        case _:
            return str(value)


def brief(value: float | None) -> str:
    """Format a number for a narrow column: integers from 100, else three significant digits, or two below 1.

    Trailing zeros are kept, so that 0.80 aligns with 0.87.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:#.{2 if abs(value) < 1 else 3}g}".removesuffix(".")


def probability(value: float | None) -> str:
    """Format a p-value like the interactive tables: ``0.012``, ``3.4e−7``."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-").replace("-", "−")
