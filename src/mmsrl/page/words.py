"""Values as people read them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def show(value: Any) -> str:
    """Write a value for people: thousands separated, four significant digits, a dash for what is missing."""
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
    """Write a number for a narrow column: whole from 100 on, else three significant digits, two below 1.

    Zeros at the end count as digits: in a column .80 stands beside .87.
    """
    if value is None or not math.isfinite(value):
        return "–"
    if abs(value) >= 100 or value == round(value):
        return f"{value:,.0f}"
    return f"{value:#.{2 if abs(value) < 1 else 3}g}".removesuffix(".")


def probability(value: float | None) -> str:
    """Write a p-value as the tables that are searched write it: ``0.012``, ``3.4e−7``."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:.3f}" if value >= 0.001 else f"{value:.1e}".replace("e-0", "e-").replace("-", "−")
