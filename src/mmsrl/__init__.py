"""Spatial domains from gene expression, histology and location."""

from __future__ import annotations

from importlib.metadata import version

__version__ = version("mmsrl")
