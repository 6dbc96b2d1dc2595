"""Length and label of scale bars."""

from __future__ import annotations

import math

SHARE = 0.25
"""Maximum length of the bar, as a share of the width of the window."""


def bar_um(width_um: float, share: float = SHARE) -> float | None:
    """Return the longest bar of 1, 2 or 5 times a power of ten µm within a share of the window.

    Parameters
    ----------
    width_um
        Width of the window in µm; NaN if not known.
    share
        Maximum length of the bar, as a share of the width.

    Returns
    -------
    Length in µm, or ``None`` if the width is not known.
    """
    max_um = share * width_um
    if not (math.isfinite(max_um) and max_um > 0):
        return None
    power = 10.0 ** math.floor(math.log10(max_um))
    return max(step * power for step in (1, 2, 5) if step * power <= max_um)


def length_name(um: float) -> str:
    """Format a length in µm below one millimetre, else in mm."""
    return f"{um:g} µm" if um < 1000 else f"{um / 1000:g} mm"
