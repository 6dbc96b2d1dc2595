"""Colour palette of the domains, shared by the final files, figures and report."""

from __future__ import annotations

import re
from collections.abc import Iterable

# The palette starts with Okabe and Ito (2008). Each further colour is the one farthest from all previous colours in
# OKLab, by the smallest distance under normal, protan and deutan vision (Machado et al. 2009, severity 1).
PALETTE: tuple[str, ...] = tuple(
    """
    #0072B2 #E69F00 #009E73 #CC79A7 #56B4E9 #D55E00 #F0E442 #5A0F00 #2D0F78 #4BF0E1
    #873C4B #5A87FF #0F2DC3 #96C396 #2D4B87 #B43C00 #3C5AF0 #691E4B #B4E196 #69D2FF
    #4B7878 #782D00 #0000A5 #FF78D2 #FFB44B #C32DB4 #5A5A78 #FF5A5A #4B0F4B #78694B
    #C369D2 #1E963C #0FB478 #1E3C69 #1EA5FF #4B1E2D #87D2C3 #87B4A5 #96D278 #693CA5
    """.split()
)


def natural_order(labels: Iterable[object]) -> list[str]:
    """Sort distinct labels in natural order: ``2`` before ``10``, ``L2`` before ``L10``."""

    def key(label: str) -> list[tuple[bool, int, str]]:
        parts = re.split(r"(\d+)", label)
        return [(not part.isdecimal(), int(part) if part.isdecimal() else 0, part) for part in parts if part]

    return sorted({str(label) for label in labels}, key=key)


def domain_colors(domains: Iterable[object]) -> dict[str, str]:
    """Assign a colour to each domain of a unit.

    The colour depends on the rank of the label among all domains of the unit. Sections of a group must therefore be
    coloured from the domains of the whole group. Colours repeat after 40 domains.

    Parameters
    ----------
    domains
        Labels in any order, with or without duplicates.

    Returns
    -------
    Hex colours by label, in natural order of the labels.
    """
    return {label: PALETTE[rank % len(PALETTE)] for rank, label in enumerate(natural_order(domains))}
