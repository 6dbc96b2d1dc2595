"""The report: overview of all sections, methods, manifest."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from report_page import Page, Report, make_report, run_command

from mmsrl.page.cli import main as page
from mmsrl.report.cards import address
from mmsrl.report.cli import main
from mmsrl.report.methods import REFERENCES, paragraphs

if TYPE_CHECKING:
    from conftest import SmallRun


@pytest.fixture(scope="module")
def made(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """A report that tests only read."""
    return make_report(template_assembled.copy(tmp_path_factory.mktemp("report")))


def warnings_of(report: Report) -> str:
    """Return the text of the list of warnings."""
    (section,) = re.findall(r"<h2>Warnings</h2>.*?</section>", report.html, flags=re.DOTALL)
    return Page(section).text


def test_cards_show_size_domains_and_warnings(made: Report) -> None:
    cards = dict(re.findall(r'<figure data-section="(\w+)">(.*?)</figure>', made.html, flags=re.DOTALL))
    text = {name: Page(card).text for name, card in cards.items()}
    assert "120 spots, 3 domains, ARI 0.62" in text["S1"] and "genes of pair were intersected" in text["S1"]
    # The domains of a group stand above its sections, those of a single section on its card.
    assert 'class="profiles"' not in cards["S1"] and 'class="profiles"' in cards["lone"]


def test_overview_says_what_happened(made: Report) -> None:
    text = made.overview.text
    for words in ("3 sections", "234 spots", "ARI 0.62", "no image features: there is no image"):
        assert words in text
    assert warnings_of(made).count("genes of pair were intersected") == 1


def test_report_loads_nothing_but_what_lies_beside_it(made: Report) -> None:
    pages = {f"sections/{name}.html" for name in ("S1", "S2", "lone")}
    links = {link for link in made.overview.links if not link.startswith(("data:", "#"))}
    assert links == pages and all((made.folder / link).exists() for link in links)
    # Without a study there is no figure to draw: nothing refers to the library but what would load it.
    assert "<script src" not in made.html and not made.overview.payloads


def test_sections_lead_to_each_other(made: Report) -> None:
    script = (made.folder / "assets/sections.js").read_text(encoding="utf-8")
    listed = json.loads(script.removeprefix("window.mmsrlReport = ").removesuffix(";\n"))
    assert [section["name"] for section in listed["sections"]] == ["S1", "S2", "lone"]
    assert [section["warnings"] for section in listed["sections"]] == [1, 1, 2]
    assert listed["study"] is False


def test_a_warning_of_many_sections_is_said_once(assembled_run: SmallRun) -> None:
    for sample in ("S1", "S2"):
        path = assembled_run.folder / f"{sample}.features.json"
        summary = json.loads(path.read_text())
        summary["messages"] = [{"level": "warning", "text": "no image features: there is no image"}]
        path.write_text(json.dumps(summary))
    report = make_report(assembled_run)
    assert warnings_of(report).count("no image features: there is no image") == 1
    assert "S1, S2, lone, Image features:" in warnings_of(report)
    assert report.html.count('<span class="flag">Image features</span>') == 3


def test_names_are_escaped_in_links() -> None:
    assert address('a b#1?&"<é>') == "sections/a%20b%231%3F%26%22%3C%C3%A9%3E.html"


def test_a_section_without_a_page_is_missed_and_keeps_its_place_in_the_manifest(assembled_run: SmallRun) -> None:
    samples = [{"sample": name, "unit": "pair", "labelled": False} for name in ("S1", "S2")]
    asked = {"samples": [*samples, {"sample": "lone", "unit": "lone", "labelled": False}]}
    asked["failures"] = [{"stage": "figures", "id": "lone", "exit": "137", "message": "Killed"}]
    path = assembled_run.folder / "asked.json"
    path.write_text(json.dumps(asked))
    run_command(page, assembled_run.page_arguments("pair"))
    run_command(main, [*assembled_run.report_arguments(), "--asked", str(path)])
    report = Report(assembled_run.report, "")
    assert "lone has no page and no figures: their task failed: Killed" in report.overview.text
    assert [entry["sample"] for entry in report.manifest["samples"]] == ["S1", "S2", "lone"]
    assert [(entry["sample"], entry["stage"]) for entry in report.manifest["missing"]] == [("lone", "figures")]
    assert "sections/lone.html" not in report.html


def test_report_is_written_where_no_section_has_a_page(assembled_run: SmallRun) -> None:
    run_command(main, assembled_run.report_arguments())
    report = Report(assembled_run.report, "")
    assert "0 sections" in report.overview.text and "Methods" in report.overview.text
    assert [entry["sample"] for entry in report.manifest["samples"]] == ["S1", "S2", "lone"]


@pytest.mark.parametrize("content", ["[]", "{}", '{"sample": "S1"}'])
def test_other_files_are_no_cards(tmp_path: Path, content: str) -> None:
    (tmp_path / "S1.card.json").write_text(content)
    result = CliRunner().invoke(main, ["--card", str(tmp_path / "S1.card.json"), "--output-dir", str(tmp_path)])
    assert result.exit_code == 2 and "S1.card.json: not the card of a section" in result.output
    assert not list(tmp_path.glob("*.html"))


def test_two_cards_of_a_section_are_refused(made: Report, tmp_path: Path) -> None:
    card = str(made.folder / "sections/S1.card.json")
    result = CliRunner().invoke(main, ["--card", card, "--card", card, "--output-dir", str(tmp_path)])
    assert result.exit_code == 2 and "S1.card.json: second card of sample S1" in result.output


def test_what_comes_from_outside_is_escaped(made: Report) -> None:
    # Were it not escaped, the parser would take it for a script and not for text.
    assert "<script>alert(1)</script>" in made.overview.text


def test_manifest_tells_how_to_repeat_the_run(made: Report) -> None:
    manifest = made.manifest
    assert manifest["parameters"]["preset"] == "default"
    assert manifest["seeds"] == {"domains lone": 0, "domains pair": 0, "train lone": 7, "train pair": 7}
    assert manifest["versions"]["packages"] == {"plotly": "6.0.0", "python": "3.11.7", "torch": "2.4.0"}
    assert [entry["sample"] for entry in manifest["samples"]] == ["S1", "S2", "lone"]
    image = {"file": "hires", "sha256": "ef" * 32, "weights": {"net": "cd" * 32}}
    assert [entry["image"] for entry in manifest["samples"]] == [image, image, None]
    assert manifest["samples"][0]["inputs"] == [{"file": "counts.h5", "bytes": 3, "sha256": "ab" * 32}]


def test_same_input_gives_the_same_bytes(assembled_run: SmallRun) -> None:
    def written() -> dict[str, bytes]:
        folder = make_report(assembled_run).folder
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    assert written() == written()


def test_report_and_page_of_an_assembled_sample_alone(assembled_run: SmallRun) -> None:
    path, folder = str(assembled_run.folder / "lone.mmsrl.h5ad"), assembled_run.report
    run_command(page, ["--id", "lone", "--assembled", path, "--output-dir", str(folder / "sections")])
    run_command(main, ["--card", str(folder / "sections/lone.card.json"), "--output-dir", str(folder)])
    report = Report(folder, "")
    assert "There is no training log." in report.page("lone").text
    assert "Warnings There are no warnings." in " ".join(report.overview.text.split())


@pytest.mark.parametrize(
    ("option", "content", "message"),
    [
        ("--summaries", "{", "line 1: not JSON"),
        ("--summaries", "[]", "not the summary of a stage"),
        ("--versions", "python: 3", "expected a mapping of tools to versions"),
    ],
)
def test_broken_files_are_named(assembled_run: SmallRun, option: str, content: str, message: str) -> None:
    broken = assembled_run.folder / "broken"
    broken.write_text(content)
    result = CliRunner().invoke(main, [*assembled_run.report_arguments(), option, str(broken)])
    assert result.exit_code == 2
    assert "broken: " in result.output
    assert message in result.output


@pytest.mark.parametrize(("preset", "words"), [("mmsrl", "published MMSRL model"), ("stmmr", "published stMMR model")])
def test_methods_name_the_model_and_cite_only_used_references(preset: str, words: str) -> None:
    result = {"samples": {"a": 9}, "n_genes": 9}
    train = {"stage": "train", "id": "a", "parameters": {"preset": preset, "seed": 3}, "result": result}
    steps = paragraphs([train])
    assert words in steps[0].text
    assert "seed 3" in steps[0].text
    cited = {name for step in steps for name in step.cites}
    assert cited <= set(REFERENCES)
    assert "harmony" not in cited
    assert "Leiden" not in cited


def test_methods_tell_of_a_test_only_where_there_was_one() -> None:
    tested, untested = ({"stage": "markers", "id": "a", "result": {"found_anew": anew}} for anew in (True, False))
    assert "not tested" not in paragraphs([tested])[0].text and "score test" in paragraphs([tested])[0].text
    assert "limma" not in paragraphs([tested])[0].text
    over = paragraphs([tested | {"result": {"found_anew": True, "pseudobulk": {"sections": 4, "domains": ["1"]}}}])[0]
    assert "enough sections (4 or more)" in over.text and "limma" in over.cites
    assert "not tested" in paragraphs([untested])[0].text and "score test" not in paragraphs([untested])[0].text
