"""Labels of a section."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmsrl._errors import InputError
from mmsrl._labels import COLUMNS, label_of, read_label_table


def read_truth(path: Path, *, sample: str) -> pd.Series[str]:
    """Read the labels of one section.

    Parameters
    ----------
    path
        Text table with the columns ``barcode`` and ``label`` (others are ignored), see
        :func:`mmsrl._labels.read_label_table`.
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
    try:
        _, columns, rows = read_label_table(path)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    missing = [name for name in COLUMNS if name not in columns]
    if missing:
        raise InputError(
            f"{where} has no column {' and no column '.join(missing)}; "
            f"its first line must name barcode and label, but names {', '.join(columns) or 'nothing'}"
        )
    barcode_at, label_at = (columns.index(name) for name in COLUMNS)
    labels: dict[str, str] = {}
    for number, row in rows:
        if len(row) <= max(barcode_at, label_at):
            raise InputError(f"{where}, line {number}: {len(row)} of {len(columns)} columns; complete the line")
        barcode, label = row[barcode_at].strip(), label_of(row, label_at)
        if labels.setdefault(barcode, label) != label:
            raise InputError(
                f"{where}, line {number}: barcode {barcode} is labelled '{label}' here and '{labels[barcode]}' above; "
                "a spot has one label"
            )
    labelled = {barcode: label for barcode, label in labels.items() if label}
    if not labelled:
        raise InputError(f"{where} labels no spot; leave the column 'truth' empty if there are no labels")
    return pd.Series(labelled, dtype=str)
