"""Pages of sections as a reader has them: every control in a real browser, at the widths of a desk and a telephone."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from biology import GAINING, LOSING
from browser.looking import (
    BESIDE,
    CROWDED,
    FIGURE,
    OVERFLOWING,
    OVERLAPPING,
    TABLES,
    assert_accessible,
    choose,
    click,
    open_section,
    press,
    scroll_through,
)
from report_page import run_command

from mmsrl.assemble.cli import main as assemble
from mmsrl.page.cli import main as page
from mmsrl.report.cli import main

if TYPE_CHECKING:
    from browser.chromium import Browser

BENCH = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks/bench_report.py"))

DRAWN = 5.0
"""Seconds until a section of 100,000 cells is drawn; it took 1.4 (docs/performance.md)."""


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of one section of 100,000 cells."""
    folder = tmp_path_factory.mktemp("many")
    BENCH["write_stages"](folder, 100_000, 20, outlined=False)
    lines = BENCH["commands"](folder, outlined=False, spatialdata=False)
    for command, name in ((assemble, "assemble"), (page, "page"), (main, "report")):
        run_command(command, lines[name][1:])
    return folder / "report" / "mmsrl_report.html"


def files(report: Path, sample: str) -> list[str]:
    """Return what the page of a section loads."""
    names = (f"sections/{sample}.html", "assets/sections.js", "assets/plotly.min.js")
    return [(report.parent / name).as_uri() for name in names]


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("sample", ["S1", "S2", "lone"])
def test_every_page_is_clean(browser: Browser, html: Path, sample: str, width: int) -> None:
    open_section(browser, html, sample, width=width)
    if sample == "S1":
        choose(browser, f"gene:{GAINING}")
        browser.until(f"{BESIDE}._fullData?.[0].name === 'de-noised'")
    scroll_through(browser)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert [fault for check in (OVERFLOWING, OVERLAPPING, CROWDED) for fault in browser.evaluate(check)] == []
    assert browser.complaints() == []
    assert browser.requests() == files(html, sample)


def test_pages_lead_to_each_other_and_to_the_report(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S2")
    links = "[...document.querySelectorAll('{}')].map((link) => [link.textContent, link.href])"
    folder = html.parent.as_uri()
    assert browser.evaluate(links.format("[data-role=way] a")) == [
        ["← S1", f"{folder}/sections/S1.html"],
        ["lone →", f"{folder}/sections/lone.html"],
    ]
    own = "document.querySelector('nav [aria-current=page]')"
    assert browser.evaluate(f"{own}.href") == f"{folder}/sections/S2.html"
    listed = browser.evaluate(links.format("nav details a"))
    assert [href for _, href in listed] == [f"{folder}/sections/{name}.html" for name in ("S1", "S2", "lone")]
    assert [text.split(",")[0].split()[0] for text, _ in listed] == ["S1", "S2", "lone"]
    browser.follow("document.querySelector('[data-role=way] [rel=next]')", "document.title === 'lone'")
    assert browser.evaluate("document.querySelectorAll('[data-role=way] a').length") == 1
    browser.follow(
        "document.querySelector('nav a[href$=\"#methods\"]')", "document.querySelector('#methods.current') !== null"
    )


def test_a_page_that_lies_alone_shows_what_needs_no_library(browser: Browser, html: Path, tmp_path: Path) -> None:
    alone = Path(shutil.copy(html.parent / "sections/S1.html", tmp_path))
    browser.open(alone, width=1280)
    browser.until("document.documentElement.classList.contains('bare')")
    shown = "document.querySelector('{}').getClientRects().length"
    assert browser.evaluate(shown.format(".bare-note")) and "assets/plotly.min.js" in browser.evaluate(
        "document.querySelector('.bare-note').innerText"
    )
    assert browser.evaluate(shown.format(".still img")) and not browser.evaluate(shown.format(".tissue"))
    browser.evaluate(f"{TABLES}[0].scrollIntoView()")
    browser.until(f"{TABLES}[0].classList.contains('filled')")
    assert browser.evaluate(f"{TABLES}[0].querySelectorAll('tbody tr').length") == 9
    assert browser.evaluate(f"{TABLES}[0].querySelectorAll('button.link').length") == 0  # nothing to show genes on
    assert browser.evaluate("document.querySelector('nav a').getAttribute('href')") == "../mmsrl_report.html"
    assert [fault for check in (OVERFLOWING, OVERLAPPING) for fault in browser.evaluate(check)] == []
    # Two files that are not there, and nothing else.
    assert len(browser.complaints()) == 2 and all("ERR_FILE_NOT_FOUND" in text for text in browser.complaints())


def test_100_000_cells_are_drawn_at_once_and_are_no_elements_of_the_page(browser: Browser, many: Path) -> None:
    assert (many.parent / "sections/cells.html").stat().st_size < 8e6
    open_section(browser, many, "cells")
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


def test_tissue_is_coloured_by_what_is_chosen(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S1")
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
    open_section(browser, html, "S1")
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
    open_section(browser, html, "S1")
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
    open_section(browser, html, "S1")
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
    open_section(browser, html, "S1")
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
    open_section(browser, html, "lone")  # nobody said how wide its pixels are
    assert browser.evaluate(f"{layout}.shapes.length + {layout}.annotations.length") == 0
    assert browser.complaints() == []


def test_tissue_follows_the_width_of_the_window(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S1")
    browser.call("Emulation.setDeviceMetricsOverride", width=500, height=900, deviceScaleFactor=1, mobile=False)
    browser.until(f"{FIGURE}._fullLayout.width === {FIGURE}.clientWidth && {FIGURE}.clientWidth < 500")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 500
    assert browser.complaints() == []


def test_tissue_is_moved_by_keys(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S1")
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
    open_section(browser, html, "S1")
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
    open_section(browser, html, "S1")
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
    open_section(browser, html, "lone")
    assert browser.evaluate("document.querySelector('.page.current [data-role=image]').disabled") is True
    assert browser.evaluate(f"{FIGURE}._fullData.reduce((sum, trace) => sum + trace.x.length, 0)") == 42
    assert "no image features" in browser.evaluate("document.querySelector('.page.current').innerText")


def test_training_curves_change_their_scale(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S1")
    scroll_through(browser)
    plot = "document.querySelector('.page.current [data-figure$=-training]')"
    assert browser.evaluate(f"{plot}._fullLayout.yaxis.type") == "linear"
    browser.evaluate("document.querySelector('.page.current [data-role=log]').click()")
    browser.until(f"{plot}._fullLayout.yaxis.type === 'log'")
    assert browser.evaluate(f"{plot}._fullData.map((trace) => trace.name)") == ["total", "zinb"]


def test_is_usable_by_keyboard_and_screen_reader(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S1")
    assert browser.evaluate("document.title") == "S1"  # the new page is announced
    assert browser.evaluate("document.querySelectorAll('[aria-current=page]').length") == 1
    scroll_through(browser)
    assert_accessible(browser)


def test_prints_with_still_figures(browser: Browser, html: Path) -> None:
    open_section(browser, html, "S1", width=740)  # A4 within a browser's usual margins
    browser.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    browser.until("[...document.querySelectorAll('[data-figure]')].every((plot) => plot.data)")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "[...document.querySelectorAll('{}')].filter((element) => element.getClientRects().length).length"
        assert browser.evaluate(visible.format(".still img")) == 1
        assert browser.evaluate(visible.format(".tissue, nav, [data-role=way]")) == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 740
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
