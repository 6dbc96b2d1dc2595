"""Errors of the system: output that cannot be written."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from spaceranger import visium

from bad_input.case import Case, check


@contextmanager
def _full(folder: Path) -> Iterator[None]:
    """Open ``/dev/full`` for every new file, which simulates a full disk."""

    def open_full(suffix: str = "", prefix: str = "", dir: Any = None, text: bool = False) -> tuple[int, str]:
        path = Path(dir, f"{prefix}full{suffix}")
        path.symlink_to("/dev/full")
        return os.open(path, os.O_RDWR), str(path)

    with mock.patch.object(tempfile, "mkstemp", open_full):
        yield


@contextmanager
def _read_only(folder: Path) -> Iterator[None]:
    """Refuse new files like a read-only file system, which a test cannot mount."""

    def refused(suffix: str = "", prefix: str = "", dir: Any = None, text: bool = False) -> tuple[int, str]:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(Path(dir, prefix)))

    with mock.patch.object(tempfile, "mkstemp", refused):
        yield


def _checked(folder: Path) -> list[str]:
    visium(folder / "outs")
    (folder / "sheet.csv").write_text("sample,spaceranger_dir\nS1,outs\n", encoding="utf-8")
    return check(folder / "sheet.csv")


def _ingested(folder: Path) -> list[str]:
    return ["ingest", "--id", "S1", "--spaceranger-dir", str(visium(folder / "outs"))]


def _under_a_file(folder: Path) -> list[str]:
    (folder / "file").write_text("")
    return [*_ingested(folder), "--output-dir", str(folder / "file/results")]


CASES = (
    Case("a full disk under a section", _ingested, status=1, system=_full),
    Case("a full disk under the plan", _checked, status=1, system=_full),
    Case("a read-only file system", _ingested, status=1, system=_read_only),
    Case("a folder for results under a file", _under_a_file, status=1),
)
