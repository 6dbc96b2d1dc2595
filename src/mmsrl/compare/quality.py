"""Sections with outlying quality metrics. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

DEVIATIONS = 3.5
"""Robust standard deviations from the median beyond which a section is an outlier (Iglewicz and Hoaglin, 1993)."""

FACTOR = 1.5
"""Minimum ratio of an outlier to the median, for sections that are very similar."""

FEWEST = 4
"""Minimum number of sections to detect outliers."""


def outliers(values: Mapping[str, float]) -> list[str]:
    """Return the sections with an outlying metric, on the log scale.

    Parameters
    ----------
    values
        Metric by section, at least 0.
    """
    names = list(values)
    logs = np.log(np.array([values[name] for name in names]) + 1e-3)
    if len(names) < FEWEST or not np.isfinite(logs).all():
        return []
    away = np.abs(logs - np.median(logs))
    spread = 1.4826 * np.median(away)
    return [name for name, d in zip(names, away, strict=True) if d > max(DEVIATIONS * spread, np.log(FACTOR))]
