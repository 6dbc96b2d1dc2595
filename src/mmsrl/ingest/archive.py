"""Space Ranger folders that come as a tar file."""

from __future__ import annotations

import lzma
import posixpath
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from mmsrl._errors import InputError

ENDINGS = (".tar", ".tar.gz", ".tgz")
"""Of the names of tar files."""

SPACERANGER = re.compile(
    r"(^|/)((filtered|raw)_feature_bc_matrix(\.h5|/[^/]+)"
    r"|spatial/(scalefactors_json\.json|tissue_positions[^/]*|tissue_(hires|lowres)_image\.png))$"
)
"""What ingest reads of Space Ranger's; a whole `outs` folder also holds alignments, which stay in the archive."""


def is_archive(path: Path) -> bool:
    """Tell whether a name is that of a tar file, compressed or not."""
    return path.name.lower().endswith(ENDINGS)


@contextmanager
def opened(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar file; what is wrong with it becomes an InputError, which does not name it.

    Raises
    ------
    InputError
        The archive is damaged, not a tar file, or reaches outside its folder.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            yield tar
    except tarfile.FilterError as error:
        raise InputError(_unsafe(error)) from error
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"not a tar archive, or a damaged one ({error}); copy it anew") from error


def wanted(
    tar: tarfile.TarFile, destination: Path, names: re.Pattern[str] = SPACERANGER
) -> Iterator[tuple[str, tarfile.TarInfo]]:
    """Yield the path below ``destination`` of every file of ``names``, and the member that has its content.

    That is another one where the file is a link: Visium HD has one image for all bin sizes. Links are followed by the
    names in the archive, never on the disk, and come last, as what they lead to may stand behind them; one that leads
    to nothing in the archive is left out.

    Every member is checked with the `data` filter of :mod:`tarfile`, wanted or not: an archive with members that lie
    outside of its folder was made to harm, or by accident holds somebody's absolute paths, and is refused whole.

    Raises
    ------
    InputError
        A member has an absolute path.
    tarfile.FilterError
        A member is not safe to unpack; :func:`opened` says why.
    """
    members = {}
    for member in tar:
        if member.name.startswith("/"):
            raise InputError(f"refused, as its member {member.name!r} has an absolute path; pack it anew")
        tarfile.data_filter(member, str(destination))
        name = posixpath.normpath(member.name)
        members[name] = member  # of several with one name the last counts
        if member.isfile() and names.search(name):
            yield name, member
    for name, member in members.items():
        if not member.isfile() and names.search(name):
            content = _followed(member, members)
            if content is not None:
                yield name, content


def extract(archive: Path, destination: Path, names: re.Pattern[str] = SPACERANGER) -> None:
    """Extract the files of ``names`` from a tar file into ``destination``; of links the content.

    Raises
    ------
    InputError
        The archive is damaged, not a tar file, or reaches outside its folder, or lacks all that is Space Ranger's.
    """
    n_extracted = 0
    try:
        with opened(archive) as tar:
            for name, member in wanted(tar, destination, names):
                _write(tar, member, destination, name)
                n_extracted += 1
    except InputError as error:
        raise InputError(f"{archive.name}: {error}") from error
    if n_extracted == 0 and names is SPACERANGER:
        raise InputError(
            f"{archive.name}: holds neither a feature-barcode matrix nor a `spatial` folder; pack Space Ranger's `outs`"
        )


def _followed(member: tarfile.TarInfo, members: Mapping[str, tarfile.TarInfo]) -> tarfile.TarInfo | None:
    """Return the file that a link leads to, over other links; ``None`` where there is none, or they lead in circles."""
    seen = set()
    found: tarfile.TarInfo | None = member
    while found is not None and (found.issym() or found.islnk()) and found.name not in seen:
        seen.add(found.name)
        # A symbolic link starts at its own folder, a hard link at that of the archive.
        start = posixpath.dirname(found.name) if found.issym() else ""
        found = members.get(posixpath.normpath(posixpath.join(start, found.linkname)))
    return found if found is not None and found.isfile() else None


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, destination: Path, name: str) -> None:
    path, own = destination / name, destination / posixpath.normpath(member.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    if own != path and own.is_file():  # a link to what is there: going back in a compressed archive takes long
        shutil.copyfile(own, path)
        return
    source = tar.extractfile(member)
    assert source is not None, f"{member.name} is a file"
    with source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


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
