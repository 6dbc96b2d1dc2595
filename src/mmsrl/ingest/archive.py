"""Archives of a section's folder, tar or zip: looked into, and unpacked without leaving the folder meant for it."""

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

from mmsrl._errors import InputError
from mmsrl.ingest.parts import is_wanted

ENDINGS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".zip")
"""Of the names of archives."""

_LISTED_AT_MOST = 256 * 2**20
"""Bytes of a compressed tar file up to which it is looked into: it has no directory, and all of it is to be read."""

_UNPACKED_AT_MOST, _TIMES = 2**30, 100
"""Bytes that any archive may unpack to, and how often its own size a larger one may: text packs to a tenth."""


class Member(NamedTuple):
    """A file or a link in an archive."""

    name: str
    """Normal form, from the archive's top."""
    size: int
    to: str | None
    """Of a link: what it leads to, from the archive's top."""
    is_file: bool
    handle: tarfile.TarInfo | zipfile.ZipInfo


class Archive(Protocol):
    """What tar and zip files have in common."""

    def members(self, destination: Path) -> Iterator[Member]:
        """Yield all members in their order, refusing what is not safe to unpack into ``destination``."""

    def open(self, member: Member) -> IO[bytes]:
        """Open a file for reading."""


def is_archive(path: Path) -> bool:
    """Tell whether a name is that of an archive."""
    return path.name.lower().endswith(ENDINGS)


def can_be_listed(path: Path) -> bool:
    """Tell whether looking into an archive is cheap: zip has a directory, and within plain tar files one can jump."""
    if path.stat().st_size <= _LISTED_AT_MOST or _is_zip(path):
        return True
    with path.open("rb") as handle:
        handle.seek(257)
        return handle.read(5) == b"ustar"


@contextmanager
def opened(path: Path) -> Iterator[Archive]:
    """Open an archive, whatever its name; what is wrong with it becomes an InputError, which does not name it.

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
        if error.errno is not None:  # of the disk, not of the content
            raise
        raise InputError(_damaged(error)) from error
    except (RuntimeError, NotImplementedError) as error:
        raise InputError(f"encrypted, or packed by a method that is not known here ({error}); pack it anew") from error


def wanted(
    archive: Archive, destination: Path, is_read: Callable[[str], object] = is_wanted
) -> Iterator[tuple[str, Member]]:
    """Yield the path below ``destination`` of every file that ``is_read``, and the member that has its content.

    That is another one where the file is a link: Visium HD has one image for all bin sizes. Links are followed by the
    names in the archive, never on the disk, and come last, as what they lead to may stand behind them; one that leads
    to nothing in the archive is left out.

    Every member is checked, wanted or not: an archive with members that lie outside of its folder was made to harm, or
    by accident holds somebody's absolute paths, and is refused whole.

    Raises
    ------
    InputError, tarfile.FilterError
        A member is not safe to unpack.
    """
    members = {}
    for member in archive.members(destination):
        members[member.name] = member  # of several with one name the last counts
        if member.is_file and is_read(member.name):
            yield member.name, member
    for name, member in members.items():
        if not member.is_file and is_read(name):
            content = _followed(member, members)
            if content is not None:
                yield name, content


def extract(path: Path, destination: Path, is_read: Callable[[str], object] = is_wanted) -> None:
    """Extract the files that ``is_read`` names from an archive into ``destination``; of links the content.

    Raises
    ------
    InputError
        The archive is damaged, reaches outside its folder, unpacks to more than any section has, or has nothing of
        Space Ranger's in it where that is looked for.
    """
    total, n_extracted = 0, 0
    most = max(_UNPACKED_AT_MOST, _TIMES * path.stat().st_size)
    try:
        with opened(path) as archive:
            for name, member in wanted(archive, destination, is_read):
                total += member.size
                if total > most:
                    raise InputError(f"refused, as it unpacks to more than {_TIMES} times its own size; pack it anew")
                _write(archive, member, destination, name)
                n_extracted += 1
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    if n_extracted == 0 and is_read is is_wanted:
        raise _nothing(path)


def make_listing(path: Path, destination: Path, is_read: Callable[[str], object] = is_wanted) -> None:
    """Make empty files in ``destination`` of what :func:`extract` would; nothing is unpacked.

    Raises
    ------
    InputError
        The archive is damaged, reaches outside its folder, or has nothing of Space Ranger's in it where that is looked
        for.
    """
    n_listed = 0
    try:
        with opened(path) as archive:
            for name, _ in wanted(archive, destination, is_read):
                target = destination / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.touch()
                n_listed += 1
    except InputError as error:
        raise InputError(f"{path.name}: {error}") from error
    if n_listed == 0 and is_read is is_wanted:
        raise _nothing(path)


def unpack_gzip(path: Path, target: Path) -> Path:
    """Write what is in a gzipped file to ``target``, and return that.

    Raises
    ------
    InputError
        The file is damaged.
    """
    try:
        with gzip.open(path) as source, target.open("wb") as made:
            shutil.copyfileobj(source, made)
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
                # A symbolic link starts at its own folder, a hard link at that of the archive.
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
    """Return the normal form of a member's name, whose folders Windows may have parted by backslashes.

    Raises
    ------
    InputError
        It is an absolute path, or leads out of the archive's folder.
    """
    plain = name.replace("\\", "/")
    if plain.startswith("/") or re.match(r"[A-Za-z]:/", plain):
        raise InputError(f"refused, as its member {name!r} has an absolute path; pack it anew")
    normal = posixpath.normpath(plain)
    if normal == ".." or normal.startswith("../"):
        raise InputError(f"refused, as its member {name!r} lies outside the archive's folder; pack it anew")
    return normal


def _followed(member: Member, members: Mapping[str, Member]) -> Member | None:
    """Return the file that a link leads to, over other links; ``None`` where there is none, or they lead in circles."""
    seen = set()
    found: Member | None = member
    while found is not None and found.to is not None and found.name not in seen:
        seen.add(found.name)
        found = members.get(found.to)
    return found if found is not None and found.is_file else None


def _write(archive: Archive, member: Member, destination: Path, name: str) -> None:
    path, own = destination / name, destination / member.name
    path.parent.mkdir(parents=True, exist_ok=True)
    if own != path and own.is_file():  # a link to what is there: going back in a compressed archive takes long
        shutil.copyfile(own, path)
        return
    with archive.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _is_zip(path: Path) -> bool:
    # By its beginning: a tar file may end with a zip file.
    with path.open("rb") as handle:
        return handle.read(4) in (b"PK\x03\x04", b"PK\x05\x06")


def _nothing(path: Path) -> InputError:
    return InputError(
        f"{path.name}: holds neither a feature-barcode matrix nor a `spatial` folder; pack Space Ranger's `outs`"
    )


def _damaged(error: Exception) -> str:
    # Of a file that is no tar file, tarfile lists what each kind of compression says.
    said = str(error).strip().partition("\n")[0].rstrip(":")
    return f"not a tar or zip archive, or a damaged one ({said}); copy it anew"


def _unsafe(error: tarfile.FilterError) -> str:
    """Say what makes a member unsafe to unpack, and what to do."""
    remedy = "pack it anew"
    if isinstance(error, tarfile.SpecialFileError):
        what = "is a device or a pipe"
    elif isinstance(error, tarfile.AbsoluteLinkError | tarfile.LinkOutsideDestinationError):
        what = f"is a link out of the archive's folder, to {error.tarinfo.linkname!r}"
        remedy += " with what it leads to (tar -h)"
    else:
        what = "lies outside the archive's folder"
    return f"refused, as its member {error.tarinfo.name!r} {what}; {remedy}"
