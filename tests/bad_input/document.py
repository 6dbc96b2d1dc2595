"""Generation of ``docs/errors.md``: every bad input with its message."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from bad_input import files, folders, parameters, samplesheets, sections, stages, system
from bad_input.case import PROJECT, Case, Said, run

DOCUMENT = PROJECT / "docs/errors.md"

CHAPTERS: dict[str, tuple[Case, ...]] = {
    "Samplesheet": samplesheets.CASES,
    "Parameters": parameters.CASES,
    "Files of the samplesheet": files.CASES,
    "Folders of instruments": folders.CASES,
    "Content of a section": sections.CASES,
    "Later stages": stages.CASES,
    "The system": system.CASES,
}

_HEAD = """\
# Errors

<!-- Made by `make errors` from the cases in tests/bad_input: edit there. -->

A wrong input or parameter ends in one message on standard error, without a traceback, and exit status 2. Errors of the
system, such as a full disk, end with exit status 1. `mmsrl-check` runs before all other tasks, so that its errors stop
a run before any computation. Each row below is a test (`tests/unit/test_bad_input.py`): it compares the message with
the output of the command, and checks that nothing was written. `…` stands for the message of a library, and `/data`
for the folder of the input.

The following are no errors. Samplesheets, labels and positions may have byte-order marks and Windows line endings
(`tests/unit/test_check_samplesheet.py`, `test_parsers.py`). Labels may be in UTF-16 or Windows-1252, separated by
commas, semicolons or tabs (`test_evaluate.py`, `test_check_files.py`). Paths may contain spaces, quotes and letters of
any script.

Exit status 3 is a diverged training, and 140 a lack of memory, after which the task is retried with more.
"""


def document() -> str:
    """Run every case and return the document."""
    parts = [_HEAD]
    for title, cases in CHAPTERS.items():
        parts += [f"\n## {title}\n\n", "| input | command | message |\n", "| --- | --- | --- |\n"]
        for case in cases:
            with tempfile.TemporaryDirectory() as folder:
                parts.append(row(case, run(case, Path(folder))) + "\n")
    return "".join(parts)


def row(case: Case, said: Said) -> str:
    """Return the row of a case."""
    text = re.sub(r"\s*\n\s*", "<br>", said.message).replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
    return f"| {case.what} | `{said.command}` | {text} |"
