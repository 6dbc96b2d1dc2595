"""Search for the files of an instrument other than Visium in its output folder, by file name.

``check`` and ``ingest`` share this search. It reads names and headers only.
"""

from __future__ import annotations

import csv
import gzip
import re
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from mmsrl._errors import InputError
from mmsrl._hdf5 import open_hdf5
from mmsrl._platforms import PLATFORMS
from mmsrl.ingest import archive
from mmsrl.ingest.layout import BinSizeError, parse_bin_size
from mmsrl.ingest.layouts import LAYOUTS, Cells, Layout, Role
from mmsrl.ingest.parts import CELL

MAX_DEPTH = 3
"""Number of folder levels searched. SAW writes its files two levels down."""

THREE_FILES = ("matrix.mtx", "barcodes.tsv", "features.tsv")
"""Files of a matrix in text format, plain or gzipped."""

_SKIPPED = ("__MACOSX",)
_BINARY = (".h5", ".h5ad", ".gef", ".parquet")


class Found(NamedTuple):
    """Files of a section in an instrument's folder."""

    layout: Layout
    platform: str
    """A name of :data:`mmsrl._platforms.PLATFORMS`."""
    files: dict[str, Path]
    """Paths by role."""
    notes: list[str]
    """Choices made."""


_SPACERANGER = ("filtered_feature_bc_matrix*", "raw_feature_bc_matrix*", "binned_outputs", "segmented_outputs")


def find(root: Path, platform: str | None, bin_size: int | str | None = None) -> Found:
    """Find the files of a section in an instrument's folder, by their names.

    Parameters
    ----------
    root
        The folder, or a parent of it.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`. ``None``, or a platform without layout, detects the instrument
        from the file names.
    bin_size
        Bin size in µm, or ``"cell"``. ``None`` accepts both.

    Raises
    ------
    BinSizeError
        There are no bins, or no cells, as requested by ``bin_size``.
    InputError
        The folder belongs to no known instrument, lacks a file, or has files of several sections.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the one that the instrument wrote, or an archive of it")
    paths = _listing(root)
    layout = next((layout for layout in LAYOUTS if platform in layout.platforms), None)
    notes: list[str] = []
    if layout is None:
        layout, mark = _detected(paths, root.name, platform)
        platform = layout.platforms[0]
        notes.append(f"read as {PLATFORMS[platform]}'s, as it has {mark}")
    assert platform is not None, "stated, or detected from the files"
    files = {}
    for name, role in layout.roles.items():
        path = _pick(role, paths, root)
        if path is not None:
            files[name] = path
        elif role.needed:
            raise InputError(_missing(role, layout, platform, paths, root.name))
    if not files:
        raise InputError(_missing(next(iter(layout.roles.values())), layout, platform, paths, root.name))
    found = Found(layout, platform, files, notes)
    _check_bin_size(found, bin_size)
    return found


def look(root: Path, platform: str | None, bin_size: int | str | None = None) -> Found:
    """Find the files of a section as :func:`find` does, and check their columns.

    Raises
    ------
    InputError
        See :func:`find` and :func:`check_headers`.
    """
    found = find(root, platform, bin_size)
    check_headers(found, bin_size)
    return found


def is_packed(path: Path) -> bool:
    """Return whether a file is gzipped and binary, as in GEO. Such files are unpacked before reading."""
    return path.suffix == ".gz" and Path(path.stem).suffix in _BINARY


def unpacked(found: Found, folder: Path) -> Found:
    """Unpack the gzipped HDF5 and Parquet files of a section in ``folder``, and return their new paths.

    Raises
    ------
    InputError
        A file is not gzip, or damaged.
    """
    files = dict(found.files)
    for role, path in found.files.items():
        if is_packed(path):
            files[role] = archive.unpack_gzip(path, folder / path.stem)
    return found._replace(files=files)


def check_headers(found: Found, bin_size: int | str | None) -> None:
    """Check that files have the required columns, except those that need unpacking first.

    Raises
    ------
    InputError
        A file is not in the format of its name, or lacks a column.
    """
    counts = found.files.get("counts")
    if counts is not None and counts.is_dir():
        there = {path.name.removesuffix(".gz").replace("genes.tsv", "features.tsv") for path in counts.iterdir()}
        missing = [name for name in THREE_FILES if name not in there]
        if missing:
            raise InputError(f"{counts.name} has no {' and no '.join(missing)} (nor with .gz); copy the whole folder")
    if found.platform == "stereoseq":
        path, group = chosen_gef(found, bin_size)
        if not is_packed(path):
            with open_hdf5(path, "GEF") as file:
                if group not in file:
                    has = ", ".join(file) or "nothing"
                    raise InputError(f"{path.name}: HDF5, but no {group} in it (only {has}); give the file of SAW")
    columns = found.layout.cells
    if columns is None:
        return
    cells = found.files["cells"]
    if not is_packed(cells):
        header = columns_of(cells)
        find_columns(columns.id, header, cells.name)
        check_place(columns, header, cells.name)
    if columns.counts_id and counts is not None and not is_packed(counts):
        find_columns(columns.counts_id, columns_of(counts), counts.name)


def chosen_gef(found: Found, bin_size: int | str | None) -> tuple[Path, str]:
    """Return the Stereo-seq file to read and its HDF5 group: cells, unless ``bin_size`` requests bins."""
    if "cells" in found.files and bin_size in (None, CELL):
        return found.files["cells"], "cellBin"
    return found.files.get("bins") or found.files["raw"], "geneExp/bin1"


def _check_bin_size(found: Found, bin_size: int | str | None) -> None:
    bin_size = parse_bin_size(bin_size)
    if bin_size is None:
        return
    if found.platform != "stereoseq":
        raise BinSizeError("only Visium HD and Stereo-seq have bins to choose from; leave bin_size empty")
    if bin_size == CELL and "cells" not in found.files:
        raise BinSizeError("no .cellbin.gef, which has the counts of cells; copy it, or leave bin_size empty")
    if bin_size != CELL and not {"bins", "raw"} & found.files.keys():
        raise BinSizeError(f"no .gef of square bins, only {found.files['cells'].name}; give bin_size 'cell'")


def refuse_others(path: Path) -> None:
    """Refuse a folder of another instrument in place of Space Ranger output.

    Raises
    ------
    InputError
        The folder has files of another instrument, and none of Space Ranger.
    """
    if not path.is_dir():
        return
    paths = _listing(path)
    detected = [layout for layout in LAYOUTS if _mark(layout, paths)]
    if detected and not any(_named(name, paths) for name in _SPACERANGER):
        platform = PLATFORMS[detected[0].platforms[0]]
        raise InputError(
            f"{path.name}: this is {platform}'s folder, not Space Ranger's; give it in the column data_dir"
        )


def columns_of(path: Path) -> list[str]:
    """Return the column names of a table in Parquet or CSV format; ``""`` for an unnamed column.

    Raises
    ------
    InputError
        The file is damaged, or a CSV file has only one column.
    """
    if path.suffix == ".parquet":
        import pyarrow
        from pyarrow import parquet

        try:
            return [str(name) for name in parquet.read_schema(path).names]
        except (pyarrow.ArrowException, OSError) as error:
            raise InputError(f"{path.name}: not Parquet, or truncated ({error}); copy it anew") from error
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig", newline="")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig", newline="") as handle
        ):
            csv.field_size_limit(2**24)
            header = [name.strip() for name in next(csv.reader(handle), [])]
    except (OSError, EOFError, zlib.error, UnicodeError, csv.Error) as error:
        raise InputError(f"{path.name}: empty or damaged ({error}); copy it anew") from error
    if len(header) < 2:
        raise InputError(f"{path.name}: {len(header)} column(s) in the first line; columns are separated by commas")
    return header


def find_columns(wanted: Sequence[Sequence[str]], header: Sequence[str], name: str) -> list[str]:
    """Return the first existing column of each tuple of alternatives.

    Raises
    ------
    InputError
        No alternative exists. The message names the file ``name``.
    """
    chosen = [next((column for column in alternatives if column in header), None) for alternatives in wanted]
    missing = [alternatives for alternatives, column in zip(wanted, chosen, strict=True) if column is None]
    if missing:
        expected = " and no column ".join(" or ".join(column for column in names if column) for names in missing)
        raise InputError(
            f"{name}: no column {expected} (it has {_some(header)}); give the file as the instrument wrote it"
        )
    return [column for column in chosen if column is not None]


def check_place(columns: Cells, header: Sequence[str], name: str) -> None:
    """Check that a table of cells has coordinates.

    Raises
    ------
    InputError
        There are no coordinates. The message names the file ``name``.
    """
    if not set(columns.place) <= set(header):
        local = next((column for column in header if "local" in column.lower()), None)
        hint = f"; {local} is relative to the field of view, so that fields would overlap" if local else ""
        expected = f"no columns {' and '.join(columns.place)} (it has {_some(header)})"
        raise InputError(f"{name}: {expected}{hint}; give coordinates on the slide")


def check(path: Path, platform: str | None, bin_size: int | str | None) -> Found | None:
    """Check a folder or archive before the run, and return its files; ``None`` for an archive.

    Raises
    ------
    InputError
        See :func:`look`; or ``path`` is neither a folder nor an archive, or a damaged archive.
    """
    if path.is_dir():
        return look(path, platform, bin_size)
    if not archive.is_archive(path):
        endings = ", ".join(archive.ENDINGS)
        remedy = "give it in the column h5ad" if path.suffix == ".h5ad" else "give the folder that it lies in"
        raise InputError(f"neither a folder nor an archive ({endings}); {remedy}")
    if archive.can_be_listed(path):
        with tempfile.TemporaryDirectory(prefix="mmsrl-check-") as scratch:
            root = Path(scratch, path.name)  # messages show this name
            root.mkdir()
            archive.make_listing(path, root, is_wanted)
            find(root, platform, bin_size)
    return None


def is_wanted(name: str) -> bool:
    """Return whether a path in an archive is that of a file of any instrument."""
    hidden = any(part.startswith((".", *_SKIPPED)) for part in name.split("/"))
    return not hidden and _WANTED.search(name) is not None


def _wanted() -> re.Pattern[str]:
    names = {name for layout in LAYOUTS for role in layout.roles.values() for name in role.names}
    names |= {name for layout in LAYOUTS for marks in layout.marks for name in marks if not name.endswith("*")}
    inside = "|".join(map(re.escape, (*THREE_FILES, "genes.tsv")))
    return re.compile(rf"(^|/)({'|'.join(map(_pattern, sorted(names)))}|cell_feature_matrix/({inside})(\.gz)?)$")


def _listing(root: Path) -> list[Path]:
    """Return files and folders below ``root``, breadth first."""
    found, level = [], [root]
    for _ in range(MAX_DEPTH):
        below = [path for folder in level for path in _entries(folder)]
        below = [path for path in below if not path.name.startswith((".", *_SKIPPED))]
        found += below
        level = [path for path in below if path.is_dir()]
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # skip unreadable folders
        return []


def _pattern(name: str) -> str:
    """Return the regular expression of a file name with an optional prefix and an optional ``.gz``."""
    return r"(?:[^/]+[-_.])?" + re.escape(name).replace(r"\*", "[^/]*") + r"(?:\.gz)?"


def _named(name: str, paths: Iterable[Path]) -> list[Path]:
    pattern = re.compile(_pattern(name))
    return [path for path in paths if pattern.fullmatch(path.name)]


def _mark(layout: Layout, paths: Sequence[Path]) -> str | None:
    """Return the names of the files that identify an instrument; ``None`` if they are missing."""
    for marks in layout.marks:
        found = [_named(mark, paths) for mark in marks]
        if all(found):
            return " and ".join(files[0].name for files in found)
    return None


def _detected(paths: Sequence[Path], name: str, platform: str | None) -> tuple[Layout, str]:
    """Return the layout of the instrument, and the names of the files that identify it."""
    detected = [(layout, mark) for layout in LAYOUTS if (mark := _mark(layout, paths))]
    if len(detected) == 1:
        return detected[0]
    if len(detected) > 1:
        there = " and ".join(f"{PLATFORMS[layout.platforms[0]]} ({mark})" for layout, mark in detected)
        raise InputError(f"{name}: has files of {there}; say in the column platform which to read")
    if any(_named(mark, paths) for mark in _SPACERANGER):
        raise InputError(f"{name}: this is Space Ranger's output; give it in the column spaceranger_dir")
    known = "; ".join(
        f"{PLATFORMS[layout.platforms[0]]} {' or '.join(' with '.join(marks) for marks in layout.marks[:2])}"
        for layout in LAYOUTS
    )
    hint = f" (platform {platform} has none)" if platform else ""
    other = next((path.name for path in paths if path.suffix in (".h5ad", ".zarr")), None)
    if other is not None:
        column = "h5ad" if other.endswith(".h5ad") else "spatialdata"
        hint += f", but {other}, which goes in the column {column} unless it is one of these"
    raise InputError(f"{name}: no files that identify an instrument{hint}; these are: {known}")


def _pick(role: Role, paths: Sequence[Path], root: Path) -> Path | None:
    """Return the file of a role: the first existing name, in the folder nearest to ``root``."""
    paths = [path for path in paths if role.unless is None or not re.search(role.unless, path.name)]
    for name in role.names:
        named = _named(name, paths)
        plain = [path for path in named if path.suffix != ".gz"] or named
        nearest = [path for path in plain if len(path.parents) == min(len(other.parents) for other in plain)]
        if len(nearest) > 1:
            there = " and ".join(str(path.relative_to(root)) for path in nearest[:3])
            raise InputError(
                f"{root.name}: holds {role.what} of several sections ({there}); give each a folder of its own"
            )
        if nearest:
            if nearest[0].is_symlink() and not nearest[0].exists():
                lost = f"{nearest[0].name} is a symbolic link to {nearest[0].readlink()}, which does not exist"
                raise InputError(f"{root.name}: {lost}; copy the file itself")
            return nearest[0]
    return None


def _missing(role: Role, layout: Layout, platform: str, paths: Sequence[Path], name: str) -> str:
    """Describe the missing file and the remedy."""
    for given, remedy in layout.unread:
        found = _named(given, paths)
        if found and role is next(iter(layout.roles.values())):
            return f"{name}: of {PLATFORMS[platform]}'s files has {found[0].name}, which is not read; {remedy}"
    other = next((other for other in LAYOUTS if other is not layout and _mark(other, paths)), None)
    hint = f"; this looks like {PLATFORMS[other.platforms[0]]}, as it has {_mark(other, paths)}" if other else ""
    expected = f"{role.what}: {' or '.join(role.names)} (also gzipped, or with a prefix)"
    return f"{name}: has none of {PLATFORMS[platform]}'s {expected}{hint}; copy it there"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")


_WANTED = _wanted()
