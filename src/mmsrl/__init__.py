"""Spatial domains from gene expression, histology and location.

For use in Python: ``from mmsrl import pp, tl``.
"""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("mmsrl")
