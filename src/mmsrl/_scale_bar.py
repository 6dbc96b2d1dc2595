"""Scale bars of figures: a round length of tissue, and its name."""

from __future__ import annotations

import math

SHARE = 0.25
"""Longest bar, as a share of the width of what is shown."""


def bar_um(width_um: float, share: float = SHARE) -> float | None:
    """Return the longest bar of 1, 2 or 5 times a power of ten µm within a share of a width of tissue.

    Parameters
    ----------
    width_um
        Of what is shown; NaN where it is not known.

    Returns
    -------
    Its length in µm; ``None`` where the width is not known.
    """
    most = share * width_um
    if not (math.isfinite(most) and most > 0):
        return None
    power = 10.0 ** math.floor(math.log10(most))
    return max(step * power for step in (1, 2, 5) if step * power <= most)


def length_name(um: float) -> str:
    """Return a length in words: µm below a millimetre, then mm."""
    return f"{um:g} µm" if um < 1000 else f"{um / 1000:g} mm"
