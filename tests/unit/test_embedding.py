"""docs/embedding.md shows the foreign pipeline as it runs."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def test_the_code_in_the_documentation_is_that_of_the_pipeline_that_runs():
    text = (PROJECT / "docs/embedding.md").read_text(encoding="utf-8")
    shown = re.findall(r"<!-- (\S+) -->\n```groovy\n(.*?)```", text, flags=re.DOTALL)

    assert [name for name, _ in shown] == ["tests/foreign/main.nf", "tests/foreign/nextflow.config"]
    for name, code in shown:
        assert code in (PROJECT / name).read_text(encoding="utf-8")
