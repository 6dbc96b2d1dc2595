"""The documents say something about everything that they promise to."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
OUTPUT = (DOCS / "output.md").read_text(encoding="utf-8")


def chapters() -> dict[str, str]:
    """Return what ``docs/output.md`` says, by verb."""
    parts = re.split(r"^## (\w+)$", OUTPUT, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def stages() -> dict[str, list[str]]:
    """Return the endings of the files each stage writes, by the table of ``docs/architecture.md``."""
    text = (DOCS / "architecture.md").read_text(encoding="utf-8")
    table = text.split("| stage | reads | writes |")[1].split("\n\n")[0]
    rows = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("|") and "---" not in line]
    return {
        row[0].strip(): re.findall(r"`(?:<\w+>)?\.?([\w.]+\.(?:h5ad|csv|tsv|png|pt|html))`", row[2]) for row in rows
    }


def test_stages_are_read_from_the_table():
    assert {"check", "ingest", "qc", "train", "report"} <= set(stages())
    assert "qc.png" in stages()["qc"]


@pytest.mark.parametrize("stage", [*stages(), "pipeline_info"])
def test_every_stage_has_a_chapter(stage):
    assert stage in chapters()


@pytest.mark.parametrize("stage", [stage for stage in stages() if stage not in ("check", "ingest")])
def test_every_published_file_of_a_stage_is_described(stage):
    for ending in stages()[stage]:
        assert re.search(rf"`{stage}/[^`]*{re.escape(ending)}`", chapters()[stage]), ending


@pytest.mark.parametrize("document", sorted(DOCS.glob("**/*.md")), ids=lambda path: path.name)
def test_links_between_documents_lead_somewhere(document):
    for path, anchor in re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", document.read_text(encoding="utf-8")):
        target = (document.parent / path) if path else document
        assert target.exists(), path
        if anchor:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
            assert anchor in anchors


def test_every_test_that_the_inputs_name_is_there():
    named = set(re.findall(r"(?<![\w/])(test_\w+|Test[A-Z]\w+)", (DOCS / "inputs.md").read_text(encoding="utf-8")))
    definition = re.compile(r"^(?:def|class|    def) (\w+)", re.MULTILINE)
    there = [
        name
        for path in (DOCS.parent / "tests/unit").glob("test_*.py")
        for name in (path.stem, *definition.findall(path.read_text(encoding="utf-8")))
    ]
    assert len(named) > 40
    # Names that go on with … are those of several tests.
    assert not [name for name in named if not any(other.startswith(name) for other in there)]
