"""Every bad input ends in the message that ``docs/errors.md`` has for it, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import pytest
from bad_input.case import Case, run
from bad_input.document import CHAPTERS, DOCUMENT, row

CASES = [case for cases in CHAPTERS.values() for case in cases]
ROWS = [line for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.what)
def test_bad_input_ends_in_the_message_of_the_document(tmp_path: Path, case: Case) -> None:
    said = run(case, tmp_path)

    assert not said.traceback
    assert said.status == case.status
    assert said.written == []
    # A case that is new or says something else: make errors, and read what it says.
    assert row(case, said) in ROWS


def test_the_document_has_these_cases_and_no_others() -> None:
    told = [line.split(" | ")[0].removeprefix("| ") for line in ROWS]
    assert [what for what in told if what not in ("input", "---")] == [case.what for case in CASES]
    assert not Path("/tmp/mmsrl-was-here").exists(), "a file of a stranger was executed"
