"""Normalised spelling of column and layer names."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """Return the lower-case letters and digits of a name: ``x_centroid`` and ``X.Centroid`` give ``xcentroid``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
