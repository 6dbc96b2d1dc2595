"""Form of a truth file. What the labels say is nobody's business before ``evaluate``."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from mmsrl._errors import InputError
from mmsrl._labels import read_labels
from mmsrl.check.problems import shown


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
    labels = read_labels(path)
    if barcodes and labels.keys().isdisjoint(barcodes):
        raise InputError(
            f"none of its barcodes is in the section: {shown(min(labels))} here, {shown(min(barcodes))} there; "
            "is it the truth of another section?"
        )
