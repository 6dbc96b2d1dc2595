"""The study page: what the comparison of conditions comes to, in words, tables and figures."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from report_page import Page, make_report
from study_results import DIFFERENT, GROWN, RESPONDING, SEVEN, UNTESTED, sections_of_study, write_study

from mmsrl._palette import domain_colors
from mmsrl.page.charts import LOSES
from mmsrl.page.stages import reference_shares
from mmsrl.page.words import probability
from mmsrl.report.cli import main
from mmsrl.report.methods import paragraphs
from mmsrl.report.study_charts import (
    MOST_LABELS,
    REST,
    composition_bars,
    condition_strip,
    drawn_points,
    forest,
    volcano,
)

if TYPE_CHECKING:
    from conftest import SmallRun

EIGHT = ("S1", "S2", *(f"s{number}" for number in range(3, 9)))


def make(run: SmallRun, arguments: list[str]) -> tuple[str, Page]:
    html = make_report(run, *arguments).html
    return html, Page(html)


def study_of(html: str) -> str:
    """Return the text of the study page alone."""
    (section,) = re.findall(r'<section class="page" id="study".*?</section>', html, flags=re.DOTALL)
    return Page(section).text


def summary_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "study.compare.json").read_text())


Made = tuple["SmallRun", str, Page]


@pytest.fixture(scope="module")
def made(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report with a study of 4 against 4 sections, two of which are in the report; tests only read it."""
    run = template_assembled.copy(tmp_path_factory.mktemp("study"))
    sections = sections_of_study(EIGHT, ("ctrl", "treated"), unit="pair")
    sections["S1"]["covariates"] = {"sex": "<script>alert(1)</script>"}
    html, page = make(run, write_study(run.folder, sections, genes=700))
    return run, html, page


@pytest.fixture(scope="module")
def three(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A report with a study of three conditions, donors and two units."""
    run = template_assembled.copy(tmp_path_factory.mktemp("three"))
    names = ("S1", "S2", "lone", *(f"s{number}" for number in range(4, 10)))
    sections = sections_of_study(names, ("ctrl", "low", "high"), unit="pair", donors=3)
    for name in ("lone", "s4", "s5"):
        sections[name]["unit"] = "lone"
    html, page = make(run, write_study(run.folder, sections))
    return run, html, page


def test_there_is_no_page_where_nothing_was_compared(assembled_run: SmallRun) -> None:
    html, page = make(assembled_run, [])
    assert 'id="study"' not in html and "#study" not in page.links
    assert not (assembled_run.report / "mmsrl_composition_mqc.json").exists()


def test_the_page_comes_first_after_the_overview(made: Made) -> None:
    assert re.findall(r'<section class="page" id="([\w-]+)"', made[1])[:3] == ["overview", "study", "methods"]
    assert [link for link in made[2].links if link.startswith("#")][1:3] == ["#overview", "#study"]
    assert '"study": true' in (made[0].report / "assets/sections.js").read_text()


def test_model_and_meaning_of_p_values_are_said(made: Made) -> None:
    text = study_of(made[1])
    assert "8 sections: treated compared with ctrl, the control." in text
    assert "~ sex + condition" in text and "4 treated vs 4 ctrl" in text and "7, numbered as in pair" in text
    assert "Sections are the replicates." in text and "no donors were given" in text


def test_paired_donors_are_said(three: Made) -> None:
    text = study_of(three[1])
    assert "Donors are the replicates" in text and "compared with themselves" in text
    assert "donors, paired by donor" in text and "no donors were given" not in text


def test_sections_are_sorted_by_condition_and_lead_to_their_pages(made: Made) -> None:
    html = made[1]
    (table,) = re.findall(r'aria-label="Sections by condition".*?</table>', html, flags=re.DOTALL)
    assert re.findall(r'<th scope="row" class="name">(?:<a [^>]*>)?([^<]+)<', table) == list(EIGHT)
    assert re.findall(r'href="([^"]+)"', table) == ["sections/S1.html", "sections/S2.html"]  # no page of s3
    # Were it not escaped, the parser would take it for a script and not for text.
    assert "<script>alert(1)</script>" in Page(table).text


def test_flagged_sections_are_named_with_the_others_range(made: Made) -> None:
    values = summary_of(made[0].folder)["result"]["quality"]["Median counts"]
    others = [value for name, value in values.items() if name != "s8"]
    words = f"s8 is flagged: median counts 1,310 (others: {min(others):,.0f} to {max(others):,.0f}); median genes 905"
    assert words in study_of(made[1])
    assert "differs 1.5-fold or more" in study_of(made[1])
    figure = made[2].payloads["study-quality-2"]["data"][0]
    assert [name for name in figure["text"] if name] == ["s8"]


def test_a_missing_metric_is_a_dash(made: Made) -> None:
    (table,) = re.findall(r'aria-label="Quality of all sections".*?</table>', made[1], flags=re.DOTALL)
    (row,) = re.findall(r">S1</th>(.*?)</tr>", table)
    assert re.findall(r"<td[^>]*>(–)?", row)[1:] == ["", "", "", "–", "–"]  # the last: not flagged
    assert "S1" not in made[2].payloads["study-quality-4"]["data"][0]["customdata"]


def test_composition_is_said_drawn_and_tested(made: Made) -> None:
    run, html, page = made
    text = study_of(html)
    row = next(row for row in summary_of(run.folder)["result"]["composition"] if row["domain"] == GROWN)
    shares = " → ".join(f"{100 * row[name]:.1f} %" for name in ("share_control", "share_condition"))
    assert f"Domain {GROWN} is larger in treated, {shares}" in text
    bars = page.payloads["study-composition"]
    assert [trace["name"] for trace in bars["data"]] == list(SEVEN)
    assert [note["text"] for note in bars["layout"]["annotations"]] == ["<b>ctrl</b> (control)", "<b>treated</b>"]
    (table,) = re.findall(r'aria-label="Shares of domains compared.*?</table>', html, flags=re.DOTALL)
    assert table.count('<svg class="forest"') == len(SEVEN) - 1  # one has no odds ratio
    assert re.search(rf"{UNTESTED} [\d.]+ % [\d.]+ % – – – –", " ".join(re.sub("<[^>]+>", " ", table).split()))


def test_domains_have_the_colours_of_the_rest_of_the_report(made: Made, tmp_path: Path) -> None:
    # The unit in the report has three domains, the study's seven: they are not of this unit.
    colors = {trace["name"]: trace["marker"]["color"] for trace in made[2].payloads["study-composition"]["data"]}
    assert colors == domain_colors(SEVEN)
    run = made[0].copy(tmp_path)
    path = run.folder / "S1.mmsrl.h5ad"
    adata = ad.read_h5ad(path)
    adata.uns["domain_colors"] = ["#AA0000", "#00AA00", "#0000AA"]
    adata.write_h5ad(path)
    (run.folder / "S2.mmsrl.h5ad").unlink()
    (run.report / "sections/S2.card.json").unlink()
    summary = summary_of(run.folder)
    summary["result"]["domains"] = ["1", "2", "10"]
    (run.folder / "study.compare.json").write_text(json.dumps(summary))
    bars = make(run, [])[1].payloads["study-composition"]["data"]
    assert [trace["marker"]["color"] for trace in bars[:3]] == ["#AA0000", "#00AA00", "#0000AA"]


def test_what_was_not_tested_has_a_reason(made: Made) -> None:
    assert "Not tested: 1 of the replicates of treated has enough, 2 are needed (<10 spots)" in study_of(made[1])


def test_genes_are_listed_most_significant_first_and_not_without_end(made: Made) -> None:
    run, html, page = made
    cells = {column["title"]: column["cells"] for column in page.payloads["study-genes"]}
    assert "Condition" not in cells
    assert len(cells["Gene"]) == 6 * 500
    assert "The table lists the 500 most significant genes of each domain" in study_of(html)
    assert set(cells["Gene"][:10]) <= set(RESPONDING) and cells["Domain"][:10] == [DIFFERENT] * 10
    assert cells["p"] == sorted(cells["p"])
    table = pd.read_csv(run.folder / "study.expression.tsv", sep="\t")
    assert sum(cells["Significant"]) == (table["p_adjusted"] < 0.05).sum()


def test_volcanoes_hold_what_can_be_chosen(made: Made) -> None:
    run, html, page = made
    choices = page.payloads["study-volcano-choice"]
    assert len(choices) == len(SEVEN) - 1
    options = re.findall(r'<option value="(\d)"( selected)?>(Domain \d): ([^<]+)</option>', html)
    assert [option[2] for option in options] == [f"Domain {name}" for name in SEVEN[:-1]]
    (chosen,) = [option for option in options if option[1]]
    assert chosen[2] == f"Domain {DIFFERENT}"
    figure = choices[int(chosen[0])]["figure"]
    assert figure == page.payloads["study-volcano"]
    assert f"Domain {DIFFERENT}, treated over ctrl: of 699 tested genes" in choices[int(chosen[0])]["words"]
    # One gene has no p-value.
    assert sum(len(trace["x"]) for trace in figure["data"][:3]) == 699
    assert set(RESPONDING) <= {gene for trace in figure["data"][1:3] for gene in trace["text"]}


def test_several_conditions_are_told_apart(three: Made) -> None:
    _, html, page = three
    cells = {column["title"]: column["cells"] for column in page.payloads["study-genes"]}
    assert set(cells["Condition"]) == {"low", "high"}
    assert re.findall(r'<optgroup label="(\w+) over ctrl">', html) == ["low", "high"]
    assert f"Domain {DIFFERENT}, high:" in html
    assert {column["title"] for column in page.payloads["study-gene-sets"]} >= {"Condition", "Direction"}


def test_paired_domains_stand_beside_those_of_the_reference_unit(three: Made) -> None:
    run, html, _ = three
    (table,) = re.findall(r'aria-label="Domains of each unit matched.*?</table>', html, flags=re.DOTALL)
    cells = re.findall(r"<td[^>]*>([^<]*)</td>", table)
    for match in summary_of(run.folder)["result"]["matches"]:
        if match["matched"]:
            assert cells[SEVEN.index(match["matched"])].startswith(f"{match['domain']} (")
        else:
            assert cells[-1] == match["domain"]
    assert "numbers and colours of their own unit" in study_of(html)


def test_gene_sets_are_packed_with_their_direction(made: Made) -> None:
    cells = {column["title"]: column["cells"] for column in made[2].payloads["study-gene-sets"]}
    assert set(cells["Direction"]) == {"up", "down"}
    assert set(cells["Gene set"]) == {"HALLMARK_INTERFERON_GAMMA_RESPONSE", "<myelination>", "HALLMARK_HYPOXIA"}
    assert cells["Changed genes by name"][0] == ", ".join(RESPONDING[:5])


def test_messages_are_shown_and_lead_from_the_overview(made: Made) -> None:
    assert "is an outlier: median counts 1.31e+03, median of all <6.2e+03>" in study_of(made[1])
    (overview,) = re.findall(r'<section class="page" id="overview".*?</section>', made[1], flags=re.DOTALL)
    assert '<a href="#study">study</a>, Comparison of conditions:' in overview


def test_a_study_in_which_nothing_could_be_tested_is_a_page_too(assembled_run: SmallRun) -> None:
    folder = assembled_run.folder
    write_study(folder, sections_of_study(EIGHT, ("ctrl", "treated")), genes=60)
    summary = summary_of(folder)
    result = summary["result"]
    nothing = dict.fromkeys(("odds_ratio", "low", "high", "p_value", "p_adjusted", "share_condition"))
    result["composition"] = [row | nothing for row in result["composition"]]
    untested = {
        "n_condition": 0,
        "n_control": 0,
        "n_tested": 0,
        "n_up": 0,
        "n_down": 0,
        "top": [],
        "why": "no <counts>",
    }
    result["expression"] = [row | untested for row in result["expression"]]
    result |= {"model": "", "quality": {"Median counts": dict.fromkeys(EIGHT)}, "matches": []}
    for section in result["sections"]:
        section["outlier"] = []
        section["shares"][SEVEN[0]] = None
    (folder / "study.compare.json").write_text(json.dumps(summary))
    columns = pd.read_csv(folder / "study.expression.tsv", sep="\t").columns
    pd.DataFrame(columns=columns).to_csv(folder / "study.expression.tsv", sep="\t", index=False)
    html, page = make(assembled_run, ["--comparison", str(folder / "study.expression.tsv")])
    text = study_of(html)
    assert "No share was tested." in text and text.count("Not tested: no <counts>") == len(SEVEN)
    assert not [id for id in page.payloads if id.startswith(("study-volcano", "study-genes", "study-quality"))]
    assert page.payloads["study-composition"]["data"][-1]["marker"]["color"] == REST


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("study.other.tsv", "a\tb\n", "study.other.tsv is not a table of mmsrl-compare"),
        ("study.expression.tsv", "domain\tgene\n1\tA\n", "no column condition"),
    ],
)
def test_other_tables_are_refused(assembled_run: SmallRun, name: str, content: str, message: str) -> None:
    path = assembled_run.folder / name
    path.write_text(content)
    result = CliRunner().invoke(main, [*assembled_run.report_arguments(), "--comparison", str(path)])
    assert result.exit_code == 2 and message in result.output


def test_methods_tell_of_the_tests_that_were_made(made: Made) -> None:
    summary = summary_of(made[0].folder)
    (step, _) = paragraphs([summary])
    assert "The condition treated was compared with ctrl" in step.text and "~ sex + condition" in step.text
    assert "voom" in step.cites and "propeller" in step.cites and "paired" not in step.text
    for row in summary["result"]["expression"]:
        row["n_tested"] = 0
    assert not {"limma", "voom"} & set(paragraphs([summary])[0].cites)


def test_multiqc_gets_the_composition(made: Made) -> None:
    content = json.loads((made[0].report / "mmsrl_composition_mqc.json").read_text())
    assert list(content["data"]) == [f"Domain {name}, treated" for name in SEVEN]
    row = next(row for row in summary_of(made[0].folder)["result"]["composition"] if row["domain"] == GROWN)
    assert content["data"][f"Domain {GROWN}, treated"]["odds_ratio"] == row["odds_ratio"]
    assert content["data"][f"Domain {UNTESTED}, treated"].keys() == {"share_condition", "share_control"}


def test_shares_of_a_reference_are_shown_of_the_mapped_section_alone(assembled_run: SmallRun) -> None:
    result = {
        "reference": "atlas",
        "n_genes": 18,
        "genes_of_model": 20,
        "domains": {"10": 6, "2": 30},
        "unlike": 84,
        "median_confidence": 0.8125,
    }
    summary = {"stage": "map", "id": "S1", "parameters": {}, "messages": [], "result": result}
    path = assembled_run.folder / "S1.map.json"
    path.write_text(json.dumps(summary))
    report = make_report(assembled_run)
    html = report.source("S1")
    assert "Domains of the reference</h2>" not in report.source("S2")
    (section,) = re.findall(r"Domains of the reference</h2>.*?</table>", html, flags=re.DOTALL)
    text = " ".join(Page(section).text.split())
    assert "has 18 of the 20 genes of the reference model. The median confidence is 0.81" in text
    assert "Most of the section is unlike every domain of the reference" in text
    assert re.search(r"2 ?30 ?25.0 % ?10 ?6 ?5.0 % ?unlike every domain ?84 ?70.0 %", text)


def test_a_section_that_is_like_the_reference_is_not_warned_of() -> None:
    facts = {"reference": "atlas", "n_genes": 1, "genes_of_model": 1, "median_confidence": None}
    shares = reference_shares(facts | {"domains": {"1": 3}, "unlike": 1})
    assert shares is not None and shares["unlike"]["share"] == 0.25
    assert reference_shares({}) is None


def genes_of(n: int, significant: int, *, x: Any = None) -> pd.DataFrame:
    p = np.concatenate([np.geomspace(1e-30, 1e-9, significant), np.linspace(0.1, 1, n - significant)])
    adjusted = np.where(np.arange(n) < significant, 1e-6, 0.9)
    change = np.linspace(-2, 2, n) if x is None else x
    names = [f"gene{index}" for index in range(n)]
    return pd.DataFrame({"gene": names, "log2_fold_change": change, "p_value": p, "p_adjusted": adjusted})


def test_significant_genes_are_drawn_before_all_others() -> None:
    drawn = drawn_points(genes_of(1000, 40), most=100)
    assert len(drawn) == 100 and drawn["gene"].tolist()[:40] == [f"gene{index}" for index in range(40)]
    # The others are spread over all of them, the last one among them.
    others = drawn.index[40:]
    assert others[0] == 40 and others[-1] == 999 and np.diff(others).max() <= 18
    assert len(drawn_points(genes_of(1000, 300), most=100)) == 100
    assert len(drawn_points(genes_of(30, 3), most=100)) == 30


def test_names_of_genes_are_few_and_apart() -> None:
    crowd = volcano(genes_of(40, 30, x=np.full(40, 1.5)), "ctrl").data[3]
    assert 1 <= len(crowd.text) <= MOST_LABELS
    assert crowd.text[0] == "gene0"
    assert np.diff(sorted(crowd.y)).min() > 0.04 * max(crowd.y)
    assert len(volcano(genes_of(40, 0), "ctrl").data[3].text) == 0
    assert "bottom center" not in volcano(genes_of(9, 1), "ctrl").data[3].textposition


def test_a_p_value_of_zero_can_be_drawn() -> None:
    table = genes_of(3, 1)
    table.loc[0, "p_value"] = 0.0
    figure = volcano(table, "ctrl")
    assert figure.data[2].name == "lower" and figure.data[2].y == (300.0,)


def test_odds_ratios_share_a_logarithmic_axis() -> None:
    placed = forest([(0.5, 1.0, 2.0), (None, None, None), (1.0, 2.0, 3.9)])
    assert placed.limit == 4
    assert placed.marks[0] == (0.25, 0.5, 0.75) and placed.marks[1] is None
    assert placed.marks[2] is not None and placed.marks[2][2] < 1
    far = forest([(1e-9, 0.001, 1e9)])
    assert far.limit == 32 and far.marks[0] == (0, 0, 1)
    assert forest([]).limit == 2


def test_strips_name_the_flagged_and_hide_no_equal_value() -> None:
    figure = condition_strip({"a": 5.0, "b": 5.0, "c": 1.0}, {"x": ["a", "b"], "y": ["c", "d"]}, {"c"})
    (points,) = figure.data
    assert points.customdata == ("a", "b", "c") and points.text == ("", "", "c")
    assert points.y[0] != points.y[1]
    assert points.marker.color[2] == LOSES != points.marker.color[0]


def test_spots_without_a_counterpart_are_drawn_in_grey() -> None:
    sections = [
        {"sample": "a", "condition": "x", "n_spots": 10, "shares": {"1": 0.5, "2": 0.5}},
        {"sample": "b", "condition": "y", "n_spots": 10, "shares": {"1": 0.75, "2": None}},
    ]
    colors = {"1": "#000000", "2": "#ffffff"}
    figure = composition_bars(sections, {"x": "x", "y": "y"}, ["1", "2"], colors)
    assert [trace.x for trace in figure.data] == [(50, 75), (50, 0), (0, 25)]
    assert figure.data[2].marker.color == REST
    assert len(composition_bars(sections[:1], {"x": "x"}, ["1", "2"], colors).data) == 2


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (float("nan"), "–"), (0.0123, "0.012"), (3.4e-7, "3.4e−7"), (1e-12, "1.0e−12")]
)
def test_p_values_are_written_as_in_the_tables(value: float | None, text: str) -> None:
    assert probability(value) == text


def test_methods_name_the_reference_that_sections_were_mapped_onto() -> None:
    mapped = {"stage": "map", "id": "S1", "parameters": {}, "messages": [], "result": {"reference": "atlas"}}
    steps = {step.title: step.text for step in paragraphs([mapped, mapped | {"id": "S2"}])}
    assert "labelled with the domains of atlas, without training" in steps["Mapping onto a reference"]
