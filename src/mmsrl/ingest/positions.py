"""Positions of spots as Space Ranger writes them: CSV without header (v1), with header (v2, v3), Parquet (HD)."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from mmsrl import _keys, geometry
from mmsrl._errors import InputError
from mmsrl.ingest.platform import grid_places, on_grid

MOST_JOINED = 50
"""Sections that somebody may have joined in one file; where more spots share a place on the array it is none."""

BARCODE = r"(?:^|[-_.:#])([ACGT]{16}|s_\d{3}um_\d{5}_\d{5})(?=$|[-_.:#])"
"""The part of Visium's names that no two spots of a section share, whatever is written before or behind it."""

MOST_SHARED = 0.01
"""Share of barcodes that come twice in one section at most: none of Visium do, few of nuclei of several lanes."""

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
        bad = (
            ~np.isfinite(numbers) | (numbers != np.round(numbers))
            if whole
            else numbers.isna() & _is_word(table[column])
        )
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise InputError(
                f"{path.name}: {column} of barcode {barcodes.iloc[row]!r} (row {row + 1}) is "
                f"{table[column].iloc[row]!r}, not a {'whole ' if whole else ''}number"
            )
        columns[column] = numbers.astype(np.int64) if whole else numbers
    return pd.DataFrame(columns).set_index(pd.Index(barcodes, name="barcode"))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


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
        headed = len(first) > 1 and not _is_number(first[1])
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


def _first_at(places: NDArray[Any]) -> NDArray[np.intp]:
    """Return for each place, (n, 2), the first spot that is at the same one, (n,)."""
    _, first, inverse = np.unique(places, axis=0, return_index=True, return_inverse=True)
    return first[inverse.ravel()]


def check_array(
    row: NDArray[np.int64], col: NDArray[np.int64], barcodes: NDArray[Any], source: str, max_stacked: float
) -> None:
    """Check that spots, by their row and column on the array, (n,), are those of one array.

    Sections joined in one file differ in pixel coordinates: they would be analysed as one that lies on the others.

    Raises
    ------
    InputError
        More than the share ``max_stacked`` of the spots has the place of another; names the file ``source`` and a spot.
        Not where places are so few that the columns tell nothing, as where all spots have row and column 0.
    """
    below = _first_at(np.column_stack([row, col]))
    taken = below != np.arange(len(row))
    if taken.mean() > max_stacked and (~taken).sum() * MOST_JOINED > len(row):
        spot = int(np.flatnonzero(taken)[0])
        raise InputError(
            f"{source}: {taken.sum()} of {len(taken)} spots have the array row and column of another, e.g. "
            f"{barcodes[spot]!r} those of {barcodes[below[spot]]!r}; if these are several sections, give each a row "
            "and a file of its own, else remove the columns"
        )


def check_one_section(names: NDArray[Any], source: str) -> None:
    """Check that barcodes of Visium, (n,), do not come with two endings or beginnings, as those of several sections.

    Raises
    ------
    InputError
        Names the file ``source`` and two spots.
    """
    cores = pd.Series(names, dtype=object).astype(str).str.extract(BARCODE, expand=False)
    if cores.isna().any():
        return
    again = cores.duplicated()
    if again.mean() > MOST_SHARED:
        spot = int(np.flatnonzero(again)[0])
        first = int(np.flatnonzero(cores == cores.iloc[spot])[0])
        raise InputError(
            f"{source}: {again.sum()} of {len(names)} spots have the barcode of another, e.g. {names[spot]!r} that of "
            f"{names[first]!r}, so that these are several sections; give each a row and a file of its own"
        )


def check_coordinates(
    spatial: NDArray[np.float64], barcodes: NDArray[Any], source: str, max_stacked: float
) -> str | None:
    """Check that coordinates, (n_spots, 2), are finite and that spots don't lie on top of one another.

    Returns
    -------
    A warning where at most the share ``max_stacked`` of the spots lies on another.

    Raises
    ------
    InputError
        Names the file ``source`` and a spot.
    """
    bad = np.logical_not(np.isfinite(spatial).all(axis=1))
    if bad.any():
        raise InputError(
            f"{source}: {bad.sum()} of {len(bad)} spots have no finite coordinates, e.g. {barcodes[bad][0]!r}; "
            "correct or remove them"
        )
    below = _first_at(spatial)
    stacked = below != np.arange(len(spatial))
    if not stacked.any():
        return None
    spot = int(np.flatnonzero(stacked)[0])
    text = (
        f"{source}: {stacked.sum()} of {len(stacked)} spots have the coordinates of another, e.g. {barcodes[spot]!r} "
        f"those of {barcodes[below[spot]]!r}"
    )
    if stacked.mean() > max_stacked:
        raise InputError(f"{text}; correct them, or give each section a row and a file of its own")
    return text


def array_obs(obs: pd.DataFrame, spatial: NDArray[np.float64], source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return in-tissue flag and array position as far as the file has them, and a note of what was left out.

    Names such as `12x34` are array positions where the coordinates, (n, 2), are those of spots on such an array.

    Raises
    ------
    InputError
        A value is not whole; names the file ``source`` and the spot.
    """
    # Sections that were joined with others of another platform have such columns.
    places = (_keys.IN_TISSUE, _keys.ARRAY_ROW, _keys.ARRAY_COL)
    empty = [column for column in places if column in obs and obs[column].isna().all()]
    notes = []
    if empty:
        named = " and ".join(f"obs[{column!r}]" for column in empty)
        notes.append(f"{named} left out: no spot has a value")
        obs = obs.drop(columns=empty)
    columns: dict[str, Any] = {_keys.IN_TISSUE: _whole(obs, _keys.IN_TISSUE, source, default=1)}
    if {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(obs):
        columns[_keys.ARRAY_ROW] = _whole(obs, _keys.ARRAY_ROW, source)
        columns[_keys.ARRAY_COL] = _whole(obs, _keys.ARRAY_COL, source)
    else:
        grid = grid_places(obs.index.astype(str).tolist())
        # Coordinates that are not finite are told later.
        if grid is not None and np.array_equal(grid, np.round(grid)) and np.isfinite(spatial).all():
            pitch = geometry.measure(spatial).pitch
            if np.isfinite(pitch) and on_grid(grid, spatial, pitch):
                columns[_keys.ARRAY_ROW] = grid[:, 1].astype(np.int64)
                columns[_keys.ARRAY_COL] = grid[:, 0].astype(np.int64)
    return pd.DataFrame(columns, index=obs.index), notes


def _whole(obs: pd.DataFrame, column: str, source: str, default: int | None = None) -> NDArray[np.int64]:
    if column not in obs and default is not None:
        return np.full(len(obs), default, dtype=np.int64)
    texts = obs[column].astype(object).astype(str).str.strip()
    values = pd.to_numeric(texts.str.lower().replace({"true": "1", "false": "0"}), errors="coerce")
    bad = ~np.isfinite(values) | (values != np.round(values))
    if bad.any():
        raise InputError(
            f"{source}: obs[{column!r}] of {obs.index[bad][0]!r} is '{obs[column][bad].iloc[0]}', not whole; "
            "give all spots a whole number, or remove the column"
        )
    odd = ~values.isin((0, 1))
    if column == _keys.IN_TISSUE and odd.any():
        raise InputError(
            f"{source}: obs[{column!r}] of {obs.index[odd][0]!r} is '{obs[column][odd].iloc[0]}'; give 1 to spots in "
            "the tissue and 0 to those outside, or remove the column"
        )
    return values.to_numpy(dtype=np.int64)


def are_centroids(obs: pd.DataFrame, spatial: NDArray[np.float64]) -> bool:
    """Tell whether coordinates, (n, 2), are those of the columns `x_centroid` and `y_centroid`, which Xenium has."""
    if not {"x_centroid", "y_centroid"} <= set(obs):
        return False
    centroids = obs[["x_centroid", "y_centroid"]].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    return bool(np.allclose(centroids, spatial, rtol=1e-6))
