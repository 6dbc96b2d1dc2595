"""Spatial domains from gene expression, histology and location."""

from __future__ import annotations

from importlib.metadata import version

from mmsrl import pp, tl

__all__ = ["__version__", "pp", "tl"]
__version__ = version("mmsrl")
