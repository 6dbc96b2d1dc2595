"""Location and checks of a section's files before its values are read, shared by ``check`` and ``ingest``."""

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

_MAX_POSITIONS_BYTES = 4 * 2**20
"""Maximum size of a positions file that ``check`` reads: enough for Visium, not for fine bins."""

_NUMBERED = re.compile(r"(?:[ACGT]{16}|s_\d{3}um_\d+_\d+|cellid_\d+)-(\d+)")
_HEADERS = ("barcode", "barcodes", "x", "v1", "0")
"""Headers of a barcode column."""


class Found(NamedTuple):
    """Files of a section, some of them in a temporary folder."""

    section: layout.Section
    notes: list[tuple[str, str]]
    """Level and text of messages."""
    files: list[Path]
    """Input files of the section, including archives."""
    listed: bool
    """Whether files are empty placeholders from listing an archive."""
    scratch: Path
    """The temporary folder."""


class Seen(NamedTuple):
    """Number of spots of a section, with their barcodes if these are cheap to read."""

    number: int
    barcodes: list[str] | None
    """``None`` if there are too many."""


@contextmanager
def located(
    path: Path,
    bin_size: int | str | None,
    scratch: Path | None = None,
    unpack: Callable[[Path, Path], None] = archive.extract,
) -> Iterator[Found | None]:
    """Locate the files of a section in a folder, an archive, or a folder with archives of its parts.

    Parameters
    ----------
    path
        Folder or archive.
    bin_size
        Visium HD bin size in µm, or ``"cell"``. ``None`` requires that there is one only.
    scratch
        Parent of the temporary folder for unpacked archives. ``None`` uses the system's temporary folder.
    unpack
        :func:`archive.extract`, or :func:`archive.make_listing` if file names suffice.

    Yields
    ------
    Found or None
        ``None`` if listing does not suffice: a part lies in a nested or large archive.

    Raises
    ------
    InputError
        There is no section, or more than one, or an archive is damaged or unsafe.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as temporary:
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
                raise InputError(f"{path.name}: not a supported archive (names end with {endings}); {remedy}")
            root, packed = Path(temporary, "whole"), [path]
            unpack(path, root)
        inner = layout.inner_archives(root, bin_size, path.name)
        listing = unpack is archive.make_listing
        start = root
        if inner is not None:
            start, inside = inner
            if listing and (packed or not all(map(archive.can_be_listed, inside))):
                yield None
                return
            root = _joined(start, inside, Path(temporary), unpack)
            packed = packed or inside
        section, notes = layout.find_section(root, bin_size, path.name)
        others = three_files(section.matrix)[1:] if is_text(section.matrix) else ()
        given = [start / os.path.relpath(part, root) for part in (*section.parts(), *others)]
        files = [part for part in given if part.exists() and not part.is_relative_to(temporary)]
        yield Found(section, notes, [*packed, *files], listing and bool(packed), Path(temporary))


def check(path: Path, bin_size: int | str | None, at_most: int) -> Seen | None:
    """Check a section before the run, as far as this is cheap, with the code of ``ingest``.

    Parameters
    ----------
    path, bin_size
        See :func:`located`.
    at_most
        Maximum number of spots whose barcodes are read.

    Returns
    -------
    Seen or None
        Number and barcodes of the spots; ``None`` if they are in an archive.

    Raises
    ------
    InputError
        ``ingest`` would refuse the section.
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
            from mmsrl.ingest.matrix import check_names  # slow to import

            check_names(np.array(seen.barcodes, dtype=object), _called(section.matrix))
        if section.scalefactors is not None:
            layout.read_scalefactors(plain(section.scalefactors, found))
        if section.images:
            from mmsrl.ingest import images  # slow to import

            images.read_images({size: plain(image, found) for size, image in section.images.items()})
        if section.outlines is not None:
            refuse_without_geopandas(section.outlines.name)
        places = section.positions
        if seen.barcodes and places is not None and places.stat().st_size <= _MAX_POSITIONS_BYTES:
            from mmsrl.ingest import places as reader  # slow to import

            reader.read_places(plain(places, found), seen.barcodes, section)
        return seen


def _called(matrix: Path) -> str:
    """Return the name of a matrix in messages; for three text files, the name of their folder."""
    return matrix.parent.name if is_text(matrix) else matrix.name


def is_text(matrix: Path) -> bool:
    """Return whether a matrix is stored as three text files instead of HDF5."""
    return "matrix.mtx" in matrix.name.lower()


def plain(path: Path, found: Found) -> Path:
    """Return the path of a file, decompressed into the temporary folder if it is gzipped.

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
    """Refuse barcodes of several sections joined by `spaceranger aggr`.

    Raises
    ------
    InputError
        Barcodes end with different numbers (`-1`, `-2` and so on).
    """
    numbers = {match.group(1) for barcode in barcodes if (match := _NUMBERED.fullmatch(barcode))}
    if len(numbers) > 1:
        listed = ", ".join(f"-{number}" for number in sorted(numbers, key=int)[:4])
        raise InputError(
            f"{name}: its barcodes end with {listed}, so it is {len(numbers)} sections in one, as `spaceranger aggr` "
            "makes them; give each section a row, with the `outs` of its own `spaceranger count`, and one group"
        )


def refuse_without_geopandas(name: str) -> None:
    """Refuse cell polygons if the package geopandas is not installed.

    Raises
    ------
    InputError
        geopandas is not installed. The message names the file ``name``.
    """
    if importlib.util.find_spec("geopandas") is None:
        raise InputError(
            f"{name}: reading segmented cells needs the package geopandas, which is not installed; "
            "run pip install 'mmsrl[spatialdata]'"
        )


def refuse_header(barcodes: Sequence[str], name: str) -> None:
    """Refuse barcodes from a text file with a header.

    Raises
    ------
    InputError
        The first barcode is a header. The message names the file ``name``.
    """
    if len(barcodes) and str(barcodes[0]).lower() in _HEADERS:
        raise InputError(f"{name}: its first line, {barcodes[0]!r}, is no barcode but a header; remove that line")


def unquoted(names: list[str]) -> list[str]:
    """Return names without the quotes that `write.table` of R adds to all names."""
    quoted = bool(names) and all(len(name) > 1 and name[0] == name[-1] == '"' for name in names)
    return [name[1:-1] for name in names] if quoted else names


def three_files(path: Path) -> tuple[Path, Path, Path]:
    """Return the paths of matrix, barcodes and features of a matrix in three text files, plain or gzipped.

    Parameters
    ----------
    path
        Folder of the three files, or path of the matrix. The prefix of its name applies to the other two.

    Raises
    ------
    InputError
        A file is missing.
    """
    folder, before = (path, "") if path.is_dir() else (path.parent, path.name[: path.name.lower().rfind("matrix.mtx")])
    found = []
    for names in (("matrix.mtx",), ("barcodes.tsv",), ("features.tsv", "genes.tsv")):
        candidates = [folder / f"{before}{name}{suffix}" for name in names for suffix in (".gz", "")]
        existing = next((candidate for candidate in candidates if candidate.is_file()), None)
        if existing is None:
            expected = " or ".join(f"{before}{name}" for name in names)
            raise InputError(f"{folder.name}: has no {expected} (plain or .gz); copy the whole folder")
        found.append(existing)
    return found[0], found[1], found[2]


def _joined(folder: Path, packed: list[Path], scratch: Path, unpack: Callable[[Path, Path], None]) -> Path:
    """Return a folder in ``scratch`` with links to the files of ``folder`` and the content of its archives."""
    target = Path(scratch, "joined")
    target.mkdir()
    for path in folder.iterdir():
        if path not in packed:
            (target / path.name).symlink_to(os.path.abspath(path))
    for number, path in enumerate(packed):
        inside = Path(scratch, f"inside_{number}")
        unpack(path, inside)
        found = parts.entries(inside)
        while len(found) == 1 and found[0].is_dir() and not parts.is_part(found[0]):
            found = parts.entries(found[0])
        for part in found:
            if not (target / part.name).exists():
                part.rename(target / part.name)
    return target


def spots_of_h5(path: Path, at_most: int) -> Seen:
    """Return the spots of a 10x matrix in HDF5 (version 3: group `matrix`, version 2: one group a genome)."""
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
    # As in the reader with pandas: skip empty lines, and take the first column.
    barcodes = unquoted([line.split("\t")[0] for line in content.decode("utf-8", "replace").splitlines() if line])
    refuse_header(barcodes, path.name)
    refuse_aggregated(barcodes, path.name)
    return Seen(len(barcodes), barcodes)
