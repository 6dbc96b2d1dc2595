"""Reader of the text tables that stages exchange."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError

_MISSING = ["", "nan", "NaN", "NA"]
"""Placeholders for a missing number."""


def read_table(path: Path, stage: str, columns: Sequence[str], *, text: Sequence[str] = ()) -> pd.DataFrame:
    """Read the table of a stage, tab-separated if its name ends with `.tsv`, else comma-separated.

    Parameters
    ----------
    path
        The table.
    stage
        Stage that wrote it, for messages.
    columns
        Required columns.
    text
        Columns to read as text.

    Raises
    ------
    InputError
        The file is not a table, lacks a column, or is truncated.
    """
    separator = "\t" if path.suffix == ".tsv" else ","
    try:
        # Samples may be named NA, and genes nan: in text columns only empty values are missing.
        header = pd.read_csv(path, sep=separator, nrows=0, dtype=str).columns
        empty = {name: [""] if name in text else _MISSING for name in header}
        table = pd.read_csv(path, sep=separator, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=empty)
    # Errors of the parser and of the encoding are subclasses of ValueError.
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
    DataFrame
        Columns ``sample``, ``barcode``, ``domain`` (text) and, if the read-out has it, ``domain_confidence``.

    Raises
    ------
    InputError
        The table is invalid, or a spot has no domain.
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
    DataFrame
        Columns ``barcode``, ``reference_domain`` (text), ``reference_confidence`` and ``reference_likeness``.

    Raises
    ------
    InputError
        The table is invalid.
    """
    columns = (_keys.BARCODE, _keys.REFERENCE_DOMAIN, _keys.REFERENCE_CONFIDENCE, _keys.REFERENCE_LIKENESS)
    return read_table(path, "map", columns, text=columns[:2])


def rows_of(sample: str, barcodes: Sequence[str], table: pd.DataFrame, source: str) -> npt.NDArray[np.int64]:
    """Find the row of every spot of a sample in a table of several samples.

    Parameters
    ----------
    sample
        Name of the sample.
    barcodes
        (n_spots,) barcodes of the sample.
    table
        Table with the columns ``sample`` and ``barcode``.
    source
        Name of the file, for messages.

    Returns
    -------
    ndarray
        Row of each spot, (n_spots,) int64.

    Raises
    ------
    InputError
        The table does not have every spot of the sample exactly once.
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
