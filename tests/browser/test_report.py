"""The report as a reader has it: every control used in a real browser, at the widths of a desk and of a telephone."""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from biology import (
    DIFFERENT,
    GAINING,
    LOSING,
    RESPONDING,
    SEVEN,
    add_to_assembled,
    sections_of_study,
    write_cohort,
    write_findings,
    write_study,
)
from click.testing import CliRunner

from mmsrl.assemble.cli import main as assemble
from mmsrl.report.cli import main

if TYPE_CHECKING:
    from conftest import Browser, SmallRun

PAGES = ("overview", "sample-1-S1", "sample-2-S2", "sample-3-lone", "methods", "provenance")
FIGURE = "document.querySelector('.page.current .panel:first-child .plot')"
BESIDE = "document.querySelector('.page.current .panel:last-child .plot')"
TABLES = "[...document.querySelectorAll('.page.current [data-table]')]"

TTI = 3.0
"""Seconds until a report of 12 sections answers."""

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/bench_report.py"))

DRAWN = 5.0
"""Seconds until a section of 100,000 cells is drawn; it took 1.4 (docs/performance.md)."""

# Elements that reach over the right edge of the window, but for what scrolls in a box of its own.
OVERFLOWING = """
[...document.querySelectorAll('.page.current *, .top *')]
  .filter((element) => !element.closest('.scroll, svg, .hidden, .skip') && element.getClientRects().length)
  .filter((element) => element.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
  .map((element) => element.outerHTML.slice(0, 80))
"""

# Blocks of a page that lie on one another.
OVERLAPPING = """
(() => {
  const blocks = [...document.querySelectorAll(
    '.page.current > *, .page.current :is(.tissue, .panels, .controls, .gallery, .charts, .trio, .table, .legend) > *')]
    .filter((element) => element.getClientRects().length && element.tagName !== 'SCRIPT' && !element.closest('svg'));
  const found = [];
  for (const [index, one] of blocks.entries())
    for (const other of blocks.slice(index + 1)) {
      if (one.contains(other) || other.contains(one)) continue;
      const [a, b] = [one.getBoundingClientRect(), other.getBoundingClientRect()];
      const across = Math.min(a.right, b.right) - Math.max(a.left, b.left);
      const down = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
      if (across > 1 && down > 1) found.push(`${one.outerHTML.slice(0, 60)} on ${other.outerHTML.slice(0, 60)}`);
    }
  return found;
})()
"""

# Words in figures that lie on one another, or reach out of the figure.
CROWDED = """
[...document.querySelectorAll('.page.current [data-figure]')].flatMap((plot) => {
  const frame = plot.getBoundingClientRect();
  const words = [...plot.querySelectorAll('.xtitle, .ytitle, .legendtext, .xtick text, .ytick text, .cbtitle text')]
    .filter((word) => word.textContent)
    .map((word) => [word.textContent, word.getBoundingClientRect()]);
  const found = words
    .filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
      || box.top < frame.top - 1 || box.bottom > frame.bottom + 1)
    .map(([text]) => `${plot.dataset.figure}: ${text} reaches out`);
  for (const [index, [one, a]] of words.entries())
    for (const [other, b] of words.slice(index + 1))
      if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 2
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 4)
        found.push(`${plot.dataset.figure}: ${one} on ${other}`);
  return found;
})
"""


@pytest.fixture(scope="module")
def html(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = template_assembled.copy(tmp_path_factory.mktemp("browser"))
    for sample in ("S1", "S2"):
        add_to_assembled(run.folder / f"{sample}.mmsrl.h5ad")
    write_findings(run.folder, "pair", ("S1", "S2"))
    result = CliRunner().invoke(main, [*run.report_arguments(), "--report-genes", "G0,G19"])
    assert result.exit_code == 0, result.output
    return run.folder / "mmsrl_report.html"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    result = CliRunner().invoke(main, write_cohort(folder))
    assert result.exit_code == 0, result.output
    return folder / "mmsrl_report.html"


@pytest.fixture(scope="module", params=["two conditions", "three conditions, donors and units"])
def study(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with a study: 4 against 4 sections of one unit, or 3 against 3 and 3 sections of three units."""
    folder = tmp_path_factory.mktemp("study")
    paired = request.param != "two conditions"
    number, together = (9, 3) if paired else (8, 8)
    arguments = write_cohort(folder, sections=number, side=12, together=together, domains=SEVEN)
    names = [f"section-{index + 1}" for index in range(number)]
    if paired:
        sections = sections_of_study(names, ("ctrl", "treated_6h", "treated_for_48h_high"), donors=3)
        for index, section in enumerate(sections.values()):
            section["unit"] = f"donor-{index // 3 + 1}"
    else:
        sections = sections_of_study(names, ("ctrl", "treated"), unit="donor-1")
    result = CliRunner().invoke(main, [*arguments, *write_study(folder, sections, genes=2500)])
    assert result.exit_code == 0, result.output
    return folder / "mmsrl_report.html"


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one section of 100,000 cells."""
    folder = tmp_path_factory.mktemp("many")
    BENCH["write_stages"](folder, 100_000, 20, outlined=False)
    lines = BENCH["commands"](folder, outlined=False, spatialdata=False)
    for command, name in ((assemble, "assemble"), (main, "report")):
        result = CliRunner().invoke(command, lines[name][1:])
        assert result.exit_code == 0, result.output
    return folder / "mmsrl_report.html"


def go(browser: Browser, page: str) -> None:
    browser.evaluate(f"document.querySelector('nav a[href=\"#{page}\"]').click()")
    browser.until(f"document.getElementById('{page}').classList.contains('current')")
    if page.startswith("sample"):
        browser.until(f"{FIGURE}._fullData !== undefined")


def scroll_through(browser: Browser) -> None:
    """Bring every figure and table of the page into view, as reading does, and wait until all are there."""
    waiting = (
        "document.querySelectorAll('.page.current :is([data-figure]:not(.js-plotly-plot), [data-table]:not(.filled))')"
    )
    browser.until(f"[...{waiting}].forEach((element) => element.scrollIntoView()) ?? !{waiting}.length")


def choose(browser: Browser, value: str) -> None:
    browser.evaluate(
        "(() => { const choice = document.querySelector('.page.current [data-role=colour]');"
        f" choice.value = '{value}'; choice.dispatchEvent(new Event('change')); }})()"
    )


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


def click(browser: Browser, role: str) -> None:
    browser.evaluate(f"document.querySelector('.page.current [data-role={role}]').click()")


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_clean(browser: Browser, html: Path, width: int) -> None:
    browser.open(html, width=width)
    for page in PAGES:
        go(browser, page)
        if page == "sample-1-S1":
            choose(browser, f"gene:{GAINING}")
        scroll_through(browser)
        found = []
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, page
        for fault in (OVERFLOWING, OVERLAPPING, CROWDED):
            found += browser.evaluate(fault)
        assert found == [], page
        assert browser.evaluate("document.querySelectorAll('.page.current').length") == 1
    assert browser.complaints() == []
    assert browser.requests() == [html.as_uri()]


# Names of genes and sections count as words of figures too.
COVERED = CROWDED.replace(".xtitle,", ".textpoint text, .annotation-text, .xtitle,")


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
    assert browser.requests() == [study.as_uri()]


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


def test_100_000_cells_are_drawn_at_once_and_are_no_elements_of_the_page(browser: Browser, many: Path) -> None:
    assert many.stat().st_size < 12e6
    browser.open(many, width=1280)
    go(browser, "sample-1-cells")
    assert browser.evaluate(f"{FIGURE}.data.map((trace) => trace.type)") == ["scattergl"] * 6
    assert browser.evaluate(f"{FIGURE}.data.reduce((sum, trace) => sum + trace.x.length, 0)") == 100_000
    choose(browser, "gene:GENE0")
    browser.until(f"{FIGURE}.data.length === 1")
    assert browser.seconds() < DRAWN
    assert browser.evaluate("document.getElementsByTagName('*').length") < 1_000
    # Cells keep their true size when the view is narrowed.
    size = browser.evaluate(f"{FIGURE}.data[0].marker.size")
    for _ in range(6):
        click(browser, "in")
    browser.until(f"{FIGURE}.data[0].marker.size > 5 * {size}")


def test_report_of_12_sections_answers_at_once(browser: Browser, cohort: Path) -> None:
    assert cohort.stat().st_size < 20e6
    browser.open(cohort, width=1280)
    # The page is there, its scripts have run, and a click is answered. Time of the processor: other work on the machine
    # does not count.
    go(browser, "methods")
    assert browser.seconds() < TTI
    go(browser, "sample-12-section-12")
    go(browser, "overview")
    assert browser.evaluate("document.querySelectorAll('.page.current .gallery figure').length") == 12
    groups = "[...document.querySelectorAll('.page.current h3')].map((heading) => heading.textContent)"
    assert browser.evaluate(groups) == [f"Group donor-{number}" for number in range(1, 7)]
    browser.evaluate("document.querySelectorAll('.page.current .gallery a')[4].click()")
    browser.until("document.getElementById('sample-3-section-3').classList.contains('current')")
    assert browser.complaints() == []
    assert browser.requests() == [cohort.as_uri()]


def test_tissue_is_coloured_by_what_is_chosen(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    assert browser.evaluate(f"{FIGURE}._fullData.map((trace) => trace.name)") == ["1", "2", "10"]
    colors = f"{FIGURE}._fullData.map((trace) => trace.marker.color)"
    assert browser.evaluate(colors) == ["#0072B2", "#E69F00", "#009E73"]
    options = browser.evaluate(
        "[...document.querySelectorAll('.page.current [data-role=colour] option')].map((o) => o.value)"
    )
    wanted = ["domain", "value:Domain confidence", "value:Pseudotime (rank)", "value:Counts", "value:Genes", "gene:G0"]
    assert options[:6] == wanted
    for value in options[1:]:
        choose(browser, value)
        title = value.removeprefix("value:") if value.startswith("value:") else "raw"
        browser.until(f"{FIGURE}._fullData.length === 1 && {FIGURE}._fullData[0].name === '{title}'")
        assert browser.evaluate(f"{FIGURE}._fullData[0].marker.color.length") == 120
        assert browser.evaluate(f"{FIGURE}._fullData[0].marker.showscale") is True
    choose(browser, "domain")
    browser.until(f"{FIGURE}._fullData.length === 3")
    assert browser.complaints() == []


def test_raw_and_de_noised_are_side_by_side(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    choose(browser, "gene:G0")  # de-noised values are not written
    browser.until(f"{FIGURE}._fullData[0].name === 'raw'")
    assert browser.evaluate(f"{BESIDE}.getClientRects().length") == 0
    assert "were not written" in browser.evaluate(
        "document.querySelector('.page.current [data-role=said]').textContent"
    )
    choose(browser, f"gene:{GAINING}")
    browser.until(f"{BESIDE}._fullData?.[0].name === 'de-noised'")
    left, right = (browser.evaluate(f"{plot}.getBoundingClientRect().toJSON()") for plot in (FIGURE, BESIDE))
    assert left["top"] == right["top"] and left["right"] <= right["left"]
    assert "saves 9.1 %" in browser.evaluate("document.querySelector('.page.current [data-role=said]').textContent")
    # Planted: 1 + x, from the 1st to the 99th percentile; raw counts have a range of their own, until one is asked for.
    ranges = f"[{FIGURE}, {BESIDE}].map(({{ _fullData }}) => [_fullData[0].marker.cmin, _fullData[0].marker.cmax])"
    own = browser.evaluate(ranges)
    assert own[1] == pytest.approx([1, 2], abs=0.01) and own[0] != own[1]
    browser.evaluate("document.querySelector('.page.current [data-role=both] input').click()")
    browser.until(f"{FIGURE}._fullData[0].marker.cmax === {BESIDE}._fullData[0].marker.cmax")
    # What is done to one is done to both.
    click(browser, "in")
    span = "{}._fullLayout.xaxis.range"
    browser.until(f"JSON.stringify({span.format(FIGURE)}) === JSON.stringify({span.format(BESIDE)})")
    browser.evaluate(f"void Plotly.relayout({BESIDE}, {{ 'xaxis.range': [100, 200] }})")
    browser.until(f"Math.abs({span.format(FIGURE)}[0] - 100) < 1")
    choose(browser, "domain")
    browser.until(f"{BESIDE}.getClientRects().length === 0")
    assert browser.complaints() == []


def test_image_opacity_and_domains_can_be_changed(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    images = f"{FIGURE}._fullLayout.images.filter((image) => image.visible !== false).length"
    assert browser.evaluate(images) == 1
    click(browser, "image")
    browser.until(f"{images} === 0")
    browser.evaluate(
        "(() => { const slider = document.querySelector('.page.current [data-role=opacity]');"
        " slider.value = 0.3; slider.dispatchEvent(new Event('input')); })()"
    )
    browser.until(f"{FIGURE}._fullData.every((trace) => trace.marker.opacity === 0.3)")
    names = f"{FIGURE}._fullData.filter((trace) => trace.x.length).map((trace) => trace.name)"
    browser.evaluate("document.querySelector('.page.current .legend input').click()")
    browser.until(f"{names}.length === 2")
    assert browser.evaluate(names) == ["2", "10"]
    click(browser, "none")
    browser.until(f"{names}.length === 0")
    click(browser, "all")
    browser.until(f"{names}.length === 3")
    assert browser.complaints() == []


def test_spots_keep_their_true_size_while_zooming(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    axis = f"{FIGURE}._fullLayout.xaxis"
    size = f"{FIGURE}._fullData[0].marker.size"
    # The fixture's spots are 25 px wide in the full-resolution image.
    off = f"Math.abs({size} / (25 * {axis}._length / ({axis}.range[1] - {axis}.range[0])) - 1)"
    browser.until(f"{off} < 0.02")
    before = browser.evaluate(size)
    click(browser, "in")
    browser.until(f"{size} > 1.3 * {before}")
    browser.until(f"{off} < 0.02")
    click(browser, "out")
    browser.until(f"Math.abs({size} / {before} - 1) < 0.02")
    click(browser, "in")
    click(browser, "reset")
    browser.until(f"Math.abs({size} / {before} - 1) < 0.02")
    assert browser.complaints() == []


def test_scale_bar_is_true_and_follows_the_view(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    layout = f"{FIGURE}._fullLayout"
    said, axis = f"{layout}.annotations[0].text", f"{layout}.xaxis.range"
    # The fixture's pixels are 2.5 µm wide.
    drawn = f"`${{2.5 * ({layout}.shapes[1].x1 - {layout}.shapes[1].x0)}} µm`"
    before = browser.evaluate(said)
    for _ in range(3):
        click(browser, "in")
    browser.until(f"{said} !== '{before}'")
    assert browser.evaluate(said) == browser.evaluate(drawn)
    left, right, start, end = browser.evaluate(f"[...{axis}, {layout}.shapes[1].x0, {layout}.shapes[1].x1]")
    assert left < start < end < right and 0.1 <= (end - start) / (right - left) <= 0.25
    go(browser, "sample-3-lone")  # nobody said how wide its pixels are
    assert browser.evaluate(f"{layout}.shapes.length + {layout}.annotations.length") == 0
    assert browser.complaints() == []


def test_tissue_follows_the_width_of_the_window(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    browser.call("Emulation.setDeviceMetricsOverride", width=500, height=900, deviceScaleFactor=1, mobile=False)
    browser.until(f"{FIGURE}._fullLayout.width === {FIGURE}.clientWidth && {FIGURE}.clientWidth < 500")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 500
    assert browser.complaints() == []


def test_tissue_is_moved_by_keys(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    browser.evaluate(f"{FIGURE}.focus()")
    assert browser.evaluate(f"document.activeElement === {FIGURE}")
    middle = "(({ range }) => (range[0] + range[1]) / 2)({}._fullLayout.{})"
    width = f"(({{ range }}) => range[1] - range[0])({FIGURE}._fullLayout.xaxis)"
    x, y = (middle.replace("{}", FIGURE, 1).replace("{}", axis) for axis in ("xaxis", "yaxis"))
    at, down, wide = (browser.evaluate(part) for part in (x, y, width))
    press(browser, "ArrowRight")
    browser.until(f"{x} > {at} + 1")
    press(browser, "ArrowDown")
    browser.until(f"{y} > {down} + 1")
    press(browser, "+")
    browser.until(f"{width} < 0.7 * {wide}")
    press(browser, "0")
    browser.until(f"Math.abs({width} - {wide}) < 1 && Math.abs({x} - {at}) < 1 && Math.abs({y} - {down}) < 1")


def test_markers_are_searched_sorted_and_led_to_the_tissue(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    scroll_through(browser)
    table = f"{TABLES}[0]"
    cells = f"[...{table}.querySelectorAll('tbody tr')].map((row) => row.cells[{{}}].textContent)"
    genes = cells.format(1)
    assert browser.evaluate(genes) == [f"G{index}" for index in range(9)]

    def enter(control: str, value: str) -> None:
        browser.evaluate(
            f"(() => {{ const control = {table}.querySelectorAll('input, select')[{control}];"
            f" control.value = '{value}'; control.dispatchEvent(new Event('input')); }})()"
        )

    enter("0", "g4")
    assert browser.evaluate(genes) == ["G4"]
    assert browser.evaluate(f"{table}.querySelector('[aria-live]').textContent") == "1 of 9 rows"
    enter("0", "nothing like it")
    assert browser.evaluate(genes) == []
    enter("0", "")
    enter("1", "10")
    assert browser.evaluate(genes) == ["G6", "G7", "G8"]
    enter("2", "yes")
    assert browser.evaluate(genes) == ["G7"]
    enter("1", "")
    enter("2", "")
    heads = f"[...{table}.querySelectorAll('thead th')]"
    browser.evaluate(f"{heads}[2].querySelector('button').click()")  # fold change, the highest first
    assert browser.evaluate(cells.format(2)) == ["+2.00"] * 3 + ["+1.50"] * 3 + ["+1.00"] * 3
    assert browser.evaluate(f"{heads}.map((head) => head.ariaSort)").count("descending") == 1
    browser.evaluate(f"{heads}[2].querySelector('button').click()")
    assert browser.evaluate(cells.format(2))[0] == "+1.00"
    browser.evaluate(f"{heads}[0].querySelector('button').click()")  # numbers as numbers: 2 before 10
    assert browser.evaluate(cells.format(0)) == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
    browser.evaluate(f"[...{table}.querySelectorAll('button.link')].find((b) => b.textContent === '{GAINING}').click()")
    browser.until(f"{BESIDE}._fullData?.[0].name === 'de-noised'")
    assert browser.evaluate("document.activeElement.value") == f"gene:{GAINING}"
    assert browser.complaints() == []


def test_genes_that_lose_are_listed(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    scroll_through(browser)
    table = f"{TABLES}.at(-1)"
    rows = f"{table}.querySelectorAll('tbody tr').length"
    assert browser.evaluate(rows) == 12
    browser.evaluate(f"{table}.querySelector('[data-role=more]').click()")
    assert browser.evaluate(rows) == 39
    assert browser.evaluate(f"{table}.querySelector('[data-role=more]').hidden")
    browser.evaluate(
        f"(() => {{ const choice = {table}.querySelector('select'); choice.value = 'worse';"
        " choice.dispatchEvent(new Event('input')); })()"
    )
    assert browser.evaluate(f"{table}.querySelector('tbody').innerText.split('\\t')[0]") == LOSING


def test_sample_without_image_is_drawn_and_says_so(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-3-lone")
    assert browser.evaluate("document.querySelector('.page.current [data-role=image]').disabled") is True
    assert browser.evaluate(f"{FIGURE}._fullData.reduce((sum, trace) => sum + trace.x.length, 0)") == 42
    assert "no image features" in browser.evaluate("document.querySelector('.page.current').innerText")


def test_page_that_is_left_gives_its_graphics_back(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    for page in ("sample-1-S1", "sample-2-S2", "sample-3-lone", "sample-1-S1"):
        go(browser, page)
        browser.until("document.querySelectorAll('.tissue canvas').length > 0")
        elsewhere = "document.querySelectorAll('.page:not(.current) .tissue canvas').length"
        assert browser.evaluate(elsewhere) == 0
    assert browser.complaints() == []


def test_training_curves_change_their_scale(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    scroll_through(browser)
    plot = "document.querySelector('.page.current [data-figure$=-training]')"
    assert browser.evaluate(f"{plot}._fullLayout.yaxis.type") == "linear"
    browser.evaluate("document.querySelector('.page.current [data-role=log]').click()")
    browser.until(f"{plot}._fullLayout.yaxis.type === 'log'")
    assert browser.evaluate(f"{plot}._fullData.map((trace) => trace.name)") == ["total", "zinb"]


def test_is_usable_by_keyboard_and_screen_reader(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    assert browser.evaluate("document.activeElement.textContent") == "S1"  # the new page is announced
    assert browser.evaluate("document.querySelector('nav [aria-current=page]').hash") == "#sample-1-S1"
    scroll_through(browser)
    unlabelled = "[...document.querySelectorAll('input, select')].filter((control) => !control.labels.length).length"
    assert browser.evaluate(unlabelled) == 0
    unnamed = "[...document.querySelectorAll('button, [role=region], [role=img], [role=application]')]"
    named = f"{unnamed}.filter((part) => !part.ariaLabel && !part.textContent.trim()).length"
    assert browser.evaluate(named) == 0
    assert browser.evaluate("[...document.querySelectorAll('[id]')].length") == browser.evaluate(
        "new Set([...document.querySelectorAll('[id]')].map((part) => part.id)).size"
    )
    assert browser.evaluate("[...document.images].filter((image) => !image.alt).length") == 0
    assert browser.evaluate("document.querySelectorAll('main').length") == 1
    levels = browser.evaluate(
        "[...document.querySelectorAll('.page.current :is(h1, h2, h3)')].map((heading) => Number(heading.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in zip(levels, levels[1:], strict=False))


def test_prints_every_page_with_still_figures(browser: Browser, html: Path) -> None:
    browser.open(html, width=740)  # A4 within a browser's usual margins
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    browser.until("[...document.querySelectorAll('[data-figure]')].every((plot) => plot.data)")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "[...document.querySelectorAll('{}')].filter((element) => element.getClientRects().length).length"
        assert browser.evaluate(visible.format(".page")) == len(PAGES)
        assert browser.evaluate(visible.format(".still img")) == 3
        assert browser.evaluate(visible.format(".tissue, nav")) == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 740
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
