"""Text tables as one stage writes them and a later one reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError

_MISSING = ["", "nan", "NaN", "NA"]
"""What a number that is not there may be written as."""


def read_table(path: Path, stage: str, columns: Sequence[str], *, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read the table of a stage: tabs between columns where the name ends with `.tsv`, else commas.

    Parameters
    ----------
    path
        The table.
    stage
        The stage that wrote it, for messages.
    columns
        What it must have at least.
    text
        Columns to read as strings, whatever they look like.

    Raises
    ------
    InputError
        The file is no such table, or truncated within a row.
    """
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        # A sample may be named NA, and a gene nan: in columns of text only what is empty is missing.
        header = pd.read_csv(path, sep=separator, nrows=0, dtype=str).columns
        empty = {name: [""] if name in text else _MISSING for name in header}
        table = pd.read_csv(path, sep=separator, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=empty)
    # The parser's own errors and those of the encoding are kinds of ValueError.
    except ValueError as error:
        what = " ".join(str(error).split())
        raise InputError(f"{path.name}: empty or damaged ({what}); copy it anew, or run mmsrl-{stage} again") from error
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(f"{path.name}: no column {', '.join(missing)}; expected the output of mmsrl-{stage}")
    return table


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


def read_mapped(path: Path) -> pd.DataFrame:
    """Read ``<sample>.map.csv``: the labels of a section from a reference.

    Returns
    -------
    Columns ``barcode``, ``reference_domain`` (strings), ``reference_confidence`` and ``reference_likeness``.

    Raises
    ------
    InputError
        If it is no such table.
    """
    columns = (_keys.BARCODE, _keys.REFERENCE_DOMAIN, _keys.REFERENCE_CONFIDENCE, _keys.REFERENCE_LIKENESS)
    return read_table(path, "map", columns, text=columns[:2])


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
