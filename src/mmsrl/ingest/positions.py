"""Spot positions of Space Ranger: CSV without header (v1), with header (v2, v3) and Parquet (HD); checks on them."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray
from pyarrow import parquet

from mmsrl import _keys, geometry
from mmsrl._errors import InputError
from mmsrl.ingest.platform import grid_places, on_grid

MAX_JOINED = 50
"""Maximum number of sections joined in one file. If more spots share an array position, the columns hold no array."""

BARCODE = r"(?:^|[-_.:#])([ACGT]{16}|s_\d{3}um_\d{5}_\d{5})(?=$|[-_.:#])"
"""Part of a Visium barcode that is unique within a section, without prefix and suffix."""

MAX_OFFSET = 0.4
"""Maximum distance of measured array positions from whole numbers, up to which they are rounded."""

MAX_SHARED = 0.01
"""Maximum share of duplicate barcodes in one section: none in Visium, a few in nuclei of several lanes."""

COLUMNS = ("barcode", "in_tissue", "array_row", "array_col", "pxl_row_in_fullres", "pxl_col_in_fullres")

_OTHER_NAMES = {
    "barcodes": "barcode",
    "tissue": "in_tissue",
    "row": "array_row",
    "col": "array_col",
    "imagerow": "pxl_row_in_fullres",
    "imagecol": "pxl_col_in_fullres",
}
"""Column names of Seurat's image slots."""

_UNNAMED = ("", "unnamed: 0", "index", "__index_level_0__", "x", "spot", "cell")
"""Names of an index column that was written without a name."""

_N_COMPARED = 10_000
"""Approximate number of spots whose array position is compared with their coordinates."""


class Positions(NamedTuple):
    """Positions of spots from a file."""

    table: pd.DataFrame
    """(n_spots, 5), indexed by barcode: ``in_tissue``, ``array_row``, ``array_col`` (int64), ``pxl_row_in_fullres``
    and ``pxl_col_in_fullres`` (float64, possibly not finite)."""
    notes: list[str]
    """Warnings."""


def read_positions(path: Path) -> Positions:
    """Read positions of spots by column names, or in the order of Space Ranger without a header.

    The first line tells whether there is a header. Column names of Seurat, and ``in_tissue`` as TRUE and FALSE, are
    accepted.

    Parameters
    ----------
    path
        CSV or Parquet file, not gzipped.

    Raises
    ------
    InputError
        The file is damaged or of another format, lacks a column, has a value that is not a number, or has duplicate
        barcodes.
    """
    read = _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    given = ", ".join(map(str, read.columns))
    read.columns = pd.Index(_plain_names(read.columns))
    missing = [column for column in COLUMNS if column not in read]
    if missing:
        raise InputError(f"{path.name}: lacks the column(s) {', '.join(missing)}; it has {given}")
    doubled = read.columns[read.columns.duplicated()].intersection(list(COLUMNS))
    if len(doubled):
        raise InputError(f"{path.name}: has two columns {doubled[0]}; remove one")
    if read.empty:
        raise InputError(f"{path.name}: has no rows")
    barcodes = read["barcode"].astype(str).str.strip()
    duplicated = barcodes.duplicated()
    if duplicated.any():
        raise InputError(
            f"{path.name}: barcode {barcodes[duplicated].iloc[0]!r} comes more than once; keep one row of it"
        )
    columns = {column: _numbers(read[column], barcodes, path.name) for column in COLUMNS[1:]}
    table = pd.DataFrame(columns).set_index(pd.Index(barcodes, name="barcode"))
    swapped = list(read.columns).index(COLUMNS[5]) < list(read.columns).index(COLUMNS[4])
    return _oriented(table, swapped, path.name)


def _numbers(cells: pd.Series[Any], barcodes: pd.Series[str], name: str) -> pd.Series[int] | pd.Series[float]:
    if cells.name == "in_tissue":
        words = cells.astype(str).str.strip().str.lower().replace({"true": "1", "false": "0"})
        numbers, needed = pd.to_numeric(words, errors="coerce").astype(np.float64), "0 or 1, nor FALSE or TRUE"
        bad = ~numbers.isin((0, 1)).to_numpy()
    elif str(cells.name).startswith("array"):
        numbers, needed = pd.to_numeric(cells, errors="coerce").astype(np.float64), "a whole number"
        bad = np.asarray(~np.isfinite(numbers) | (numbers != np.round(numbers)))
    else:
        numbers, needed = pd.to_numeric(cells, errors="coerce").astype(np.float64), "a number"
        bad = (numbers.isna() & _is_word(cells)).to_numpy()
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(
            f"{name}: {cells.name} of barcode {barcodes.iloc[row]!r} (row {row + 1}) is {cells.iloc[row]!r}, not "
            f"{needed}; correct it, or remove the row and its spot"
        )
    return numbers if needed == "a number" else numbers.astype(np.int64)


def _plain_names(names: Iterable[Any]) -> list[str]:
    """Return the column names of Space Ranger; a first column without name is the barcode."""
    plain = [str(name).strip().lower() for name in names]
    renamed = {name: standard for name, standard in _OTHER_NAMES.items() if standard not in plain}
    plain = [renamed.get(name, name) for name in plain]
    if "barcode" not in plain and plain and plain[0] in _UNNAMED:
        plain[0] = "barcode"
    return plain


def _oriented(table: pd.DataFrame, swapped: bool, name: str) -> Positions:
    """Exchange x and y if the array shows that their names are swapped.

    Visium array rows grow downwards and columns to the right at any rotation of the image. Swapped names of x and y, as
    written by scanpy's `read_visium`, mirror the array. In Visium HD both orientations occur, so it is left unchanged.
    """
    sample = table.iloc[:: max(1, len(table) // _N_COMPARED)]
    x, y = sample["pxl_col_in_fullres"].to_numpy(), sample["pxl_row_in_fullres"].to_numpy()
    array = sample[["array_col", "array_row"]].to_numpy(dtype=np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    if finite.sum() < 3 or str(table.index[0]).startswith("s_"):
        return Positions(table, [])
    design = np.column_stack([array, np.ones(len(array))])[finite]
    solution, _, rank, _ = np.linalg.lstsq(design, np.column_stack([x, y])[finite], rcond=None)
    (col_x, col_y), (row_x, row_y) = solution[:2]
    mirrored = col_x * row_y - col_y * row_x < 0
    turned = abs(col_y) > abs(col_x) and abs(row_x) > abs(row_y)
    if rank < 3 or not mirrored or not (swapped or turned):
        return Positions(table, [])
    text = f"{name}: by the array, pxl_row_in_fullres and pxl_col_in_fullres are the mirror image of a section"
    if not swapped:
        return Positions(table, [f"{text}; if spots do not lie on the tissue of the image, exchange these two columns"])
    exchanged = table.rename(columns={COLUMNS[4]: COLUMNS[5], COLUMNS[5]: COLUMNS[4]})[table.columns.tolist()]
    return Positions(exchanged, [f"{text}, because older versions of scanpy swapped their names; exchanged them back"])


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
            line = handle.readline()
        separator = next((s for s in ",\t;" if s in line), ",")
        first = next(csv.reader([line], delimiter=separator, skipinitialspace=True), [])
        headed = not {*COLUMNS}.isdisjoint(_plain_names(first))
        if not headed and len(first) != len(COLUMNS):
            numbered = len(first) == len(COLUMNS) + 1 and _is_number(first[0])
            remedy = (
                f"; the first, {first[0]!r}, looks like the number of a row, remove that column" if numbered else ""
            )
            raise InputError(
                f"{path.name}: {len(first)} column(s) in the first line; positions have {len(COLUMNS)}, separated by "
                f"commas: {', '.join(COLUMNS)}{remedy}"
            )
        return pd.read_csv(
            path,
            sep=separator,
            header=0 if headed else None,
            names=None if headed else list(COLUMNS),
            dtype=str,
            keep_default_na=False,
            encoding="utf-8-sig",
            skipinitialspace=True,
        )
    except (pd.errors.ParserError, pd.errors.EmptyDataError, csv.Error, OSError, UnicodeError) as error:
        raise InputError(f"{path.name}: empty or damaged ({error}); copy it anew") from error


def _repeated(places: NDArray[Any], barcodes: NDArray[Any], what: str) -> tuple[NDArray[np.bool_], str]:
    """Find spots, (n_spots,), at the position of an earlier one, and say so with an example; no text without any."""
    _, index, inverse = np.unique(places, axis=0, return_index=True, return_inverse=True)
    first = index[inverse.ravel()]
    repeated = first != np.arange(len(places))
    if not repeated.any():
        return repeated, ""
    spot = int(np.flatnonzero(repeated)[0])
    return repeated, (
        f"{repeated.sum()} of {len(repeated)} spots have the {what} of another, e.g. {barcodes[spot]!r} those of "
        f"{barcodes[first[spot]]!r}"
    )


def check_array(
    row: NDArray[np.int64], col: NDArray[np.int64], barcodes: NDArray[Any], source: str, max_stacked: float
) -> None:
    """Check that array positions are unique, as in a single section.

    Columns with very few distinct positions (all 0, for example) hold no array and pass.

    Parameters
    ----------
    row, col
        (n_spots,) int64 positions on the array.
    barcodes
        (n_spots,) names of the spots.
    source
        Name of the file, for messages.
    max_stacked
        Maximum share of spots at the position of another.

    Raises
    ------
    InputError
        Too many spots share a position.
    """
    repeated, text = _repeated(np.column_stack([row, col]), barcodes, "array row and column")
    if repeated.mean() > max_stacked and (~repeated).sum() * MAX_JOINED > len(row):
        raise InputError(
            f"{source}: {text}; if these are several sections, give each a row and a file of its own, else remove the "
            "columns"
        )


def check_one_section(names: NDArray[Any], source: str) -> None:
    """Check that Visium barcodes, (n_spots,), are unique without their prefixes and suffixes.

    Raises
    ------
    InputError
        Barcodes come from several sections. The message names the file ``source`` and two spots.
    """
    cores = pd.Series(names, dtype=object).astype(str).str.extract(BARCODE, expand=False)
    if cores.isna().any():
        return
    duplicated = cores.duplicated()
    if duplicated.mean() > MAX_SHARED:
        spot = int(np.flatnonzero(duplicated)[0])
        first = int(np.flatnonzero(cores == cores.iloc[spot])[0])
        raise InputError(
            f"{source}: {duplicated.sum()} of {len(names)} spots have the barcode of another, e.g. {names[spot]!r} "
            f"that of {names[first]!r}, so that these are several sections; give each a row and a file of its own"
        )


def check_coordinates(
    spatial: NDArray[np.float64], barcodes: NDArray[Any], source: str, max_stacked: float
) -> str | None:
    """Check that coordinates are finite and that no more than a few spots share theirs.

    Parameters
    ----------
    spatial
        (n_spots, 2) coordinates x, y.
    barcodes
        (n_spots,) names of the spots.
    source
        Name of the file, for messages.
    max_stacked
        Maximum share of spots with the coordinates of another.

    Returns
    -------
    str or None
        A warning if some spots share coordinates.

    Raises
    ------
    InputError
        A coordinate is not finite, or too many spots share theirs.
    """
    bad = np.logical_not(np.isfinite(spatial).all(axis=1))
    if bad.any():
        raise InputError(
            f"{source}: {bad.sum()} of {len(bad)} spots have no finite coordinates, e.g. {barcodes[bad][0]!r}; "
            "correct or remove them"
        )
    repeated, text = _repeated(spatial, barcodes, "coordinates")
    if text and repeated.mean() > max_stacked:
        raise InputError(f"{source}: {text}; correct them, or give each section a row and a file of its own")
    return f"{source}: {text}" if text else None


def array_obs(obs: pd.DataFrame, spatial: NDArray[np.float64], source: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the in-tissue flag and array positions of the spots, with notes on columns left out.

    Names such as `12x34` give the array positions if the coordinates lie on such a grid.

    Parameters
    ----------
    obs
        (n_spots, …) annotations of the file.
    spatial
        (n_spots, 2) coordinates x, y.
    source
        Name of the file, for messages.

    Raises
    ------
    InputError
        A value is not a whole number, or ``in_tissue`` is neither 0 nor 1.
    """
    # Concatenation with sections of another platform leaves empty columns.
    places = (_keys.IN_TISSUE, _keys.ARRAY_ROW, _keys.ARRAY_COL)
    empty = [column for column in places if column in obs and obs[column].isna().all()]
    notes = []
    if empty:
        named = " and ".join(f"obs[{column!r}]" for column in empty)
        notes.append(f"{named} left out: no spot has a value")
        obs = obs.drop(columns=empty)
    columns: dict[str, Any] = {_keys.IN_TISSUE: _whole(obs, _keys.IN_TISSUE, source, default=1)}
    if {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(obs):
        obs, rounded = _rounded_places(obs)
        notes += [rounded] if rounded else []
        columns[_keys.ARRAY_ROW] = _whole(obs, _keys.ARRAY_ROW, source)
        columns[_keys.ARRAY_COL] = _whole(obs, _keys.ARRAY_COL, source)
    else:
        grid = grid_places(obs.index.astype(str).tolist())
        # Coordinates that are not finite are reported later.
        if grid is not None and np.array_equal(grid, np.round(grid)) and np.isfinite(spatial).all():
            pitch = geometry.measure(spatial).pitch
            if np.isfinite(pitch) and on_grid(grid, spatial, pitch):
                columns[_keys.ARRAY_ROW] = grid[:, 1].astype(np.int64)
                columns[_keys.ARRAY_COL] = grid[:, 0].astype(np.int64)
    return pd.DataFrame(columns, index=obs.index), notes


def _rounded_places(obs: pd.DataFrame) -> tuple[pd.DataFrame, str | None]:
    """Round measured array positions of legacy Spatial Transcriptomics (`12.03`, `33.98`)."""
    names = [_keys.ARRAY_ROW, _keys.ARRAY_COL]
    places = obs[names].astype(object).apply(pd.to_numeric, errors="coerce").to_numpy(dtype=np.float64)
    whole = np.round(places)
    if not np.isfinite(places).all() or np.array_equal(places, whole):
        return obs, None
    if np.abs(places - whole).max() > MAX_OFFSET or len(np.unique(whole, axis=0)) < len(whole):
        return obs, None
    example = " and ".join(f"{value:g}" for value in places[int(np.abs(places - whole).sum(axis=1).argmax())])
    text = f"array_row and array_col are measured places, such as {example}, and were rounded"
    return obs.assign(**dict(zip(names, whole.T, strict=True))), text


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
