"""Which files the folders of instruments other than Visium have, by the names that vendors give them.

``check`` and ``ingest`` both come here first, so that they cannot disagree. Nothing is read but names and headers.
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

DEEPEST = 3
"""Folders below the one given in which files are looked for; SAW has its own two levels down."""

THREE_FILES = ("matrix.mtx", "barcodes.tsv", "features.tsv")
"""What a matrix in text files consists of, each plain or gzipped."""

_NEVER_LOOKED_INTO = ("__MACOSX",)
_NO_TEXT = (".h5", ".h5ad", ".gef", ".parquet")


class Found(NamedTuple):
    """The files of a section."""

    layout: Layout
    platform: str
    """A name of :data:`mmsrl._platforms.PLATFORMS`."""
    files: dict[str, Path]
    """By role."""
    notes: list[str]


_SPACERANGER = ("filtered_feature_bc_matrix*", "raw_feature_bc_matrix*", "binned_outputs", "segmented_outputs")


def find(root: Path, platform: str | None, bin_size: int | str | None = None) -> Found:
    """Find the files of a section in an instrument's folder, by their names alone.

    Parameters
    ----------
    root
        The folder, or one that has it within.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`; ``None``, or one of none of these instruments: as the names tell.
    bin_size
        Width of a bin in µm, or ``"cell"``; ``None``: not asked for.

    Raises
    ------
    BinSizeError
        There are no bins, or no cells, as ``bin_size`` asks for.
    InputError
        The folder is none of an instrument's, or lacks a file, or has that of several sections.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give the one that the instrument wrote, or an archive of it")
    paths = _listing(root)
    layout = next((layout for layout in LAYOUTS if platform in layout.platforms), None)
    notes: list[str] = []
    if layout is None:
        layout, mark = _told(paths, root.name, platform)
        platform = layout.platforms[0]
        notes.append(f"read as {PLATFORMS[platform]}'s, as it has {mark}")
    assert platform is not None, "stated, or told by the files"
    files = {}
    for role, asked in layout.roles.items():
        path = _pick(asked, paths, root)
        if path is not None:
            files[role] = path
        elif asked.needed:
            raise InputError(_missing(asked, layout, platform, paths, root.name))
    if not files:
        raise InputError(_missing(next(iter(layout.roles.values())), layout, platform, paths, root.name))
    found = Found(layout, platform, files, notes)
    _check_bin_size(found, bin_size)
    return found


def look(root: Path, platform: str | None, bin_size: int | str | None = None) -> Found:
    """Find the files of a section as :func:`find` does, and see that they have the columns that are read.

    Raises
    ------
    InputError
        As for :func:`find`, or a file is not what its name says, or lacks a column.
    """
    found = find(root, platform, bin_size)
    check_headers(found, bin_size)
    return found


def is_packed(path: Path) -> bool:
    """Tell whether a file is gzipped that is no text, as those in GEO are: it is unpacked before it is read."""
    return path.suffix == ".gz" and Path(path.stem).suffix in _NO_TEXT


def unpacked(found: Found, folder: Path) -> Found:
    """Return a section with its gzipped HDF5 and Parquet unpacked in ``folder``.

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
    """See that files have the columns that are read, but for those that are to be unpacked before.

    Raises
    ------
    InputError
        A file is not what its name says, or lacks a column.
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
    """Return the file of Stereo-seq to read, and the group in it: of cells where ``bin_size`` does not ask for bins."""
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
    """Refuse a folder of another instrument where Space Ranger's is asked for.

    Raises
    ------
    InputError
        The folder has files that tell another instrument, and none of Space Ranger's.
    """
    if not path.is_dir():
        return
    paths = _listing(path)
    told = [layout for layout in LAYOUTS if _mark(layout, paths)]
    if told and not any(_named(name, paths) for name in _SPACERANGER):
        platform = PLATFORMS[told[0].platforms[0]]
        raise InputError(
            f"{path.name}: this is {platform}'s folder, not Space Ranger's; give it in the column data_dir"
        )


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns of a table in Parquet or CSV, ``""`` for one without.

    Raises
    ------
    InputError
        The file is damaged, or has one column only.
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
    """Return for each alternative the first column that ``header`` has.

    Raises
    ------
    InputError
        There is none; names the file ``name``.
    """
    chosen = [next((column for column in alternatives if column in header), None) for alternatives in wanted]
    missing = [alternatives for alternatives, column in zip(wanted, chosen, strict=True) if column is None]
    if missing:
        asked = " and no column ".join(" or ".join(column for column in names if column) for names in missing)
        raise InputError(
            f"{name}: no column {asked} (it has {_some(header)}); give the file as the instrument wrote it"
        )
    return [column for column in chosen if column is not None]


def check_place(columns: Cells, header: Sequence[str], name: str) -> None:
    """See that a table of cells has their places.

    Raises
    ------
    InputError
        It has none; names the file ``name``.
    """
    if not set(columns.place) <= set(header):
        local = next((column for column in header if "local" in column.lower()), None)
        more = f"; {local} counts within each field of view, which then lie on one another" if local else ""
        asked = f"no columns {' and '.join(columns.place)} (it has {_some(header)})"
        raise InputError(f"{name}: {asked}{more}; give the places on the slide")


def check(path: Path, platform: str | None, bin_size: int | str | None) -> Found | None:
    """See before the run what :func:`look` would refuse; ``None`` where the files are in an archive.

    Raises
    ------
    InputError
        As for :func:`look`, or ``path`` is neither a folder nor an archive, or a damaged one.
    """
    if path.is_dir():
        return look(path, platform, bin_size)
    if not archive.is_archive(path):
        endings = ", ".join(archive.ENDINGS)
        remedy = "give it in the column h5ad" if path.suffix == ".h5ad" else "give the folder that it lies in"
        raise InputError(f"neither a folder nor an archive ({endings}); {remedy}")
    if archive.can_be_listed(path):
        with tempfile.TemporaryDirectory(prefix="mmsrl-check-") as scratch:
            root = Path(scratch, path.name)  # the name that messages say
            root.mkdir()
            archive.make_listing(path, root, is_wanted)
            find(root, platform, bin_size)
    return None


def is_wanted(name: str) -> bool:
    """Tell whether a path in an archive is that of a file that some instrument's section has."""
    hidden = any(part.startswith((".", *_NEVER_LOOKED_INTO)) for part in name.split("/"))
    return not hidden and _WANTED.search(name) is not None


def _wanted() -> re.Pattern[str]:
    names = {name for layout in LAYOUTS for role in layout.roles.values() for name in role.names}
    names |= {name for layout in LAYOUTS for marks in layout.marks for name in marks if not name.endswith("*")}
    inside = "|".join(map(re.escape, (*THREE_FILES, "genes.tsv")))
    return re.compile(rf"(^|/)({'|'.join(map(_pattern, sorted(names)))}|cell_feature_matrix/({inside})(\.gz)?)$")


def _listing(root: Path) -> list[Path]:
    """Return files and folders below ``root``, the nearest first."""
    found, level = [], [root]
    for _ in range(DEEPEST):
        below = [path for folder in level for path in _entries(folder)]
        below = [path for path in below if not path.name.startswith((".", *_NEVER_LOOKED_INTO))]
        found += below
        level = [path for path in below if path.is_dir()]
    return found


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # a folder that may not be read holds nothing that could be
        return []


def _pattern(name: str) -> str:
    """Return the regular expression of a vendor's file name, with any prefix, gzipped or not."""
    return r"(?:[^/]+[-_.])?" + re.escape(name).replace(r"\*", "[^/]*") + r"(?:\.gz)?"


def _named(name: str, paths: Iterable[Path]) -> list[Path]:
    pattern = re.compile(_pattern(name))
    return [path for path in paths if pattern.fullmatch(path.name)]


def _mark(layout: Layout, paths: Sequence[Path]) -> str | None:
    """Return the names of the files that tell an instrument, where these are there."""
    for marks in layout.marks:
        found = [_named(mark, paths) for mark in marks]
        if all(found):
            return " and ".join(files[0].name for files in found)
    return None


def _told(paths: Sequence[Path], name: str, platform: str | None) -> tuple[Layout, str]:
    told = [(layout, mark) for layout in LAYOUTS if (mark := _mark(layout, paths))]
    if len(told) == 1:
        return told[0]
    if len(told) > 1:
        there = " and ".join(f"{PLATFORMS[layout.platforms[0]]} ({mark})" for layout, mark in told)
        raise InputError(f"{name}: has files of {there}; say in the column platform which to read")
    if any(_named(mark, paths) for mark in _SPACERANGER):
        raise InputError(f"{name}: this is Space Ranger's output; give it in the column spaceranger_dir")
    known = "; ".join(
        f"{PLATFORMS[layout.platforms[0]]} {' or '.join(' with '.join(marks) for marks in layout.marks[:2])}"
        for layout in LAYOUTS
    )
    asked = f" (platform {platform} has none)" if platform else ""
    elsewhere = next((path.name for path in paths if path.suffix in (".h5ad", ".zarr")), None)
    if elsewhere is not None:
        column = "h5ad" if elsewhere.endswith(".h5ad") else "spatialdata"
        asked += f", but {elsewhere}, which goes in the column {column} where it is not one of these"
    raise InputError(f"{name}: no files by which an instrument is told{asked}; these are: {known}")


def _pick(role: Role, paths: Sequence[Path], root: Path) -> Path | None:
    """Return the file of a role: the first of its names, nearest to ``root``."""
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
    """Say which file is missing, and what to do."""
    for given, remedy in layout.unread:
        found = _named(given, paths)
        if found and role is next(iter(layout.roles.values())):
            return f"{name}: of {PLATFORMS[platform]}'s files has {found[0].name}, which is not read; {remedy}"
    told = [other for other in LAYOUTS if other is not layout and _mark(other, paths)]
    more = f"; this looks like {PLATFORMS[told[0].platforms[0]]}, as it has {_mark(told[0], paths)}" if told else ""
    asked = f"{role.what}: {' or '.join(role.names)} (also gzipped, or with a prefix)"
    return f"{name}: has none of {PLATFORMS[platform]}'s {asked}{more}; copy it there"


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")


_WANTED = _wanted()
