"""Reader of instruments with a table of counts and a table of cells, joined by cell name.

spatialdata-io reads the same tables, but as dense matrices, and only from complete folders (with `cells.zarr.zip` of
Xenium, images and labels of CosMx, the mosaic of MERSCOPE or DAPI of seqFISH). Public downloads are rarely complete.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
from numpy.typing import NDArray
from pyarrow import csv, parquet
from scipy import sparse

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.ingest.cleaning import GENE_EXPRESSION
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.h5ad import MAX_STACKED
from mmsrl.ingest.instruments import Found, columns_of, find_columns
from mmsrl.ingest.layouts import UNNAMED, Cells
from mmsrl.ingest.matrix import Counts, checked, read_10x_h5, read_10x_mtx
from mmsrl.ingest.outlines import areas_of, joined_names, read_outlines
from mmsrl.ingest.units import cosmx_pixel

VALUES_AT_ONCE, BYTES_AT_ONCE = 2**24, 2**25
"""Numbers of values (Parquet) and bytes of text (CSV) read at a time as dense data."""

_TEXT = ("fov", "cell_ID", "cell", "cell_id", "cellID", "slide_ID", "slide_ID_numeric", "Run_Tissue_name")
"""Columns of tables of counts that are not genes."""

_Z_COLUMNS = ("z_centroid", "center_z", "CenterZ", "z")


def read_cell_table(found: Found) -> tuple[Content, list[Path]]:
    """Read a section from a table of counts and a table of cells.

    Parameters
    ----------
    found
        Files of the section, from :func:`mmsrl.ingest.instruments.find`.

    Returns
    -------
    content
        The cells in both tables.
    files
        Files that were read.

    Raises
    ------
    InputError
        A file is damaged, lacks a column, or shares no cell with the other.
    """
    columns = found.layout.cells
    assert columns is not None, "a layout of two tables"
    path, counts_path = found.files["cells"], found.files["counts"]
    cells = _cells(path, columns)
    x, y = columns.place
    spatial = np.column_stack([_numbers(cells[column], path.name) for column in columns.place])
    counts, files = _counts(counts_path, columns)

    notes = [info(text) for text in found.notes]
    counts, cells, spatial = _cells_of_both(counts, cells, spatial, found, notes)
    um_per_px, um_source = columns.um_per_px, f"{x} and {y} of {path.name} are in µm"
    if um_per_px is None:
        um_per_px, um_source = cosmx_pixel(cells)
    z_columns = [column for column in _Z_COLUMNS if column in cells]
    if z_columns:
        notes.append(info(f"{z_columns[0]} of {path.name} is left out: a section is taken as flat"))
    outlines = None
    if "outlines" in found.files:
        outlines, note = read_outlines(found.files["outlines"], columns, counts.barcodes)
        notes.append(note)
        files.append(found.files["outlines"])
    area = _areas(cells, columns, um_per_px)
    if area is None and outlines is not None:
        area = areas_of(outlines)
    counts = counts._replace(barcodes=_names(cells, counts.barcodes, columns))
    content = Content(
        counts=checked(counts, counts_path.name),
        obs=pd.DataFrame({_keys.IN_TISSUE: np.ones(len(cells), dtype=np.int64)}),
        spatial=spatial,
        pictures={},
        scalefactors={},
        source=path.name,
        notes=notes,
        platform=found.platform,
        um_per_px=um_per_px,
        um_per_px_from=um_source,
        max_stacked=MAX_STACKED,
        area=area,
        outlines=outlines,
    )
    return content, [*files, path]


def _cells_of_both(
    counts: Counts, cells: pd.DataFrame, spatial: NDArray[np.float64], found: Found, notes: list[dict[str, str]]
) -> tuple[Counts, pd.DataFrame, NDArray[np.float64]]:
    """Return counts, rows and coordinates, (n_cells, 2), of the cells in both tables; add notes on the others."""
    columns, path, counts_path = found.layout.cells, found.files["cells"], found.files["counts"]
    assert columns is not None, "a layout of two tables"
    x, y = columns.place
    placed: NDArray[np.bool_] = np.all(np.isfinite(spatial), axis=1)
    if not placed.all():
        text = f"{(~placed).sum()} of {len(placed)} cells of {path.name} have no {x} or {y} and are left out"
        notes.append(warning(f"{text}, e.g. {cells.index[~placed][0]!r}"))
    background = _background(counts.barcodes, columns)
    if background.any():
        notes.append(info(f"{background.sum()} rows of {counts_path.name} are the background (cell 0), left out"))
        counts = Counts(counts.matrix[~background], counts.barcodes[~background], counts.features)
    count_rows, cell_rows = _joined(counts.barcodes, cells.index[placed], counts_path.name, path.name, notes)
    counts = Counts(counts.matrix[count_rows], counts.barcodes[count_rows], counts.features)
    return counts, cells[placed].iloc[cell_rows], spatial[placed][cell_rows]


def _cells(path: Path, columns: Cells) -> pd.DataFrame:
    """Return the table of cells, indexed by cell name."""
    header = columns_of(path)
    named = find_columns(columns.id, header, path.name)
    try:
        if path.suffix == ".parquet":
            table: pd.DataFrame = parquet.read_table(path).to_pandas(ignore_metadata=True)
        else:
            # Read names as text, because numbers lose digits of names with 18 digits.
            text = dict.fromkeys((header.index(name) for name in named), str)
            table = pd.read_csv(path, header=0, names=range(len(header)), index_col=False, dtype=text)
            table.columns = pd.Index(header)
    except (pd.errors.ParserError, OSError, EOFError, zlib.error, ValueError, pyarrow.ArrowException) as error:
        raise InputError(f"{path.name}: damaged ({_line(error)}); copy it anew") from error
    table.index = pd.Index(joined_names(table, named))
    duplicated = table.index.duplicated()
    if duplicated.any():
        example = table.index[duplicated][0]
        raise InputError(
            f"{path.name}: {duplicated.sum()} cells come more than once, e.g. {example!r}; give one section"
        )
    return table


def _counts(path: Path, columns: Cells) -> tuple[Counts, list[Path]]:
    if not columns.counts_id:
        return read_10x_mtx(path) if path.is_dir() else (read_10x_h5(path), [path])
    header = columns_of(path)
    named = find_columns(columns.counts_id, header, path.name)
    others = (*named, *_TEXT, *UNNAMED)
    is_gene = np.array([name not in others for name in header])
    if not is_gene.any():
        raise InputError(f"{path.name}: no columns of genes, only {', '.join(header[:5])}")
    parts, names = [], []
    for batch in _batches(path, header, named):
        genes = [batch.column(int(k)).to_numpy(zero_copy_only=False) for k in np.flatnonzero(is_gene)]
        as_text = [name for name, value in zip(np.array(header)[is_gene], genes, strict=True) if value.dtype == object]
        if as_text:
            raise InputError(f"{path.name}: column {as_text[0]} holds text instead of counts; remove it")
        parts.append(sparse.csr_matrix(np.column_stack(genes), dtype=np.float32))
        ids = (
            batch.select([header.index(name) for name in named]).to_pandas(ignore_metadata=True).set_axis(named, axis=1)
        )
        names.append(joined_names(ids, named))
    if not parts:
        raise InputError(f"{path.name}: no rows below the names of the columns")
    symbols = pd.Series(header)[is_gene].reset_index(drop=True)
    control = symbols.str.match(columns.controls) if columns.controls else pd.Series(False, index=symbols.index)
    features = pd.DataFrame(
        {
            "symbol": symbols,
            "gene_ids": symbols,
            "feature_types": np.where(control, "Negative Control", GENE_EXPRESSION),
            "genome": "",
        }
    )
    return Counts(sparse.vstack(parts, format="csr"), np.concatenate(names), features), [path]


def _batches(path: Path, header: Sequence[str], named: Sequence[str]) -> Iterator[pyarrow.RecordBatch]:
    """Yield the rows of a table of counts in order. In CSV, columns ``named`` are text and genes are numbers."""
    try:
        if path.suffix == ".parquet":
            yield from parquet.ParquetFile(path).iter_batches(batch_size=max(1, VALUES_AT_ONCE // len(header)))
            return
        columns = [str(k) for k in range(len(header))]  # gene names may be duplicated
        read = csv.ReadOptions(column_names=columns, skip_rows=1, use_threads=False, block_size=BYTES_AT_ONCE)
        kinds = {str(k): pyarrow.string() if name in _TEXT else pyarrow.float32() for k, name in enumerate(header)}
        kinds |= {str(header.index(name)): pyarrow.string() for name in named}
        with csv.open_csv(path, read, convert_options=csv.ConvertOptions(column_types=kinds)) as batches:
            yield from batches
    except (pyarrow.ArrowException, OSError, EOFError, ValueError) as error:
        # pyarrow counts columns from 0, and rows from 1 including the header.
        place = re.search(r"CSV column #(\d+): (?:Row #(\d+): )?.*invalid value '(.*?)'", str(error))
        if place is None:
            raise InputError(f"{path.name}: damaged ({_line(error)}); copy it anew") from error
        row = f"row {place[2]}, " if place[2] else ""
        text = f"{row}column {header[int(place[1])]}: {place[3]!r} is not a count; correct it"
        raise InputError(f"{path.name}: {text}") from error


def _background(names: NDArray[np.object_], columns: Cells) -> NDArray[np.bool_]:
    """Return a mask of the rows, (n,) bool, without cell: CosMx counts molecules outside cells as cell 0."""
    if columns.counts_id and "cell_ID" in columns.counts_id[-1]:
        return np.array([name.endswith("_0") for name in names], dtype=bool)
    return np.zeros(len(names), dtype=bool)


def _joined(
    counted: NDArray[np.object_], placed: pd.Index[str], counts_name: str, cells_name: str, notes: list[dict[str, str]]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of the shared cells in the counts and in the cells; add notes on the others."""
    rows = placed.get_indexer(pd.Index(counted))
    if not (rows >= 0).any():
        raise InputError(
            f"{counts_name} and {cells_name} have no cell in common (e.g. {counted[0]!r} and {placed[0]!r}); "
            "are both of the same section?"
        )
    missing = rows < 0
    if missing.any():
        text = f"{missing.sum()} of {len(counted)} cells of {counts_name} are not in {cells_name}"
        notes.append(warning(f"{text} and are left out, e.g. {counted[missing][0]!r}"))
    uncounted = len(placed) - len(np.unique(rows[~missing]))
    if uncounted:
        notes.append(info(f"{uncounted} cells of {cells_name} are not in {counts_name} and are left out"))
    return np.flatnonzero(~missing), rows[~missing]


def _areas(cells: pd.DataFrame, columns: Cells, um_per_px: float) -> NDArray[np.float64] | None:
    """Return the cell areas in squared coordinate units; ``None`` if the table has none."""
    for column, unit in ((columns.area_px, 1.0), (columns.area_um2, um_per_px)):
        if column in cells:
            return pd.to_numeric(cells[column], errors="coerce").to_numpy(dtype=np.float64) / unit**2
    return None


def _names(cells: pd.DataFrame, joined: NDArray[np.object_], columns: Cells) -> NDArray[np.object_]:
    """Return the vendor's names of the cells if there are any, else the names of the join."""
    if columns.name in cells and cells[columns.name].notna().all() and cells[columns.name].is_unique:
        return cells[columns.name].astype(str).to_numpy(dtype=object)
    return joined


def _numbers(values: pd.Series[float], name: str) -> NDArray[np.float64]:
    numbers = pd.to_numeric(values, errors="coerce")
    bad = numbers.isna() & values.notna()
    if bad.any():
        cell = values.index[bad][0]
        raise InputError(f"{name}: {values.name} of cell {cell} is {values[bad].iloc[0]!r}, not a number; correct it")
    return numbers.to_numpy(dtype=np.float64)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
