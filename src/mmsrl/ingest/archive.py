"""Space Ranger folders that come as a tar file."""

from __future__ import annotations

import lzma
import re
import tarfile
import zlib
from pathlib import Path

from mmsrl._errors import InputError

_WANTED = re.compile(
    r"(^|/)((filtered|raw)_feature_bc_matrix(\.h5|/[^/]+)"
    r"|spatial/(scalefactors_json\.json|tissue_positions[^/]*|tissue_(hires|lowres)_image\.png))$"
)
"""What ingest reads; a whole `outs` folder also holds alignments, which stay in the archive."""


def is_archive(path: Path) -> bool:
    """Tell whether a name is that of a tar file, compressed or not."""
    return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))


def extract(archive: Path, destination: Path) -> None:
    """Extract what ingest reads from a tar file into ``destination``.

    Every member is checked with the `data` filter of :mod:`tarfile`, wanted or not: an archive with members that lie
    outside of its folder was made to harm, or by accident holds somebody's absolute paths, and is refused whole.

    Raises
    ------
    InputError
        The archive is damaged, not a tar file, reaches outside its folder, or has nothing of Space Ranger's in it.
    """
    n_extracted = 0
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                if member.name.startswith("/"):
                    raise InputError(
                        f"{archive.name}: refused, as its member {member.name!r} has an absolute path; pack it anew"
                    )
                checked = tarfile.data_filter(member, str(destination))
                if checked.isfile() and _WANTED.search(checked.name):
                    tar.extract(checked, destination, filter="data")
                    n_extracted += 1
    except tarfile.FilterError as error:
        raise InputError(f"{archive.name}: {unsafe(error)}; pack it anew") from error
    except (tarfile.TarError, EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        raise InputError(f"{archive.name}: not a tar file, or damaged ({error}); copy it anew") from error
    if n_extracted == 0:
        raise InputError(
            f"{archive.name}: holds neither a feature-barcode matrix nor a `spatial` folder; pack Space Ranger's `outs`"
        )


def unsafe(error: tarfile.FilterError) -> str:
    """Say what makes a member unsafe to unpack."""
    if isinstance(error, tarfile.SpecialFileError):
        what = "is a device or a pipe"
    elif isinstance(error, tarfile.AbsoluteLinkError | tarfile.LinkOutsideDestinationError):
        what = f"is a link out of the archive's folder, to {error.tarinfo.linkname!r}"
    else:
        what = "lies outside the archive's folder"
    return f"refused, as its member {error.tarinfo.name!r} {what}"
