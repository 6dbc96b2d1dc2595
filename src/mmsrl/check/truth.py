"""Format check of a truth file. Only ``evaluate`` uses its labels."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from mmsrl._errors import InputError
from mmsrl._labels import read_labels
from mmsrl.check.problems import shown


def check_truth(path: Path, barcodes: Set[str] | None) -> None:
    """Check that a file is a table of barcodes and labels, and shares barcodes with the section.

    Parameters
    ----------
    path
        The truth file.
    barcodes
        Barcodes of the section. ``None`` skips the comparison.

    Raises
    ------
    InputError
        The file is not such a table, or none of its barcodes is in the section.
    """
    labels = read_labels(path)
    if barcodes and labels.keys().isdisjoint(barcodes):
        raise InputError(
            f"none of its barcodes is in the section: {shown(min(labels))} here, {shown(min(barcodes))} there; "
            "is it the truth of another section?"
        )
