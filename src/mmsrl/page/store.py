"""Figures and tables that stand in the page once, however many samples show them, and are read when they are needed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import plotly.graph_objects as go

from mmsrl.page.charts import to_json
from mmsrl.page.payload import packed

HEIGHT = 352
"""Of a figure that does not say, in pixels: there is no shift when it is drawn."""


class Shown(NamedTuple):
    """Where a figure is shown."""

    id: str
    height: int


class Choice(NamedTuple):
    """Where one figure of several is shown, and what the reader chooses from."""

    shown: Shown
    packed: str
    """Id of all of them."""


@dataclass
class Store:
    """What is shown by id."""

    figures: dict[str, str] = field(default_factory=dict)
    """JSON."""
    tables: dict[str, str] = field(default_factory=dict)
    """Packed: tables, and figures that are drawn when they are chosen."""

    def figure(self, id: str, figure: go.Figure | None, height: int = HEIGHT) -> Shown | None:
        """Keep a figure; ``None`` stays what it is."""
        return None if figure is None else self._keep(id, figure, height)

    def _keep(self, id: str, figure: go.Figure, height: int) -> Shown:
        own: Any = figure.layout.height
        self.figures[id] = to_json(figure)
        return Shown(id, int(own or height))

    def choice(self, id: str, figures: Sequence[tuple[go.Figure, str]], first: int, height: int = HEIGHT) -> Choice:
        """Keep figures of which one is shown at a time, each with what is said of it; ``first`` is shown first."""
        shown = self._keep(id, figures[first][0], height)
        all_of_them = [{"figure": json.loads(to_json(figure)), "words": words} for figure, words in figures]
        self.tables[f"{id}-choice"] = packed(all_of_them)
        return Choice(shown, f"{id}-choice")

    def table(self, id: str, text: str | None) -> str | None:
        """Keep a packed table, and return its id; ``None`` stays what it is."""
        if text is not None:
            self.tables[id] = text
        return id if text is not None else None
