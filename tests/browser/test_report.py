"""The report as a reader has it: overview, study and methods, at the widths of a desk and of a telephone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from biology import write_cohort
from browser.looking import COVERED, CROWDED, OVERFLOWING, OVERLAPPING, TABLES, assert_accessible, go, scroll_through
from report_page import run_command
from study_results import DIFFERENT, RESPONDING, SEVEN, sections_of_study, write_study

from mmsrl.page.cli import main as page
from mmsrl.report.cli import main

if TYPE_CHECKING:
    from browser.chromium import Browser

PARTS = ("overview", "methods", "provenance")

TTI = 3.0
"""Seconds until a report of many sections answers."""

MANY = 96


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of many sections: twelve, each under several names."""
    folder = tmp_path_factory.mktemp("cohort")
    lines, arguments = write_cohort(folder)
    for line in lines:
        run_command(page, line)
    sections = folder / "report/sections"
    for number in range(12, MANY):
        name, source = f"section-{number + 1}", f"section-{number % 12 + 1}"
        card = json.loads((sections / f"{source}.card.json").read_text(encoding="utf-8"))
        again = {"sample": name, "unit": f"donor-{number // 2 + 1}", "n_spots": 2000 + 7 * number % 100}
        (sections / f"{name}.card.json").write_text(json.dumps(card | again), encoding="utf-8")
        shutil.copy(sections / f"{source}.html", sections / f"{name}.html")
        arguments += ["--card", str(sections / f"{name}.card.json")]
    run_command(main, arguments)
    return folder / "report/mmsrl_report.html"


@pytest.fixture(scope="module", params=["two conditions", "three conditions, donors and units"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a study: 4 against 4 sections of one unit, or 3 against 3 and 3 sections of three units."""
    folder = tmp_path_factory.mktemp("study")
    paired = request.param != "two conditions"
    number, together = (9, 3) if paired else (8, 8)
    lines, arguments = write_cohort(folder, sections=number, side=12, together=together, domains=SEVEN)
    for line in lines:
        run_command(page, line)
    names = [f"section-{index + 1}" for index in range(number)]
    if paired:
        sections = sections_of_study(names, ("ctrl", "treated_6h", "treated_for_48h_high"), donors=3)
        for index, section in enumerate(sections.values()):
            section["unit"] = f"donor-{index // 3 + 1}"
    else:
        sections = sections_of_study(names, ("ctrl", "treated"), unit="donor-1")
    run_command(main, [*arguments, *write_study(folder, sections, genes=2500)])
    return folder / "report/mmsrl_report.html"


CHOICE = "document.querySelector('.page.current [data-role=choose]')"


def pick(browser: Browser, option: int) -> None:
    """Choose a volcano and wait until what is said of it has changed."""
    words = browser.evaluate(
        f"(() => {{ const choice = {CHOICE}; choice.selectedIndex = {option};"
        " choice.dispatchEvent(new Event('change'));"
        " return [choice.selectedOptions[0].textContent, choice.selectedOptions[0].parentElement.label]; })()"
    )
    domain = words[0].split(":")[0].split(",")[0]
    said = "document.querySelector('.page.current [data-said]').textContent"
    browser.until(f"{said}.startsWith('{domain}, {words[1]}: ')")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_part_is_clean(browser: Browser, html: Path, width: int) -> None:
    browser.open(html, width=width)
    for part in PARTS:
        go(browser, part)
        scroll_through(browser)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, part
        found = [fault for check in (OVERFLOWING, OVERLAPPING, CROWDED) for fault in browser.evaluate(check)]
        assert found == [], part
        assert browser.evaluate("document.querySelectorAll('.page.current').length") == 1
    assert browser.complaints() == []
    assert browser.requests() == [html.as_uri()]  # where there is no study no library of figures is read


@pytest.mark.parametrize("width", [1280, 390])
def test_study_is_clean(browser: Browser, study: Path, width: int) -> None:
    browser.open(study, width=width)
    go(browser, "study")
    scroll_through(browser)
    for option in range(browser.evaluate(f"{CHOICE}.options.length")):
        pick(browser, option)
        found = [fault for check in (OVERFLOWING, OVERLAPPING, COVERED) for fault in browser.evaluate(check)]
        assert found == [], option
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.complaints() == []
    assert browser.requests() == [study.as_uri(), (study.parent / "assets/plotly.min.js").as_uri()]


def test_volcano_follows_the_choice(browser: Browser, study: Path) -> None:
    browser.open(study, width=1280)
    go(browser, "study")
    scroll_through(browser)
    volcano = "document.querySelector('.page.current [data-figure=study-volcano]')"
    shown = browser.evaluate(f"{CHOICE}.selectedOptions[0].textContent")
    assert shown.startswith(f"Domain {DIFFERENT}") and not shown.endswith("none significant")
    drawn = f"{volcano}._fullData.slice(1, 3).flatMap((trace) => trace.text)"
    assert set(browser.evaluate(drawn)) >= set(RESPONDING)
    pick(browser, 0)
    browser.until(f"!{drawn}.includes('{RESPONDING[0]}')")
    assert browser.evaluate(f"{volcano}.ariaLabel").startswith("Domain 1, ")
    assert browser.evaluate(f"{volcano}._fullData.slice(0, 3).reduce((sum, {{ x }}) => sum + x.length, 0)") == 2000
    assert browser.complaints() == []


def test_genes_of_a_study_are_searched(browser: Browser, study: Path) -> None:
    browser.open(study, width=1280)
    go(browser, "study")
    scroll_through(browser)
    table = f"{TABLES}[0]"
    browser.evaluate(
        f"(() => {{ const box = {table}.querySelector('input'); box.value = '{RESPONDING[0]}';"
        " box.dispatchEvent(new Event('input')); })()"
    )
    found = browser.evaluate(f"[...{table}.querySelectorAll('tbody tr')].map((row) => row.innerText)")
    assert found and all(RESPONDING[0] in row for row in found)
    assert found[0].split()[0] == DIFFERENT and found[0].split()[-1] == "yes"
    swatch = f"getComputedStyle({table}.querySelector('tbody i')).backgroundColor"
    assert browser.evaluate(swatch) == "rgb(86, 180, 233)"  # of domain 5 in the rest of the report


def test_study_is_usable_by_screen_reader_and_prints(browser: Browser, study: Path) -> None:
    browser.open(study, width=740)  # A4 within a browser's usual margins
    go(browser, "study")
    scroll_through(browser)
    unlabelled = "[...document.querySelectorAll('#study :is(input, select)')].filter((c) => !c.labels.length).length"
    assert browser.evaluate(unlabelled) == 0
    unnamed = "[...document.querySelectorAll('#study :is(button, [role=region], [role=img])')]"
    assert browser.evaluate(f"{unnamed}.filter((part) => !part.ariaLabel && !part.textContent.trim()).length") == 0
    levels = browser.evaluate(
        "[...document.querySelectorAll('#study :is(h1, h2, h3)')].map((heading) => Number(heading.tagName[1]))"
    )
    assert levels[0] == 1 and all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        assert browser.evaluate("document.documentElement.scrollWidth") <= 740
        drawn = "[...document.querySelectorAll('#study svg.forest')].filter((mark) => mark.getClientRects().length)"
        assert browser.evaluate(f"{drawn}.length") >= len(SEVEN) - 1
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")


SHOWN = "[...document.querySelectorAll('.gallery figure:not([hidden])')].map((figure) => figure.dataset.section)"


def test_report_of_many_sections_answers_at_once(browser: Browser, cohort: Path) -> None:
    assert cohort.stat().st_size < 8e6
    browser.open(cohort, width=1280)
    # The report is there, its scripts have run, and a click is answered. Time of the processor: other work on the
    # machine does not count.
    go(browser, "methods")
    assert browser.seconds() < TTI
    go(browser, "overview")
    assert len(browser.evaluate(SHOWN)) == MANY
    groups = "[...document.querySelectorAll('.page.current h3')].map((heading) => heading.textContent)"
    assert browser.evaluate(groups) == [f"Group donor-{number}" for number in range(1, MANY // 2 + 1)]
    assert browser.requests() == [cohort.as_uri()]
    browser.follow("document.querySelector('.gallery [data-section=section-3] a')", "document.title === 'section-3'")
    browser.until("document.querySelectorAll('.tissue canvas').length > 0")
    browser.follow("document.querySelector('nav a')", "document.querySelector('#overview.current') !== null")
    assert browser.complaints() == []


@pytest.mark.parametrize("width", [1280, 390])
def test_many_sections_are_clean(browser: Browser, cohort: Path, width: int) -> None:
    browser.open(cohort, width=width)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate("document.querySelector('nav details').open") is (width > 1000)
    assert browser.evaluate("document.querySelectorAll('nav details a').length") == MANY


def test_sections_are_found_and_sorted(browser: Browser, cohort: Path) -> None:
    browser.open(cohort, width=1280)

    def enter(words: str) -> None:
        browser.evaluate(
            "(() => { const box = document.querySelector('[data-role=find]');"
            f" box.value = '{words}'; box.dispatchEvent(new Event('input')); }})()"
        )

    rows = "[...document.querySelectorAll('.sortable tbody tr:not([hidden])')].map((row) => row.dataset.section)"
    enter("DONOR-7 visium")
    assert browser.evaluate(SHOWN) == browser.evaluate(rows) == ["section-13", "section-14"]
    visible = "[...document.querySelectorAll('[data-role=group]:not([hidden]) h3')].map((head) => head.textContent)"
    assert browser.evaluate(visible) == ["Group donor-7"]
    assert browser.evaluate("document.querySelector('[data-role=found]').textContent") == "2 of 96 sections"
    enter("nothing like it")
    assert browser.evaluate(SHOWN) == []
    enter("")
    assert len(browser.evaluate(SHOWN)) == MANY

    head = "[...document.querySelectorAll('.sortable thead th')].find((head) => head.textContent === '{}')"
    spots = head.format("Spots")
    column = browser.evaluate(f"{spots}.cellIndex")
    cells = f"[...document.querySelectorAll('.sortable tbody tr')].map((row) => row.cells[{column}])"
    values = f"{cells}.map((cell) => Number(cell.dataset.value))"
    for way, sign in (("ascending", 1), ("descending", -1)):
        browser.evaluate(f"{spots}.querySelector('button').click()")
        assert browser.evaluate(f"{spots}.ariaSort") == way
        found = browser.evaluate(values)
        assert found == sorted(found, key=lambda value: sign * value) and len(set(found)) > 1
    browser.evaluate(f"{head.format('Section')}.querySelector('button').click()")  # numbers as numbers
    assert browser.evaluate(rows)[:3] == ["section-1", "section-2", "section-3"]
    assert browser.complaints() == []


def test_is_usable_by_keyboard_and_screen_reader(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "methods")
    assert browser.evaluate("document.activeElement.textContent") == "Methods"  # the new part is announced
    assert browser.evaluate("document.querySelector('nav [aria-current=page]').hash") == "#methods"
    go(browser, "overview")
    assert_accessible(browser)


def test_prints_every_part(browser: Browser, html: Path) -> None:
    browser.open(html, width=740)  # A4 within a browser's usual margins
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "[...document.querySelectorAll('{}')].filter((element) => element.getClientRects().length).length"
        assert browser.evaluate(visible.format(".page")) == len(PARTS)
        assert browser.evaluate(visible.format(".gallery img")) == 3
        assert browser.evaluate(visible.format("nav, .finder")) == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 740
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
