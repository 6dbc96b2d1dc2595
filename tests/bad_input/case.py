"""Bad input with the message of its command."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from click.testing import CliRunner

PROJECT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Case:
    """Bad input with its command."""

    what: str
    """Unique description."""
    make: Callable[[Path], list[str]]
    """Function that writes the input to a folder and returns the command line: stage and arguments, without outputs."""
    status: int = 2
    """Expected exit status."""
    system: Callable[[Path], AbstractContextManager[None]] = nullcontext
    """Context manager on the folder that simulates a state of the system while the command runs."""


class Said(NamedTuple):
    """Result of a command."""

    command: str
    status: int
    message: str
    """Message, with ``/data`` for the folder of the input."""
    written: list[str]
    """Files in the output folder."""
    traceback: bool


_WORDS_OF_LIBRARIES = (
    *("Unable to", "Could not", "Cannot", "cannot", "Compressed", "Error ", "Parquet", "not a", "Line ", "invalid"),
    *(
        "unexpected end",
        "bad ",
        "file could",
        "'utf-8'",
        "No columns",
        "Expecting",
        "expected",
        "image file",
        "RuntimeError",
    ),
    *("OSError", "illegal", "truncated", "Did not", "Premature", "',' expected"),
)
_VARYING = re.compile(rf"\(({'|'.join(map(re.escape, _WORDS_OF_LIBRARIES))})[^()]*(\([^()]*\)[^()]*)*\)")
"""Messages of libraries in brackets, which differ between versions."""


def run(case: Case, folder: Path) -> Said:
    """Write the input to ``folder``, run the command and return its result."""
    folder = folder.resolve()
    stage, *arguments = case.make(folder)
    out = folder / "results"
    out.mkdir()
    if stage == "check":
        arguments += ["--schema-dir", str(PROJECT), "--output", str(out / "plan.json")]
    elif "--output-dir" not in arguments:
        arguments += ["--output-dir", str(out)]
    command = importlib.import_module(f"mmsrl.{stage}.cli").main
    with case.system(folder):
        result = CliRunner().invoke(command, arguments, env={"CUDA_VISIBLE_DEVICES": ""})
    lines = result.output.splitlines()
    start = next((n for n, line in enumerate(lines) if re.match(rf"mmsrl-{stage}: error: |Error: ", line)), None)
    message = "\n".join(lines[start:]) if start is not None else result.output
    message = re.sub(rf"^(mmsrl-{stage}: error|Error): ", "", message).replace(str(folder), "/data")
    message = _VARYING.sub("(…)", message)
    return Said(
        f"mmsrl-{stage}",
        result.exit_code,
        message.strip(),
        sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()),
        not isinstance(result.exception, SystemExit | None),
    )


def check(sheet: Path, *more: str, **parameters: object) -> list[str]:
    """Return the command line that checks a samplesheet and parameters."""
    params = sheet.parent / "params.json"
    given = {"input": str(sheet), "outdir": "results", **parameters}
    params.write_text(json.dumps(given), encoding="utf-8")
    return ["check", "--input", str(sheet), "--params", str(params), *more]
