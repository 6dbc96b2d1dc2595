"""Checks of the files of a samplesheet row that need no computation."""

from __future__ import annotations

import difflib
import errno
import glob
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from mmsrl._alignment import read_alignment
from mmsrl._errors import InputError
from mmsrl._pictures import check_header
from mmsrl.check.problems import Problem, shown
from mmsrl.check.rows import Section
from mmsrl.check.truth import check_truth
from mmsrl.ingest import instruments, look
from mmsrl.ingest.layout import BinSizeError

PATH_COLUMNS = ("spaceranger_dir", "data_dir", "h5ad", "spatialdata", "image", "alignment", "truth")
"""Columns of the samplesheet that hold paths."""

FOLDER_COLUMNS = ("spaceranger_dir", "data_dir", "spatialdata")
"""Columns whose path may be a folder."""

_MAX_COMPARED_SPOTS = 250_000
"""Maximum number of spots whose barcodes are compared with the truth; fine Visium HD bins exceed it."""

_UNQUOTED = {"$": "dollar sign", "\t": "tab", "\n": "line break"}
_BRACES = re.compile(r"\{[^{}]*(,|\.\.)[^{}]*\}")


class _Spots:
    """Number of spots of a section, with their barcodes if these are cheap to read."""

    def __init__(self, number: int, barcodes: Iterable[bytes | str] | None) -> None:
        self.number = number
        self.barcodes: set[str] | None = None
        if barcodes is not None:
            self.barcodes = {b.decode("utf-8", "replace") if isinstance(b, bytes) else str(b) for b in barcodes}


def absolute(path: str, folder: Path) -> str:
    """Return the absolute path, resolved from ``folder``. URIs (``s3://…``) are returned unchanged."""
    return path if is_remote(path) else os.path.abspath(folder / path)


def is_remote(path: str) -> bool:
    """Return whether ``path`` is a URI, such as ``s3://bucket/key``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def check_files(
    section: Section, folder: Path, wrong: Collection[str] = (), unread: Collection[str] = ()
) -> Iterator[Problem]:
    """Yield the problems of the files of one row.

    Parameters
    ----------
    section
        Validated row of the samplesheet.
    folder
        Folder of the samplesheet, from which relative paths are resolved.
    wrong
        Columns with invalid values. Folders are not searched if the platform or the bin size is invalid.
    unread
        Columns whose files the run does not read.

    Yields
    ------
    Problem
        One problem for each file, and one for more domains than spots.
    """
    problems: list[Problem] = []

    def attempt(column: str, check: Callable[[Path], Any]) -> Any:
        """Run a check on the file in ``column``, if the row has a local one; return its result."""
        if column not in section or column in unread or is_remote(section[column]):
            return None
        if column in FOLDER_COLUMNS and not {"bin_size", "platform"}.isdisjoint(wrong):
            return None
        path = Path(absolute(section[column], folder))
        try:
            _quotable(path)
            _readable(path, folder_allowed=column in FOLDER_COLUMNS)
            return check(path)
        except BinSizeError as error:
            problems.append(Problem(section["row"], str(error), column="bin_size", value=str(section["bin_size"])))
        except InputError as error:
            problems.append(Problem(section["row"], str(error), column=column, value=section[column]))
        except OSError as error:
            text = f"cannot be read ({error.strerror}: {error.filename}); ask its owner, or copy it"
            problems.append(Problem(section["row"], text, column=column, value=section[column]))
        return None

    spots: _Spots | None = attempt("spaceranger_dir", lambda path: _spaceranger(path, section.get("bin_size")))
    spots = attempt("data_dir", lambda path: _data_dir(path, section.get("platform"), section.get("bin_size"))) or spots
    spots = attempt("h5ad", _h5ad) or spots
    spots = (
        attempt("spatialdata", lambda path: _spatialdata(path, section.get("sample", ""), section.get("bin_size")))
        or spots
    )
    attempt("image", check_header)
    attempt("alignment", read_alignment)
    attempt("truth", lambda path: check_truth(path, spots.barcodes if spots else None))
    yield from problems
    if spots and section.get("n_domains", 0) > spots.number:
        text = f"the section has only {spots.number} spots; give a smaller number"
        yield Problem(section["row"], text, column="n_domains", value=str(section["n_domains"]))


def _quotable(path: Path) -> None:
    """Refuse a path with shell syntax that Nextflow (24.10) does not quote when it stages files."""
    text = str(path)
    syntax = next((f"a {name}" for sign, name in _UNQUOTED.items() if sign in text), None)
    if _BRACES.search(text):
        syntax = "alternatives in braces"
    elif syntax is None and glob.has_magic(text) and glob.glob(text) not in ([], [text]):
        syntax = "a pattern (*, ? or [ ]) that other files match too"
    if syntax is not None:
        raise InputError(
            f"its path has {syntax}, which Nextflow does not quote; rename the folder, or give a link to it"
        )


def _readable(path: Path, *, folder_allowed: bool) -> None:
    try:
        status = path.stat()
    except (ValueError, OSError) as error:
        raise InputError(_why_not(path, error)) from error
    is_folder = path.is_dir()
    if is_folder and not folder_allowed:
        raise InputError("this is a folder; give the file")
    if not is_folder and not path.is_file():
        raise InputError("this is neither a file nor a folder")
    if not os.access(path, os.R_OK | os.X_OK if is_folder else os.R_OK):
        raise InputError("no permission to read it; ask its owner, or copy it")
    if not is_folder and status.st_size == 0:
        raise InputError("the file is empty; was its copy or download cut short?")


def _why_not(path: Path, error: ValueError | OSError) -> str:
    number = getattr(error, "errno", None)
    if number == errno.ELOOP:
        return "symbolic links that lead back to themselves; give the real path"
    if number == errno.EACCES:
        return "no permission to look into its folder; ask the owner, or copy it"
    if number not in (errno.ENOENT, errno.ENOTDIR):
        return "this cannot be a path (too long, or with characters that paths do not have)"
    if path.is_symlink():
        return f"a symbolic link to {shown(os.readlink(path))}, which does not exist"
    try:
        matches = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1, cutoff=0.75)
    except OSError:
        return f"does not exist, nor does its folder {path.parent}; relative paths start at the samplesheet's folder"
    return f"does not exist; did you mean {shown(matches[0])}?" if matches else f"does not exist in {path.parent}"


def _spaceranger(path: Path, bin_size: str | None) -> _Spots | None:
    """Check a folder or archive of Space Ranger output with the rules of ``ingest``."""
    instruments.refuse_others(path)
    seen = look.check(path, bin_size, _MAX_COMPARED_SPOTS)
    return None if seen is None else _Spots(seen.number, seen.barcodes)


def _data_dir(path: Path, platform: str | None, bin_size: str | None) -> _Spots | None:
    """Check a folder or archive of another instrument with the rules of ``ingest``."""
    found = instruments.check(path, platform, bin_size)
    counts = found.files.get("counts") if found else None
    if found is None or counts is None or instruments.is_packed(counts):
        return None
    if counts.suffix == ".h5":
        seen = look.spots_of_h5(counts, _MAX_COMPARED_SPOTS)
        return _Spots(seen.number, seen.barcodes)
    return _h5ad(counts) if set(found.files) == {"counts"} else None  # Curio Seeker


def _h5ad(path: Path) -> _Spots:
    """Check that a file is AnnData with coordinates and genes, without reading counts."""
    from mmsrl.ingest.h5ad import look

    return _spots_of(look(path).barcodes.tolist())


def _spatialdata(path: Path, sample: str, bin_size: str | None) -> _Spots:
    """Check that a folder is SpatialData with a table of this section, without reading counts."""
    from mmsrl.ingest.zarr import look

    return _spots_of(look(path, sample, bin_size).barcodes.tolist())


def _spots_of(barcodes: list[str]) -> _Spots:
    return _Spots(len(barcodes), barcodes if len(barcodes) <= _MAX_COMPARED_SPOTS else None)
