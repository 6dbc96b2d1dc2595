"""Positions of spots as Space Ranger writes them: CSV without header (v1), with header (v2, v3), Parquet (HD)."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from pyarrow import parquet

from mmsrl._errors import InputError

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")


def read_positions(path: Path) -> pd.DataFrame:
    """Read positions of spots.

    Whether there is a header is told from the first line, not from the name of the file.

    Returns
    -------
    DataFrame
        Index: barcode. ``in_tissue``, ``array_row``, ``array_col`` (int64), ``pxl_row_in_fullres``,
        ``pxl_col_in_fullres`` (float64; not yet checked to be finite).

    Raises
    ------
    InputError
        The file is damaged or foreign, lacks a column, has a cell that is no number, or has a barcode twice.
    """
    table = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    missing = [column for column in COLUMNS if column not in table]
    if missing:
        raise InputError(f"{path.name}: lacks the column(s) {', '.join(missing)}; it has {', '.join(map(str, table))}")
    if table.empty:
        raise InputError(f"{path.name}: has no rows")
    barcodes = table["barcode"].astype(str)
    duplicated = barcodes.duplicated()
    if duplicated.any():
        raise InputError(f"{path.name}: barcode {barcodes[duplicated].iloc[0]!r} comes more than once")
    columns: dict[str, pd.Series[int] | pd.Series[float]] = {}
    for column in COLUMNS[1:]:
        numbers = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        whole = not column.startswith("pxl")
        bad = ~np.isfinite(numbers) | (numbers != np.round(numbers)) if whole else numbers.isna() & _is_word(table[column])
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{path.name}: {column} of barcode {barcodes.iloc[row]!r} (row {row + 1}) is "
                f"{table[column].iloc[row]!r}, not a {'whole ' if whole else ''}number"
            )
        columns[column] = numbers.astype(np.int64) if whole else numbers
    return pd.DataFrame(columns).set_index(pd.Index(barcodes, name="barcode"))


def _is_word(cells: pd.Series[str]) -> pd.Series[bool]:
    return ~cells.astype(str).str.strip().str.lower().isin(["", "nan", "na", "none"])


def _read_parquet(path: Path) -> pd.DataFrame:
    try:
        table: pd.DataFrame = parquet.read_table(path).to_pandas()
    except (pyarrow.ArrowException, OSError) as error:
        raise InputError(f"{path.name}: not Parquet, or truncated ({error}); copy it anew") from error
    return table.reset_index() if "barcode" not in table else table


def _read_csv(path: Path) -> pd.DataFrame:
    try:
        with path.open(encoding="utf-8-sig", newline="") as handle:
            first = next(csv.reader(handle), [])
        headed = len(first) > 1 and not first[1].strip().lstrip("-").isdigit()
        if not headed and len(first) != len(COLUMNS):
            raise InputError(
                f"{path.name}: {len(first)} column(s) in the first line; positions have {len(COLUMNS)}, separated by "
                f"commas: {', '.join(COLUMNS)}"
            )
        return pd.read_csv(
            path,
            header=0 if headed else None,
            names=None if headed else list(COLUMNS),
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, OSError, UnicodeError) as error:
        raise InputError(f"{path.name}: empty or damaged ({error}); copy it anew") from error
