"""Labels of a section."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmsrl._errors import InputError, error_prefix
from mmsrl._labels import read_labels


def read_truth(path: Path, *, sample: str) -> pd.Series[str]:
    """Read the labels of one section.

    Parameters
    ----------
    path
        Text table with the columns ``barcode`` and ``label``, see :func:`mmsrl._labels.read_labels`.
    sample
        Name of the section, for messages.

    Returns
    -------
    pandas.Series
        Label of each labelled barcode.

    Raises
    ------
    InputError
        The file is no such table, a barcode has two labels, or nothing is labelled.
    """
    where = f"sample {sample}: truth {path}"
    if not path.is_file():
        raise InputError(f"{where} does not exist")
    with error_prefix(where):
        labels = read_labels(path)
    return pd.Series({barcode: label for barcode, label in labels.items() if label}, dtype=str)
