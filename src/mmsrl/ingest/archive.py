"""Listing and safe extraction of tar and zip archives of a section."""

from __future__ import annotations

import gzip
import lzma
import posixpath
import re
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple, Protocol

from mmsrl._errors import InputError, error_prefix
from mmsrl.ingest.parts import is_wanted

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""Suffixes of archives."""

_MAX_LISTED_BYTES = 256 * 2**20
"""Maximum size of a compressed tar file that is listed, because listing reads the whole file."""

_MAX_UNPACKED_BYTES, _MAX_RATIO = 2**30, 100
"""An archive may unpack to the first number of bytes, or to its own size times the second number. Text compresses to
about a tenth."""


class Member(NamedTuple):
    """File or link in an archive."""

    name: str
    """Normalised path in the archive."""
    size: int
    """Size in bytes."""
    to: str | None
    """Target of a link, as path in the archive; ``None`` for a file."""
    is_file: bool
    handle: tarfile.TarInfo | zipfile.ZipInfo


class Archive(Protocol):
    """Common interface of tar and zip files."""

    def members(self, destination: Path) -> Iterator[Member]:
        """Yield all members in order. Refuse members that are not safe to unpack into ``destination``."""

    def open(self, member: Member) -> IO[bytes]:
        """Open a file for reading."""


def is_archive(path: Path) -> bool:
    """Return whether the name of a file has the suffix of an archive."""
    return path.name.lower().endswith(ENDINGS)


def can_be_listed(path: Path) -> bool:
    """Return whether listing an archive is cheap: it is a zip file, an uncompressed tar file, or small."""
    if path.stat().st_size <= _MAX_LISTED_BYTES or _is_zip(path):
        return True
    with path.open("rb") as handle:
        handle.seek(257)
        return handle.read(5) == b"ustar"


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive of any format. Errors become an InputError without the name of the archive.

    Raises
    ------
    InputError
        The archive is damaged, of another kind, encrypted, or reaches outside its folder.
    """
    try:
        if _is_zip(path):
            with zipfile.ZipFile(path) as packed:
                yield _Zip(packed)
        else:
            with tarfile.open(path, "r:*") as tar:
                yield _Tar(tar)
    except tarfile.FilterError as error:
        raise InputError(_unsafe(error)) from error
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, zlib.error, lzma.LZMAError) as error:
        raise InputError(_damaged(error)) from error
    except OSError as error:
        if error.errno is not None:  # an error of the disk, not of the content
            raise
        raise InputError(_damaged(error)) from error
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"encrypted, or packed by an unknown method ({error}); pack it anew") from error


def wanted(
    archive: Archive, destination: Path, is_read: Callable[[str], object] = is_wanted
) -> Iterator[tuple[str, Member]]:
    """Yield the path of every file accepted by ``is_read``, and the member with its content.

    For a link, the member is its target: Visium HD links one image from all bin sizes. Links are resolved within the
    archive, never on disk, and are yielded last, because a target may follow its link. Broken links are skipped.

    Unsafe members are refused even if they are not read, as they mark a malicious archive or one with absolute paths.

    Parameters
    ----------
    archive
        Open archive.
    destination
        Folder to unpack into.
    is_read
        Predicate on the path of a member.

    Raises
    ------
    InputError, tarfile.FilterError
        A member is not safe to unpack.
    """
    members = {}
    for member in archive.members(destination):
        members[member.name] = member  # the last of duplicate names counts
        if member.is_file and is_read(member.name):
            yield member.name, member
    for name, member in members.items():
        if not member.is_file and is_read(name):
            content = _followed(member, members)
            if content is not None:
                yield name, content


def extract(path: Path, destination: Path, is_read: Callable[[str], object] = is_wanted) -> None:
    """Extract the files accepted by ``is_read`` into ``destination``. Links become copies of their target.

    Raises
    ------
    InputError
        The archive is damaged, reaches outside its folder, is larger than any section, or has no Space Ranger output
        although this is expected.
    """
    total, n_extracted = 0, 0
    max_bytes = max(_MAX_UNPACKED_BYTES, _MAX_RATIO * path.stat().st_size)
    with error_prefix(path.name), opened(path) as archive:
        for name, member in wanted(archive, destination, is_read):
            total += member.size
            if total > max_bytes:
                raise InputError(f"refused, as it unpacks to more than {_MAX_RATIO} times its own size; pack it anew")
            _write(archive, member, destination, name)
            n_extracted += 1
    if n_extracted == 0 and is_read is is_wanted:
        raise _nothing(path)


def make_listing(path: Path, destination: Path, is_read: Callable[[str], object] = is_wanted) -> None:
    """Create empty files in ``destination`` in place of those that :func:`extract` would unpack.

    Raises
    ------
    InputError
        The archive is damaged, reaches outside its folder, or has no Space Ranger output although this is expected.
    """
    n_listed = 0
    with error_prefix(path.name), opened(path) as archive:
        for name, _ in wanted(archive, destination, is_read):
            target = destination / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            n_listed += 1
    if n_listed == 0 and is_read is is_wanted:
        raise _nothing(path)


def unpack_gzip(path: Path, target: Path) -> Path:
    """Decompress a gzipped file to ``target``, and return ``target``.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        with gzip.open(path) as source, target.open("wb") as output:
            shutil.copyfileobj(source, output)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path.name}: not gzip, or damaged ({error}); copy it anew") from error
    return target


class _Tar:
    def __init__(self, tar: tarfile.TarFile) -> None:
        self.tar = tar

    def members(self, destination: Path) -> Iterator[Member]:
        for info in self.tar:
            name = _safe(info.name)
            tarfile.data_filter(info, str(destination))
            to = None
            if info.issym() or info.islnk():
                # Symbolic links are relative to their folder, hard links to the root of the archive.
                start = posixpath.dirname(name) if info.issym() else ""
                to = posixpath.normpath(posixpath.join(start, info.linkname))
            yield Member(name, info.size, to, info.isfile(), info)

    def open(self, member: Member) -> IO[bytes]:
        assert isinstance(member.handle, tarfile.TarInfo)
        source = self.tar.extractfile(member.handle)
        assert source is not None, f"{member.name} is a file"
        return source


class _Zip:
    def __init__(self, packed: zipfile.ZipFile) -> None:
        self.packed = packed

    def members(self, destination: Path) -> Iterator[Member]:
        for info in self.packed.infolist():
            name, mode = _safe(info.filename), info.external_attr >> 16
            to = None
            if stat.S_ISLNK(mode):
                link = self.packed.read(info).decode("utf-8", "replace") if info.file_size < 4096 else ""
                to = posixpath.normpath(posixpath.join(posixpath.dirname(name), link))
                if link.startswith("/") or to.startswith(".."):
                    remedy = "pack it anew with what it leads to"
                    raise InputError(f"refused, as its member {name!r} is a link out of the archive's folder; {remedy}")
            yield Member(name, info.file_size, to, to is None and not info.is_dir(), info)

    def open(self, member: Member) -> IO[bytes]:
        assert isinstance(member.handle, zipfile.ZipInfo)
        return self.packed.open(member.handle)


def _safe(name: str) -> str:
    """Return the normalised name of a member. Backslashes from Windows become slashes.

    Raises
    ------
    InputError
        The name is an absolute path, or leads outside the archive's folder.
    """
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:/", plain):
        raise InputError(f"refused, as its member {name!r} has an absolute path; pack it anew")
    normal = posixpath.normpath(plain)
    if normal == ".." or normal.startswith("../"):
        raise InputError(f"refused, as its member {name!r} lies outside the archive's folder; pack it anew")
    return normal


def _followed(member: Member, members: Mapping[str, Member]) -> Member | None:
    """Return the file that a chain of links leads to; ``None`` for broken or circular links."""
    seen = set()
    found: Member | None = member
    while found is not None and found.to is not None and found.name not in seen:
        seen.add(found.name)
        found = members.get(found.to)
    return found if found is not None and found.is_file else None


def _write(archive: Archive, member: Member, destination: Path, name: str) -> None:
    path, extracted = destination / name, destination / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if extracted != path and extracted.is_file():  # seeking back in a compressed archive is slow
        shutil.copyfile(extracted, path)
        return
    with archive.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _is_zip(path: Path) -> bool:
    # Test the first bytes, because a tar file may end with a zip file.
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _nothing(path: Path) -> InputError:
    return InputError(
        f"{path.name}: holds neither a feature-barcode matrix nor a `spatial` folder; pack Space Ranger's `outs`"
    )


def _damaged(error: Exception) -> str:
    # tarfile lists one message a compression method on further lines.
    reason = str(error).strip().partition("\n")[0].rstrip(":")
    return f"not a tar or zip archive, or a damaged one ({reason}); copy it anew"


def _unsafe(error: tarfile.FilterError) -> str:
    """Describe why a member is unsafe, and the remedy."""
    remedy = "pack it anew"
    if isinstance(error, tarfile.SpecialFileError):
        what = "is a device or a pipe"
    elif isinstance(error, tarfile.AbsoluteLinkError | tarfile.LinkOutsideDestinationError):
        what = f"is a link out of the archive's folder, to {error.tarinfo.linkname!r}"
        remedy += " with what it leads to (tar -h)"
    else:
        what = "lies outside the archive's folder"
    return f"refused, as its member {error.tarinfo.name!r} {what}; {remedy}"
