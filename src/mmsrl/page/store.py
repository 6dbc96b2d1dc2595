"""Figures and tables embedded in a page, each once. The browser decodes them on demand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import plotly.graph_objects as go

from mmsrl.page.charts import to_json
from mmsrl.page.payload import packed

HEIGHT = 352
"""Default height of a figure in pixels. A reserved height keeps the page from shifting."""


class Shown(NamedTuple):
    """Placeholder of a figure."""

    id: str
    height: int


class Choice(NamedTuple):
    """Placeholder of a figure that the reader selects from several."""

    shown: Shown
    packed: str
    """Id of the encoded figures."""


@dataclass
class Store:
    """Figures and tables by id."""

    figures: dict[str, str] = field(default_factory=dict)
    """Figures as JSON."""
    tables: dict[str, str] = field(default_factory=dict)
    """Encoded tables, and figures to select from."""

    def figure(self, id: str, figure: go.Figure | None, height: int = HEIGHT) -> Shown | None:
        """Store a figure and return its placeholder; ``None`` stays ``None``."""
        return None if figure is None else self._keep(id, figure, height)

    def _keep(self, id: str, figure: go.Figure, height: int) -> Shown:
        figure_height: Any = figure.layout.height
        self.figures[id] = to_json(figure)
        return Shown(id, int(figure_height or height))

    def choice(self, id: str, figures: Sequence[tuple[go.Figure, str]], first: int, height: int = HEIGHT) -> Choice:
        """Store figures with a sentence each, of which the reader selects one; ``first`` is the initial one."""
        shown = self._keep(id, figures[first][0], height)
        choices = [{"figure": json.loads(to_json(figure)), "words": words} for figure, words in figures]
        self.tables[f"{id}-choice"] = packed(choices)
        return Choice(shown, f"{id}-choice")

    def table(self, id: str, text: str | None) -> str | None:
        """Store an encoded table and return its id; ``None`` stays ``None``."""
        if text is not None:
            self.tables[id] = text
        return id if text is not None else None
