"""Names of columns, layers and the like, as programs spell them."""

from __future__ import annotations

import re


def plain(name: str) -> str:
    """Return a name in lower case, letters and digits alone: ``x_centroid`` and ``X.Centroid`` are ``xcentroid``."""
    return re.sub(r"[^a-z0-9]", "", name.lower())
