"""Tools: embed tissue sections, find domains and analyse them.

All functions follow one convention:

- A function that annotates sections writes to ``data`` and returns ``None``. With ``copy=True`` it leaves ``data``
  unchanged and returns annotated copies: one object for one section, a list for a list.
- ``key_added`` names what is written. A summary of the run with all tables is in ``uns[key_added]``.
- :func:`compare` and :func:`match` relate several objects to each other. They write nothing and return tables.
- Warnings are Python warnings. All other messages go to the logger ``mmsrl`` at level ``INFO``.
- Invalid input raises :class:`mmsrl.InputError`. ``data`` is unchanged then.

Parameters are named as in scanpy and squidpy: ``groupby``, ``use_rep``, ``n_neighbors``, ``n_jobs``, ``seed``.
"""

from __future__ import annotations

from mmsrl.tl._embedding import domains, map, train
from mmsrl.tl._genes import enhance, markers, trajectory
from mmsrl.tl._studies import compare, match

__all__ = ["compare", "domains", "enhance", "map", "markers", "match", "train", "trajectory"]
