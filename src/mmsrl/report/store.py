"""Figures and tables that stand in the page once, however many samples show them, and are read when they are needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import plotly.graph_objects as go

from mmsrl.report.charts import to_json

HEIGHT = 352
"""Of a figure that does not say, in pixels: there is no shift when it is drawn."""


class Shown(NamedTuple):
    """Where a figure is shown."""

    id: str
    height: int


@dataclass
class Store:
    """What is shown by id."""

    figures: dict[str, str] = field(default_factory=dict)
    """JSON."""
    tables: dict[str, str] = field(default_factory=dict)
    """Packed."""

    def figure(self, id: str, figure: go.Figure | None, height: int = HEIGHT) -> Shown | None:
        """Keep a figure; ``None`` stays what it is."""
        if figure is None:
            return None
        own: Any = figure.layout.height
        self.figures[id] = to_json(figure)
        return Shown(id, int(own or height))

    def table(self, id: str, packed: str | None) -> str | None:
        """Keep a table, and return its id; ``None`` stays what it is."""
        if packed is not None:
            self.tables[id] = packed
        return id if packed is not None else None
