"""Faults as the user reads them: one line each, all at once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass

_LONGEST_VALUE = 80


@dataclass(frozen=True)
class Problem:
    """One fault of a samplesheet: where it is, what stands there, and what to do."""

    row: int
    """Line of a CSV or TSV, entry of a YAML or JSON list, from 1; 0: the file as a whole."""
    text: str
    column: str | None = None
    value: str | None = None


def printable(value: object) -> str:
    """Return ``value`` as text on one line, cut to a length that leaves a message readable."""
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
    """Spell ``camelCase``, ``kebab-case`` and ``Spaced Case`` in the way of our own names."""
    return re.sub(r"[\s\-.]+", "_", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name.strip())).lower()


def nearest(name: str, names: Collection[str], likeness: float = 0.6) -> str | None:
    """Return the one of ``names`` that ``name`` is most likely a misspelling of, if any is as like it (0 to 1)."""
    matches = difflib.get_close_matches(plain(name), names, n=1, cutoff=likeness)
    return matches[0] if matches else None


def report(problems: Collection[Problem], name: str, unit: str) -> str:
    """Return the message for the faults of one samplesheet.

    Parameters
    ----------
    problems
        Faults in any order; repeated ones are told once.
    name
        File name of the samplesheet.
    unit
        What rows are called: ``row`` or ``entry``.
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
