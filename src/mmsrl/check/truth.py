"""Form of a truth file. What the labels say is nobody's business before ``evaluate``."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from mmsrl._errors import InputError
from mmsrl._labels import COLUMNS, label_of, read_label_table
from mmsrl.check.problems import listed, nearest, shown


def check_truth(path: Path, barcodes: Set[str] | None) -> None:
    """Check that a file is a table of barcodes and labels, and that its barcodes are of the section.

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
    delimiter, header, rows = read_label_table(path)
    missing = [column for column in COLUMNS if column not in header]
    if missing:
        guesses = [nearest(column, [name for name in header if name not in COLUMNS]) for column in missing]
        hint = listed(f"{guess} may be {column}" for guess, column in zip(guesses, missing, strict=True) if guess)
        raise InputError(
            f"no column {' and no column '.join(missing)}; its first line must name barcode and label, "
            f"but is {shown(delimiter.join(header))}" + (f" ({hint})" if hint else "")
        )
    barcode_at, label_at = (header.index(column) for column in COLUMNS)
    labels: dict[str, str] = {}
    for number, fields in rows:
        if len(fields) <= max(barcode_at, label_at):
            raise InputError(f"line {number} has {len(fields)} of {len(header)} columns; complete the line")
        barcode, label = fields[barcode_at].strip(), label_of(fields, label_at)
        if labels.setdefault(barcode, label) != label:
            raise InputError(
                f"line {number}: barcode {shown(barcode)} is labelled {shown(label)} here and {shown(labels[barcode])} "
                "above; a spot has one label"
            )
    if not any(labels.values()):
        raise InputError("no barcode has a label; leave the column truth empty if there are none")
    if barcodes and labels.keys().isdisjoint(barcodes):
        raise InputError(
            f"none of its barcodes is in the section: {shown(min(labels))} here, {shown(min(barcodes))} there; "
            "is it the truth of another section?"
        )
