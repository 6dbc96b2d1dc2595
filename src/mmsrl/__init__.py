"""Spatial domains from gene expression, histology and location.

For use in Python: ``from mmsrl import datasets, pp, tl``.
"""

from __future__ import annotations

from importlib.metadata import version

from mmsrl._errors import InputError

__all__ = ["InputError"]
__version__ = version("mmsrl")
