"""Label files, as people have them."""

from __future__ import annotations

import codecs
import csv
from pathlib import Path

import pandas as pd

from mmsrl._errors import InputError

UNLABELLED = frozenset({"", "NA", "N/A", "NaN", "nan", "<NA>"})
"""What stands for "not annotated"."""


def read_truth(path: Path, *, sample: str) -> pd.Series[str]:
    """Read the labels of one section.

    Parameters
    ----------
    path
        Text table with the columns ``barcode`` and ``label`` (others are ignored); comma, semicolon or tab; UTF-8,
        UTF-16 with its mark, or Windows-1252.
    sample
        For messages.

    Returns
    -------
    pandas.Series
        Label of each labelled barcode; those that are not annotated are left out.

    Raises
    ------
    InputError
        If the file is not such a table, a barcode has two labels, or nothing is labelled.
    """
    where = f"sample {sample}: truth {path}"
    if not path.is_file():
        raise InputError(f"{where} does not exist")
    lines = _text(path.read_bytes(), where).splitlines()
    header = lines[0] if lines else ""
    delimiter = max(",;\t", key=header.count)
    rows = list(csv.reader(lines, delimiter=delimiter))
    columns = [name.strip().lower() for name in rows[0]] if rows else []
    missing = [name for name in ("barcode", "label") if name not in columns]
    if missing:
        raise InputError(
            f"{where} has no column {' and no column '.join(missing)}; "
            f"its first line must name barcode and label, but names {', '.join(columns) or 'nothing'}"
        )
    barcode_at, label_at = columns.index("barcode"), columns.index("label")
    labels: dict[str, str] = {}
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) <= max(barcode_at, label_at):
            raise InputError(f"{where}, line {number}: {len(row)} of {len(columns)} columns; complete the line")
        barcode, label = row[barcode_at].strip(), row[label_at].strip()
        label = "" if label in UNLABELLED else label
        if labels.setdefault(barcode, label) != label:
            raise InputError(
                f"{where}, line {number}: barcode {barcode} is labelled '{label}' here and '{labels[barcode]}' above; "
                "a spot has one label"
            )
    labelled = {barcode: label for barcode, label in labels.items() if label}
    if not labelled:
        raise InputError(f"{where} labels no spot; leave the column 'truth' empty if there are no labels")
    return pd.Series(labelled, dtype=str)


def _text(data: bytes, where: str) -> str:
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encodings = ["utf-16"]
    else:
        encodings = ["utf-8-sig", "cp1252"]
    for encoding in encodings:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"{where} is not a text file; save it as CSV in UTF-8")
