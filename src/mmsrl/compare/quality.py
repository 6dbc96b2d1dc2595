"""Sections of a study whose quality is unlike that of the others. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

DEVIATIONS = 3.5
"""Robust standard deviations from the median beyond which a section is an outlier (Iglewicz and Hoaglin, 1993)."""

FACTOR = 1.5
"""Ratio to the median that it differs by at least: where sections are much alike, a few per cent are no outlier."""

FEWEST = 4
"""Sections below which none is called an outlier."""


def outliers(values: Mapping[str, float]) -> list[str]:
    """Return the sections whose metric is an outlier among those of all sections.

    Metrics are compared on the log scale: one section at a tenth of the depth of the others is as far off as one at ten
    times.

    Parameters
    ----------
    values
        One metric by section, 0 or more.
    """
    names = list(values)
    logs = np.log(np.array([values[name] for name in names]) + 1e-3)
    if len(names) < FEWEST or not np.isfinite(logs).all():
        return []
    away = np.abs(logs - np.median(logs))
    spread = 1.4826 * np.median(away)
    return [name for name, d in zip(names, away, strict=True) if d > max(DEVIATIONS * spread, np.log(FACTOR))]
