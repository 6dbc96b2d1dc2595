"""What the files of a row look like, as far as it can be told without computing on them."""

from __future__ import annotations

import difflib
import errno
import gzip
import os
import re
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmsrl._alignment import read_alignment
from mmsrl._errors import InputError
from mmsrl.check.problems import Problem, listed, shown
from mmsrl.check.rows import Section
from mmsrl.check.truth import check_truth
from mmsrl.ingest import instruments
from mmsrl.ingest.archive import ENDINGS, SPACERANGER, is_archive, opened, wanted
from mmsrl.ingest.layout import BinSizeError, find_section

if TYPE_CHECKING:
    import h5py

PATH_COLUMNS = ("spaceranger_dir", "data_dir", "h5ad", "spatialdata", "image", "alignment", "truth")

_LISTED_AT_MOST = 256 * 2**20
"""Bytes: the members of a larger archive are not listed here, which would mean reading all of it; ``ingest`` does."""

_COMPARED_AT_MOST = 250_000
"""Spots: barcodes of larger sections (fine bins of Visium HD) are not compared with the truth here."""

_PICTURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""First bytes of PNG, JPEG, TIFF and BigTIFF (which most slide formats are)."""

_SLIDES = (".mrxs", ".dcm", ".vms", ".vmu", ".czi")
"""Slide scanners' files that begin otherwise; ``features`` finds out."""

_HDF5 = b"\x89HDF\r\n\x1a\n"


class _Spots:
    """Spots of a section: their number, and their barcodes where these are cheap to read."""

    def __init__(self, names: h5py.Dataset | list[str]) -> None:
        self.number = len(names)
        self.barcodes: set[str] | None = None
        if self.number <= _COMPARED_AT_MOST:
            self.barcodes = {n.decode("utf-8", "replace") if isinstance(n, bytes) else str(n) for n in names[:]}


def absolute(path: str, folder: Path) -> str:
    """Return ``path`` absolute, with relative ones starting at ``folder``; URIs (``s3://…``) as they are."""
    return path if is_remote(path) else os.path.abspath(folder / path)


def is_remote(path: str) -> bool:
    """Tell whether ``path`` is a URI, such as ``s3://bucket/key``."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", path) is not None


def check_files(section: Section, folder: Path) -> Iterator[Problem]:
    """Yield what is wrong with the files of one row.

    Parameters
    ----------
    section
        A checked row of the samplesheet.
    folder
        Folder of the samplesheet, where relative paths start.
    """
    faults: list[Problem] = []

    def attempt(column: str, check: Callable[[Path], Any]) -> Any:
        """Run a check on the file in ``column``, if there is one that can be looked at."""
        if column not in section or is_remote(section[column]):
            return None
        path = Path(absolute(section[column], folder))
        try:
            _readable(path, folder_allowed=column in ("spaceranger_dir", "data_dir", "spatialdata"))
            return check(path)
        except BinSizeError as error:
            faults.append(Problem(section["row"], str(error), column="bin_size", value=str(section["bin_size"])))
        except InputError as error:
            faults.append(Problem(section["row"], str(error), column=column, value=section[column]))
        except OSError as error:
            text = f"cannot be read ({error.strerror}: {error.filename}); ask its owner, or copy it"
            faults.append(Problem(section["row"], text, column=column, value=section[column]))
        return None

    spots: _Spots | None = attempt("spaceranger_dir", lambda path: _spaceranger(path, section.get("bin_size")))
    spots = attempt("data_dir", lambda path: _data_dir(path, section.get("platform"), section.get("bin_size"))) or spots
    spots = attempt("h5ad", _h5ad) or spots
    attempt("spatialdata", _spatialdata)
    attempt("image", _image)
    attempt("alignment", read_alignment)
    attempt("truth", lambda path: check_truth(path, spots.barcodes if spots else None))
    yield from faults
    if spots and section.get("n_domains", 0) > spots.number:
        text = f"the section has only {spots.number} spots; give a smaller number"
        yield Problem(section["row"], text, column="n_domains", value=str(section["n_domains"]))


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
        near = difflib.get_close_matches(path.name, os.listdir(path.parent), n=1, cutoff=0.75)
    except OSError:
        return f"does not exist, nor does its folder {path.parent}; relative paths start at the samplesheet's folder"
    return f"does not exist; did you mean {shown(near[0])}?" if near else f"does not exist in {path.parent}"


def _spaceranger(path: Path, bin_size: str | None) -> _Spots | None:
    """Check a folder or archive of Space Ranger's output."""
    instruments.refuse_others(path)
    if path.is_dir():
        matrix = _matrix(path, bin_size)
        return _Spots(_text_barcodes(matrix)) if matrix.is_dir() else _h5_matrix(matrix)
    if not is_archive(path):
        raise InputError(f"neither a folder nor an archive; the name of an archive ends with {listed(ENDINGS)}")
    if path.stat().st_size <= _LISTED_AT_MOST:
        with tempfile.TemporaryDirectory(prefix="mmsrl-check-") as scratch:
            listing = Path(scratch, path.name)  # the name that messages say
            listing.mkdir()
            _list_archive(path, listing, SPACERANGER)
            _matrix(listing, bin_size)
    return None


def _data_dir(path: Path, platform: str | None, bin_size: str | None) -> _Spots | None:
    """Check a folder or archive of another instrument."""
    if path.is_dir():
        found = instruments.look(path, platform, bin_size)
        counts = found.files.get("counts")
        if counts is None or instruments.is_packed(counts):
            return None
        if counts.suffix == ".h5":
            return _h5_matrix(counts)
        return _h5ad(counts) if set(found.files) == {"counts"} else None  # Curio's
    if not is_archive(path):
        raise InputError(f"neither a folder nor an archive ({listed(ENDINGS)}); give the folder that it lies in")
    if path.stat().st_size <= _LISTED_AT_MOST:
        with tempfile.TemporaryDirectory(prefix="mmsrl-check-") as scratch:
            listing = Path(scratch, path.name)
            listing.mkdir()
            _list_archive(path, listing, instruments.archived())
            instruments.find(listing, platform, bin_size)
    return None


def _matrix(folder: Path, bin_size: str | None) -> Path:
    """Return the matrix of the section in ``folder``, having seen that all that belongs to it is there."""
    section, _ = find_section(folder, bin_size)
    if section.matrix.is_dir():
        there = {name.removesuffix(".gz") for name in os.listdir(section.matrix)}
        missing = [n for n in ("matrix.mtx", "barcodes.tsv") if n not in there]
        missing += [] if there & {"features.tsv", "genes.tsv"} else ["features.tsv"]
        if missing:
            raise InputError(f"{section.matrix.name} has no {listed(missing)} (nor with .gz); copy the whole folder")
    return section.matrix


def _list_archive(path: Path, listing: Path, names: re.Pattern[str]) -> None:
    """Make empty files of what ``ingest`` reads from an archive, of which nothing is unpacked; refuse an unsafe one."""
    with opened(path) as archive:
        for name, _ in wanted(archive, listing, names):
            target = listing / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()


def _text_barcodes(matrix: Path) -> list[str]:
    packed = matrix / "barcodes.tsv.gz"
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else (matrix / "barcodes.tsv").read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{packed.name} is damaged ({error}); copy it anew") from error
    return content.decode("utf-8", "replace").split()


def _open_hdf5(path: Path, kind: str, remedy: str = "copy it anew") -> AbstractContextManager[h5py.File]:
    from mmsrl._hdf5 import open_hdf5

    with path.open("rb") as handle:
        if handle.read(len(_HDF5)) != _HDF5:
            raise InputError(f"{path.name} is not HDF5, whatever its name says; give the right file")
    return open_hdf5(path, kind, remedy)


def _h5_matrix(path: Path) -> _Spots:
    """Check that a file is a 10x feature-barcode matrix (version 3: group `matrix`; 2: a group for each genome)."""
    with _open_hdf5(path, "10x feature-barcode matrix") as file:
        for group in file.values():
            if hasattr(group, "keys") and "barcodes" in group:
                return _Spots(group["barcodes"])
        raise InputError(f"{path.name} is HDF5, but not a feature-barcode matrix of 10x: no barcodes in it")


def _h5ad(path: Path) -> _Spots:
    """Check that a file is AnnData with coordinates."""
    from mmsrl._hdf5 import coordinates_fault, index_of

    with _open_hdf5(path, "AnnData", "write it anew with anndata >= 0.8") as file:
        missing = [name for name in ("obs", "var") if name not in file]
        if missing:
            raise InputError(f"HDF5, but not AnnData: no {listed(missing)} in it")
        fault = coordinates_fault(file)
        if fault is not None:
            raise InputError(fault)
        return _Spots(index_of(file["obs"]))


def _spatialdata(path: Path) -> None:
    """Check that a folder is SpatialData with a table; what is in it, ``ingest`` sees."""
    if not path.is_dir():
        raise InputError("not a folder, which a .zarr is; give the folder, unpacked")
    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup")):
        raise InputError("not Zarr: no zarr.json or .zgroup in it; copy the whole folder")
    if not any((path / "tables").glob("*/*")):
        raise InputError("no table in it (tables/…), which holds the counts; is this SpatialData, and copied whole?")


def _image(path: Path) -> None:
    with path.open("rb") as handle:
        start = handle.read(8)
    if not start.startswith(_PICTURES) and path.suffix.lower() not in _SLIDES:
        raise InputError("not an image that can be read; convert it to TIFF, PNG or JPEG")
