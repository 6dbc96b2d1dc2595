"""``docs/errors.md``: every bad input with what is said of it."""

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

What is wrong with an input or a parameter ends in one message on standard error, without a traceback, with exit status
2; what the system does not allow, with exit status 1. `mmsrl-check` runs before any task, wherever it can see the
files: what it tells starts nothing. Each row is a test (`tests/unit/test_bad_input.py`) that compares the message with
what the command says and sees that nothing was written; `…` stands for the words of a library, `/data` for the folder
of the input.

No errors, and read alike: byte order marks and line ends of Windows in samplesheets, labels and positions
(`tests/unit/test_check_samplesheet.py`, `test_parsers.py`), labels in UTF-16 or the encoding of Western Windows, with
commas, semicolons or tabs (`test_evaluate.py`, `test_check_files.py`), blanks, quotes and letters of any script in
paths.

Exit status 3 is a training that diverged, 140 a lack of memory (a task is then tried again with more).
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
