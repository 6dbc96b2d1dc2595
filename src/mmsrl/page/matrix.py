"""Tables of numbers with a row and a column heading each, whose cells are shaded by a share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple


class Heading(NamedTuple):
    """Heading of a row or column, with the colour of the domain if it names one."""

    name: str
    color: str | None = None


class Cell(NamedTuple):
    """Text of a cell, and its shade from 0 (white) to 1 (dark)."""

    text: str
    shade: float = 0.0


class Row(NamedTuple):
    """Row of a table; ``last`` is the text of the additional last column."""

    heading: Heading
    cells: list[Cell]
    last: str = ""


class Matrix(NamedTuple):
    """Table that the macro ``matrix`` of ``templates/macros.html`` draws."""

    label: str
    """Name of the table for screen readers."""
    corner: str
    """Heading of the first column."""
    columns: list[Heading]
    rows: list[Row]
    last: str = ""
    """Heading of the additional last column, if there is one."""


def domain_headings(colors: Mapping[str, str]) -> list[Heading]:
    """Return one heading per domain."""
    return [Heading(name, color) for name, color in colors.items()]
