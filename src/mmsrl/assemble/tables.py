"""Tables that go into the assembled files, put into the order of the spots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._tables import read_table


def read_domains(path: Path) -> pd.DataFrame:
    """Read ``<unit>.domains.csv``.

    Returns
    -------
    Columns ``sample``, ``barcode``, ``domain`` (strings) and, where the read-out gives one, ``domain_confidence``.

    Raises
    ------
    InputError
        If it is no such table, or a spot has no domain.
    """
    columns = (_keys.SAMPLE, _keys.BARCODE, _keys.DOMAIN)
    table = read_table(path, "domains", columns, text=columns)
    empty = np.flatnonzero(table[_keys.DOMAIN].isna())
    if len(empty):
        raise InputError(f"{path.name}: row {empty[0] + 2} has no domain ({len(empty)} such rows)")
    return table


def rows_of(sample: str, barcodes: Sequence[str], table: pd.DataFrame, source: str) -> npt.NDArray[np.int64]:
    """Find the row of every spot of a sample in a table of several samples.

    Parameters
    ----------
    sample
        The sample whose spots are wanted.
    barcodes
        Its barcodes, in the order wanted.
    table
        Has the columns ``sample`` and ``barcode``.
    source
        Name of the file the table comes from, for the message.

    Returns
    -------
    Positions in ``table``, int64, shape (n_spots,).

    Raises
    ------
    InputError
        If the table does not hold every spot of the sample exactly once.
    """
    positions = np.flatnonzero((table[_keys.SAMPLE].astype(str) == sample).to_numpy())
    found = pd.Index(table[_keys.BARCODE].astype(str).to_numpy()[positions])
    if found.has_duplicates:
        raise InputError(f"{source}: sample {sample}: barcode {found[found.duplicated()][0]} occurs more than once")
    order = found.get_indexer(pd.Index(barcodes))
    absent = np.flatnonzero(order < 0)
    if len(absent):
        raise InputError(
            f"{source}: sample {sample}: {len(absent)} of {len(barcodes)} spots are not in it, "
            f"such as {barcodes[absent[0]]}; give the files of one and the same run"
        )
    return positions[order].astype(np.int64)
