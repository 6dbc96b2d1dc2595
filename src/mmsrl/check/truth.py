"""Form of a truth file. What the labels say is nobody's business before ``evaluate``."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Set
from pathlib import Path

from mmsrl._errors import InputError
from mmsrl.check.problems import listed, nearest, shown

COLUMNS = ("barcode", "label")


def check_truth(path: Path, barcodes: Set[str] | None) -> None:
    """Check that a file is a table of barcodes and labels, and that its barcodes are of the section.

    As in ``evaluate``, commas, semicolons and tabs may separate columns, and text may be UTF-8, UTF-16 or Windows-1252.

    Parameters
    ----------
    path
        The truth file.
    barcodes
        Barcodes of the section; ``None`` where they are not known here.

    Raises
    ------
    InputError
        If the file could not be used to score this section.
    """
    lines = _text(path).splitlines()
    delimiter = max(",;\t", key=lines[0].count) if lines else ","
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        rows = [(reader.line_num, fields) for fields in reader]
    except csv.Error as error:
        raise InputError(f"line {reader.line_num} is no row of a table ({error})") from error
    header = [name.strip().lower() for name in rows[0][1]] if rows else []
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        guesses = [nearest(column, [name for name in header if name not in COLUMNS]) for column in missing]
        hint = listed(f"{guess} may be {column}" for guess, column in zip(guesses, missing, strict=True) if guess)
        raise InputError(
            f"no column {' and no column '.join(missing)}; its first line must name barcode and label, "
            f"but is {shown(delimiter.join(header))}" + (f" ({hint})" if hint else "")
        )
    barcode_at, label_at = (header.index(column) for column in COLUMNS)
    seen: set[str] = set()
    labelled = False
    for number, fields in rows[1:]:
        if not any(fields):
            continue
        if len(fields) <= max(barcode_at, label_at):
            raise InputError(f"line {number} has {len(fields)} of {len(header)} columns; complete the line")
        seen.add(fields[barcode_at].strip())
        labelled = labelled or bool(fields[label_at].strip())
    if not labelled:
        raise InputError("no barcode has a label; leave the column truth empty if there are none")
    if barcodes and seen.isdisjoint(barcodes):
        raise InputError(
            f"none of its barcodes is in the section: {shown(min(seen))} here, {shown(min(barcodes))} there; "
            "is it the truth of another section?"
        )


def _text(path: Path) -> str:
    content = path.read_bytes()
    utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    for encoding in ["utf-16"] if utf_16 else ["utf-8-sig", "cp1252"]:
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError("not a text file; save it as CSV in UTF-8")
