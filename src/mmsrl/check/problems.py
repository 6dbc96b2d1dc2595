"""Problems of a samplesheet, and their report to the user."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """Problem of a samplesheet: its place, the offending value and the remedy."""

    row: int
    """Line of a CSV or TSV, or entry of a YAML or JSON list, from 1. 0 stands for the whole file."""
    text: str
    """What is wrong and what to do."""
    column: str | None = None
    value: str | None = None


def printable(value: object) -> str:
    """Return ``value`` as one line of printable text of at most 80 characters, escapes not counted."""
    text = str(value)
    if len(text) > _LONGEST_VALUE:
        text = f"{text[: _LONGEST_VALUE - 3]}..."
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def shown(value: object) -> str:
    """Return ``value`` as :func:`printable` does, in quotes."""
    return f"'{printable(value)}'"


def listed(names: Iterable[str]) -> str:
    """Return ``names`` separated by commas."""
    return ", ".join(names)


def plain(name: str) -> str:
    """Convert ``camelCase``, ``kebab-case`` and ``Spaced Case`` to ``snake_case``."""
    return re.sub(r"[\s\-.]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())).lower()


def nearest(name: str, names: Collection[str], likeness: float = 0.6) -> str | None:
    """Return the closest match of ``name`` in ``names``; ``None`` if no similarity reaches ``likeness`` (0 to 1)."""
    matches = difflib.get_close_matches(plain(name), names, n=1, cutoff=likeness)
    return matches[0] if matches else None


def report(problems: Collection[Problem], name: str, unit: str) -> str:
    """Return the message that lists the problems of one samplesheet.

    Parameters
    ----------
    problems
        Problems in any order. Duplicates are listed once.
    name
        File name of the samplesheet.
    unit
        Word for a row: ``row`` or ``entry``.
    """
    unique = sorted(set(problems), key=lambda p: (p.row, p.column or "", p.text))
    lines = [f"{len(unique)} problem{'s' if len(unique) > 1 else ''} in {name}"]
    for problem in unique:
        where = [name]
        if problem.row:
            where.append(f"{unit} {problem.row}")
        if problem.column is not None:
            where.append(f"column {printable(problem.column)}")
        if problem.value is not None:
            where.append(f"value {shown(problem.value)}")
        lines.append(f"  {', '.join(where)}: {problem.text}")
    return "\n".join(lines)
