"""Reader of label files, shared by ``check`` and ``evaluate``."""

from __future__ import annotations

import codecs
import csv
import difflib
from pathlib import Path
from typing import NamedTuple

from mmsrl._errors import InputError

UNLABELLED = frozenset({"", "NA", "N/A", "NaN", "nan", "<NA>"})
"""Placeholders for a spot without annotation."""

_COLUMNS = ("barcode", "label")
_LONGEST_SHOWN = 80


class _Table(NamedTuple):
    """Text table, split into fields."""

    delimiter: str
    header: list[str]
    """Column names in lower case; empty for an empty file."""
    rows: list[tuple[int, list[str]]]
    """Line numbers and fields of the non-empty lines."""


def read_labels(path: Path) -> dict[str, str]:
    """Read the labels of a section from a text table.

    Separators are comma, semicolon or tab. Encodings are UTF-8, UTF-16 with byte-order mark, or Windows-1252.

    Parameters
    ----------
    path
        Text table with the columns ``barcode`` and ``label``; others are ignored.

    Returns
    -------
    dict
        Label by barcode; ``""`` without annotation.

    Raises
    ------
    InputError
        The file is not such a table, a barcode has two labels, or nothing is labelled. The message names the line, not
        the file.
    """
    delimiter, header, rows = _table(path)
    missing = [column for column in _COLUMNS if column not in header]
    if missing:
        raise InputError(
            f"no column {' and no column '.join(missing)}; its first line must name barcode and label, "
            f"but is {_shown(delimiter.join(header))}{_guessed(missing, header)}"
        )
    barcode_at, label_at = (header.index(column) for column in _COLUMNS)
    labels: dict[str, str] = {}
    for number, fields in rows:
        if len(fields) <= max(barcode_at, label_at):
            raise InputError(f"line {number} has {len(fields)} of {len(header)} columns; complete the line")
        barcode, label = fields[barcode_at].strip(), fields[label_at].strip()
        label = "" if label in UNLABELLED else label
        if labels.setdefault(barcode, label) != label:
            raise InputError(
                f"line {number}: barcode {_shown(barcode)} is labelled {_shown(label)} here and "
                f"{_shown(labels[barcode])} above; a spot has one label"
            )
    if not any(labels.values()):
        raise InputError("no barcode has a label; leave the column truth empty if there are none")
    return labels


def _table(path: Path) -> _Table:
    lines = _text(path.read_bytes()).splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        rows = [(reader.line_num, fields) for fields in reader]
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} is no row of a table ({error})") from error
    header = [name.strip().lower() for name in rows[0][1]] if rows else []
    return _Table(delimiter, header, [(number, fields) for number, fields in rows[1:] if any(fields)])


def _text(content: bytes) -> str:
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ["utf-16"] if utf_16 else ["utf-8-sig", "cp1252"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError("not a text file; save it as CSV in UTF-8")


def _guessed(missing: list[str], header: list[str]) -> str:
    """Suggest columns that may be misspellings of the missing ones."""
    others = [name for name in header if name not in _COLUMNS]
    guesses = [(column, difflib.get_close_matches(column, others, n=1)) for column in missing]
    hint = ", ".join(f"{guess} may be {column}" for column, found in guesses for guess in found)
    return f" ({hint})" if hint else ""


def _shown(text: str) -> str:
    """Return ``text`` in quotes, as one line of limited length."""
    return repr(text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}...")
