"""What a section is, before its numbers are read: one way for the check before the run and for ingest."""

from __future__ import annotations

import gzip
import importlib.util
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import h5py
import numpy as np

from mmsrl._errors import InputError
from mmsrl._hdf5 import open_hdf5
from mmsrl.ingest import archive, layout, parts

_POSITIONS_AT_MOST = 4 * 2**20
"""Bytes of a table of positions up to which the check before the run reads it: Visium's, not fine bins'."""

_NUMBERED = re.compile(r"(?:[ACGT]{16}|s_\d{3}um_\d+_\d+|cellid_\d+)-(\d+)")
_HEADERS = ("barcode", "barcodes", "x", "v1", "0")
"""What programs write above a column of barcodes."""


class Found(NamedTuple):
    """A section's files, some of which may lie in a folder that is removed again."""

    section: layout.Section
    notes: list[tuple[str, str]]
    """Level and text of messages."""
    files: list[Path]
    """What the user gave of it: files, and archives of the others."""
    listed: bool
    """Whether files are empty, as an archive was only looked into."""
    scratch: Path
    """The folder that is removed again."""


class Seen(NamedTuple):
    """Spots of a section, as far as they are cheap to know."""

    number: int
    barcodes: list[str] | None
    """``None`` where there are too many."""


@contextmanager
def located(
    path: Path,
    bin_size: int | str | None,
    scratch: Path | None = None,
    unpack: Callable[[Path, Path], None] = archive.extract,
) -> Iterator[Found | None]:
    """Find a section in a folder or an archive, or in a folder with archives of its parts.

    Parameters
    ----------
    path
        Folder or archive.
    bin_size
        Visium HD bin in µm, or ``"cell"``; ``None`` takes the only one.
    scratch
        Where to unpack, in a folder that is removed again; ``None`` takes the system's.
    unpack
        :func:`archive.extract`, or :func:`archive.make_listing` where names do; ``None`` is yielded then where a part
        is in an archive within an archive, or in a large one.

    Raises
    ------
    InputError
        There is no section, or more than one, or an archive is damaged or unsafe.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as made:
        root, packed = path, []
        if not path.is_dir():
            if not path.is_file():
                raise InputError(f"{path}: no such file or folder; give Space Ranger's `outs`, or an archive of it")
            if not archive.is_archive(path):
                endings = ", ".join(archive.ENDINGS)
                remedy = "unpack it, or pack it anew"
                if parts.is_wanted(path.name):
                    remedy = f"give its folder, {path.parent}"
                elif path.suffix == ".h5ad":
                    remedy = "give it in the column h5ad"
                raise InputError(f"{path.name}: no archive that can be read, whose names end with {endings}; {remedy}")
            root, packed = Path(made, "whole"), [path]
            unpack(path, root)
        inner = layout.inner_archives(root, bin_size, path.name)
        listing = unpack is archive.make_listing
        start = root
        if inner is not None:
            start, inside = inner
            if listing and (packed or not all(map(archive.can_be_listed, inside))):
                yield None
                return
            root = _joined(start, inside, Path(made), unpack)
            packed = packed or inside
        section, notes = layout.find_section(root, bin_size, path.name)
        others = three_files(section.matrix)[1:] if is_text(section.matrix) else ()
        given = [start / os.path.relpath(part, root) for part in (*section.parts(), *others)]
        files = [part for part in given if part.exists() and not part.is_relative_to(made)]
        yield Found(section, notes, [*packed, *files], listing and bool(packed), Path(made))


def check(path: Path, bin_size: int | str | None, at_most: int) -> Seen | None:
    """Check a section before the run by all that is cheap to see of it, with the code that ingest reads it by.

    Parameters
    ----------
    path, bin_size
        As for :func:`located`.
    at_most
        Number of spots above which barcodes are not read.

    Returns
    -------
    ``None`` where the spots are in an archive.

    Raises
    ------
    InputError
        Ingest would refuse the section.
    """
    if path.is_file() and archive.is_archive(path) and not archive.can_be_listed(path):
        return None
    with located(path, bin_size, unpack=archive.make_listing) as found:
        if found is None or found.listed:
            return None
        section = found.section
        if is_text(section.matrix):
            seen = _of_text(section.matrix)
        else:
            seen = spots_of_h5(plain(section.matrix, found), at_most)
        if seen.barcodes:
            from mmsrl.ingest.matrix import check_names  # here, as it starts slowly

            check_names(np.array(seen.barcodes, dtype=object), _called(section.matrix))
        if section.scalefactors is not None:
            layout.read_scalefactors(plain(section.scalefactors, found))
        if section.images:
            from mmsrl.ingest import images  # here, as it starts slowly

            images.read_images({size: plain(image, found) for size, image in section.images.items()})
        if section.outlines is not None:
            refuse_without_geopandas(section.outlines.name)
        places = section.positions
        if seen.barcodes and places is not None and places.stat().st_size <= _POSITIONS_AT_MOST:
            from mmsrl.ingest import places as reader  # here, as it starts slowly

            reader.read_places(plain(places, found), seen.barcodes, section)
        return seen


def _called(matrix: Path) -> str:
    """Return what messages call a matrix: of three text files their folder."""
    return matrix.parent.name if is_text(matrix) else matrix.name


def is_text(matrix: Path) -> bool:
    """Tell whether a matrix is one of three text files rather than HDF5."""
    return "matrix.mtx" in matrix.name.lower()


def plain(path: Path, found: Found) -> Path:
    """Return a file as it is, or what is in it where it is gzipped.

    Raises
    ------
    InputError
        The file is damaged.
    """
    if path.suffix.lower() != ".gz":
        return path
    target = found.scratch / "plain" / path.parent.name / path.stem
    target.parent.mkdir(parents=True, exist_ok=True)
    return archive.unpack_gzip(path, target)


def refuse_aggregated(barcodes: list[str], name: str) -> None:
    """Refuse barcodes that end with numbers of several sections, as `spaceranger aggr` makes them.

    Raises
    ------
    InputError
        Barcodes end with `-1`, `-2` and so on.
    """
    numbers = {match.group(1) for barcode in barcodes if (match := _NUMBERED.fullmatch(barcode))}
    if len(numbers) > 1:
        listed = ", ".join(f"-{number}" for number in sorted(numbers, key=int)[:4])
        raise InputError(
            f"{name}: its barcodes end with {listed}, so it is {len(numbers)} sections in one, as `spaceranger aggr` "
            "makes them; give each section a row, with the `outs` of its own `spaceranger count`, and one group"
        )


def refuse_without_geopandas(name: str) -> None:
    """Refuse polygons of cells where the package that reads them is not installed.

    Raises
    ------
    InputError
        So it is; names the file ``name``.
    """
    if importlib.util.find_spec("geopandas") is None:
        raise InputError(
            f"{name}: to read segmented cells the package geopandas is needed, which is not installed here; "
            "say pip install 'mmsrl[spatialdata]'"
        )


def refuse_header(barcodes: Sequence[str], name: str) -> None:
    """Refuse barcodes of a text file whose first line is a header.

    Raises
    ------
    InputError
        It is one.
    """
    if len(barcodes) and str(barcodes[0]).lower() in _HEADERS:
        raise InputError(f"{name}: its first line, {barcodes[0]!r}, is no barcode but a header; remove that line")


def unquoted(names: list[str]) -> list[str]:
    """Return names without the quotes that R's `write.table` puts around all of them."""
    quoted = bool(names) and all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    return [name[1:-1] for name in names] if quoted else names


def three_files(path: Path) -> tuple[Path, Path, Path]:
    """Return matrix, barcodes and features of a matrix in three text files, each plain or gzipped.

    Parameters
    ----------
    path
        Folder of the three, or the path of the matrix, whose name the others' begin like.

    Raises
    ------
    InputError
        One is missing.
    """
    folder, before = (path, "") if path.is_dir() else (path.parent, path.name[: path.name.lower().rfind("matrix.mtx")])
    found = []
    for names in (("matrix.mtx",), ("barcodes.tsv",), ("features.tsv", "genes.tsv")):
        ways = [folder / f"{before}{name}{packed}" for name in names for packed in (".gz", "")]
        there = next((way for way in ways if way.is_file()), None)
        if there is None:
            named = " or ".join(f"{before}{name}" for name in names)
            raise InputError(f"{folder.name}: has no {named} (plain or .gz); copy the whole folder")
        found.append(there)
    return found[0], found[1], found[2]


def _joined(folder: Path, packed: list[Path], made: Path, unpack: Callable[[Path, Path], None]) -> Path:
    """Return a folder in ``made`` with links to what lies in ``folder`` and what its archives hold."""
    target = Path(made, "joined")
    target.mkdir()
    for path in folder.iterdir():
        if path not in packed:
            (target / path.name).symlink_to(os.path.abspath(path))
    for number, path in enumerate(packed):
        inside = Path(made, f"inside_{number}")
        unpack(path, inside)
        found = parts.entries(inside)
        while len(found) == 1 and found[0].is_dir() and not parts.is_part(found[0]):
            found = parts.entries(found[0])
        for part in found:
            if not (target / part.name).exists():
                part.rename(target / part.name)
    return target


def spots_of_h5(path: Path, at_most: int) -> Seen:
    """Return the spots of a 10x matrix in HDF5 (version 3: group `matrix`; 2: a group for each genome)."""
    if not h5py.is_hdf5(path):
        raise InputError(f"{path.name} is not HDF5, whatever its name says; give the right file")
    with open_hdf5(path, "10x feature-barcode matrix") as file:
        for group in file.values():
            if isinstance(group, h5py.Group) and "barcodes" in group:
                names = group["barcodes"]
                few = len(names) <= at_most
                read = names[:] if few else [names[0], names[len(names) - 1]]
                barcodes = [name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in read]
                refuse_aggregated(barcodes, path.name)
                return Seen(len(names), barcodes if few else None)
        raise InputError(f"{path.name} is HDF5, but not a feature-barcode matrix of 10x: no barcodes in it")


def _of_text(matrix: Path) -> Seen:
    path = three_files(matrix)[1]
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path.name} is damaged ({error}); copy it anew") from error
    # As pandas reads them: names of lines, of which the first column is the barcode.
    barcodes = unquoted([line.split("\t")[0] for line in content.decode("utf-8", "replace").splitlines() if line])
    refuse_header(barcodes, path.name)
    refuse_aggregated(barcodes, path.name)
    return Seen(len(barcodes), barcodes)
