"""Label files, as people have them: what ``check`` and ``evaluate`` must see alike."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path
from typing import NamedTuple

from mmsrl._errors import InputError

COLUMNS = ("barcode", "label")
UNLABELLED = frozenset({"", "NA", "N/A", "NaN", "nan", "<NA>"})
"""What stands for "not annotated"."""


class LabelTable(NamedTuple):
    """A label file, split into fields."""

    delimiter: str
    header: list[str]
    """Names in lower case; empty where the file is."""
    rows: list[tuple[int, list[str]]]
    """Line number and fields, empty lines left out."""


def read_label_table(path: Path) -> LabelTable:
    """Read a text table: comma, semicolon or tab; UTF-8, UTF-16 with its mark, or Windows-1252.

    Raises
    ------
    InputError
        If the file is no text, or a line cannot be split.
    """
    lines = _text(path.read_bytes()).splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        rows = [(reader.line_num, fields) for fields in reader]
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} is no row of a table ({error})") from error
    header = [name.strip().lower() for name in rows[0][1]] if rows else []
    return LabelTable(delimiter, header, [(number, fields) for number, fields in rows[1:] if any(fields)])


def label_of(fields: list[str], label_at: int) -> str:
    """Return the label of a row, ``""`` where it is not annotated."""
    label = fields[label_at].strip()
    return "" if label in UNLABELLED else label


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
