"""Atomic writing of files, and the JSON summaries of the stages."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmsrl._errors import InputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``, which replaces ``path`` if the block succeeds and is removed otherwise.

    The block only writes. Write errors are raised as ``OSError`` that names ``path``.
    """
    path = Path(path)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes files private; published results follow the umask like any other file.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        # HDF5 and torch report a full disk as RuntimeError, without the file name.
        number, text = getattr(error, "errno", None), " ".join(str(error).split())
        raise OSError(number, os.strerror(number) if number else text, str(path)) from error
    finally:
        if temporary:
            temporary.unlink(missing_ok=True)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield the path of a temporary folder, which replaces ``path`` if the block succeeds."""
    path = Path(path)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as scratch:
        temporary = Path(scratch, path.name)
        try:
            yield temporary
            if path.exists():
                shutil.rmtree(path)
            temporary.rename(path)
        except OSError as error:
            text = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
            raise OSError(error.errno, text, str(path)) from error


def plain(value: Any) -> Any:
    """Convert numpy scalars, arrays and paths to JSON types. NaN and infinities become ``None``."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (str, bool)) or value is None:
        return value
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "tolist"):  # numpy arrays and scalars
        return plain(value.tolist())
    if isinstance(value, Sequence) or isinstance(value, (set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def write_text(path: Path, text: str) -> None:
    """Write ``text`` to ``path`` atomically, in UTF-8 with Unix line endings."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON with stable key order, atomically."""
    write_text(path, json.dumps(plain(value), indent=2, sort_keys=False, allow_nan=False) + "\n")


def write_summary(
    output_dir: Path,
    stage: str,
    id: str,
    *,
    parameters: Mapping[str, Any],
    result: Mapping[str, Any],
    messages: Sequence[Mapping[str, str]] = (),
) -> None:
    """Write ``<id>.<stage>.json`` (``docs/architecture.md``, "Stage JSON") for the report and the manifest."""
    write_json(
        output_dir / f"{id}.{stage}.json",
        {"stage": stage, "id": id, "parameters": parameters, "messages": list(messages), "result": result},
    )


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        The file is not JSON, or truncated.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path.name}: line {error.lineno}: not JSON, or truncated ({error.msg}); copy it anew"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not JSON ({error.reason}); copy it anew") from None


def read_summary(path: Path) -> dict[str, Any]:
    """Read the summary of a stage, written by :func:`write_summary`.

    Raises
    ------
    InputError
        The file is not the summary of a stage.
    """
    summary = read_json(path)
    keys = {"stage", "id", "parameters", "messages", "result"}
    if not isinstance(summary, dict) or not keys <= set(summary):
        raise InputError(f"{path.name}: not the summary of a stage, which has {', '.join(sorted(keys))}")
    return summary


def read_design(path: Path) -> list[dict[str, Any]]:
    """Read ``design.json``, the study design from the samplesheet.

    Returns
    -------
    list of dict
        One entry a sample: ``sample``, ``condition`` and ``donor`` (``None`` if not given) and ``covariates`` by name.

    Raises
    ------
    InputError
        The file is not a study design.
    """
    content = read_json(path)
    keys = {"sample", "condition", "donor", "covariates"}
    entries = content.get("samples") if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and keys <= set(entry) for entry in entries):
        raise InputError(f"{path.name}: not a design, which has samples, each with {', '.join(sorted(keys))}")
    return entries


def sha256(path: Path | str) -> str:
    """Return the hex SHA-256 of a file, read in blocks."""
    with Path(path).open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
