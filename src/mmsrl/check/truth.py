"""Form of a truth file. What the labels say is nobody's business before ``evaluate``."""

from __future__ import annotations

import csv
from collections.abc import Set
from pathlib import Path

from mmsrl._errors import InputError
from mmsrl.check.problems import nearest, shown

COLUMNS = ("barcode", "label")


def check_truth(path: Path, barcodes: Set[str] | None) -> None:
    """Check that a CSV has one row a barcode, a label for some, and barcodes of the section.

    Parameters
    ----------
    path
        The CSV.
    barcodes
        Barcodes of the section; ``None`` where they are not known here.

    Raises
    ------
    InputError
        If the file could not be used to score this section.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            reader = csv.reader(handle, strict=True)
            header = [name.strip() for name in next(reader, [])]
            at = [_position(name, header) for name in COLUMNS]
            seen: set[str] = set()
            n_labelled = 0
            for fields in reader:
                if not any(fields):
                    continue
                if len(fields) != len(header):
                    raise InputError(f"line {reader.line_num} has {len(fields)} values for {len(header)} columns")
                barcode, label = (fields[i].strip() for i in at)
                if barcode in seen:
                    raise InputError(f"line {reader.line_num} repeats barcode {shown(barcode)}; keep one")
                seen.add(barcode)
                n_labelled += bool(label)
    except UnicodeDecodeError as error:
        raise InputError("not UTF-8 text; save it as CSV (UTF-8)") from error
    except csv.Error as error:
        raise InputError(f"not CSV ({error})") from error
    if not n_labelled:
        raise InputError("no barcode has a label; leave the column truth empty if there are none")
    if barcodes and seen.isdisjoint(barcodes):
        raise InputError(
            f"none of its barcodes is in the section: {shown(min(seen))} here, {shown(min(barcodes))} there; "
            "is it the truth of another section?"
        )


def _position(column: str, header: list[str]) -> int:
    if header.count(column) == 1:
        return header.index(column)
    if column in header:
        raise InputError(f"column {column} is there more than once; keep one")
    if len(header) == 1 and any(separator in header[0] for separator in ";\t"):
        raise InputError("columns are not separated by commas; save it as CSV with commas")
    guess = nearest(column, [name for name in header if name not in COLUMNS])
    hint = f"is it {shown(guess)}? rename it" if guess else f"its header is {shown(','.join(header))}"
    raise InputError(f"no column {column}; {hint}")
