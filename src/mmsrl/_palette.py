"""The colours of domains: one palette for the final files, the figures and the report."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Okabe and Ito (2008) first, then one by one the colour farthest from all before it in OKLab, the distance being the
# smallest of those seen with normal, protan and deutan vision (Machado et al. 2009, severity 1).
PALETTE: tuple[str, ...] = tuple(
    """
    #0072B2 #E69F00 #009E73 #CC79A7 #56B4E9 #D55E00 #F0E442 #5A0F00 #2D0F78 #4BF0E1
    #873C4B #5A87FF #0F2DC3 #96C396 #2D4B87 #B43C00 #3C5AF0 #691E4B #B4E196 #69D2FF
    #4B7878 #782D00 #0000A5 #FF78D2 #FFB44B #C32DB4 #5A5A78 #FF5A5A #4B0F4B #78694B
    #C369D2 #1E963C #0FB478 #1E3C69 #1EA5FF #4B1E2D #87D2C3 #87B4A5 #96D278 #693CA5
    """.split()
)


def natural_order(labels: Iterable[object]) -> list[str]:
    """Sort the distinct labels as people do: ``2`` before ``10``, ``L2`` before ``L10``."""

    def key(label: str) -> list[tuple[bool, int, str]]:
        parts = re.split(r"(\d+)", label)
        return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part]

    return sorted({str(label) for label in labels}, key=key)


def domain_colors(domains: Iterable[object]) -> dict[str, str]:
    """Give every domain of a unit its colour.

    The colour depends on the rank of the label among all domains of the unit, so sections of one group must be
    coloured from the list of the whole group. After 40 domains colours repeat.

    Parameters
    ----------
    domains
        Labels, in any order, repeats allowed.

    Returns
    -------
    Hex colour by label, in natural order of the labels.
    """
    return {label: PALETTE[rank % len(PALETTE)] for rank, label in enumerate(natural_order(domains))}
