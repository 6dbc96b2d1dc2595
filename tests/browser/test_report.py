"""The report as a reader has it: every control used in a real browser, at the widths of a desk and of a telephone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner

from mmsrl.report.cli import main

if TYPE_CHECKING:
    from conftest import Browser, SmallRun

PAGES = ("overview", "sample-1-S1", "sample-2-S2", "sample-3-lone", "methods", "provenance")
FIGURE = "document.querySelector('.page.current .tissue .plot')"

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
    '.page.current > *, .page.current .tissue > *, .gallery > *, .charts > *')]
    .filter((element) => element.getClientRects().length && element.tagName !== 'SCRIPT');
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


@pytest.fixture(scope="module")
def html(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = template_assembled.copy(tmp_path_factory.mktemp("browser"))
    result = CliRunner().invoke(main, run.report_arguments())
    assert result.exit_code == 0, result.output
    return run.folder / "mmsrl_report.html"


def go(browser: Browser, page: str) -> None:
    browser.evaluate(f"document.querySelector('nav a[href=\"#{page}\"]').click()")
    browser.until(f"document.getElementById('{page}').classList.contains('current')")
    if page.startswith("sample"):
        browser.until(f"{FIGURE}._fullData !== undefined")


def scroll_through(browser: Browser) -> None:
    """Bring every figure of the page into view once, as reading does, and wait until all are drawn."""
    browser.evaluate("document.querySelectorAll('.page.current .plot').forEach((plot) => plot.scrollIntoView())")
    browser.until(
        "[...document.querySelectorAll('.page.current .plot')].every((plot) => {"
        " plot.scrollIntoView(); return plot.classList.contains('js-plotly-plot'); })"
    )


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_is_clean(browser: Browser, html: Path, width: int) -> None:
    browser.open(html, width=width)
    for page in PAGES:
        go(browser, page)
        scroll_through(browser)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width, page
        assert browser.evaluate(OVERFLOWING) == [], page
        assert browser.evaluate(OVERLAPPING) == [], page
        assert browser.evaluate("document.querySelectorAll('.page.current').length") == 1
    assert browser.complaints() == []
    assert browser.requests() == [html.as_uri()]


def test_tissue_is_coloured_by_what_is_chosen(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    assert browser.evaluate(f"{FIGURE}._fullData.map((trace) => trace.name)") == ["1", "2", "10"]
    colors = f"{FIGURE}._fullData.map((trace) => trace.marker.color)"
    assert browser.evaluate(colors) == ["#0072B2", "#E69F00", "#009E73"]
    browser.evaluate(
        "(() => { const choice = document.querySelector('.page.current [data-role=colour]');"
        " choice.value = 'Counts'; choice.dispatchEvent(new Event('change')); })()"
    )
    browser.until(f"{FIGURE}._fullData.length === 1")
    assert browser.evaluate(f"{FIGURE}._fullData[0].marker.color.length") == 120
    assert browser.evaluate(f"{FIGURE}._fullData[0].marker.showscale") is True
    assert browser.complaints() == []


def test_image_opacity_and_domains_can_be_changed(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    images = f"{FIGURE}._fullLayout.images.filter((image) => image.visible !== false).length"
    assert browser.evaluate(images) == 1
    browser.evaluate("document.querySelector('.page.current [data-role=image]').click()")
    browser.until(f"{images} === 0")
    browser.evaluate(
        "(() => { const slider = document.querySelector('.page.current [data-role=opacity]');"
        " slider.value = 0.3; slider.dispatchEvent(new Event('input')); })()"
    )
    browser.until(f"{FIGURE}._fullData.every((trace) => trace.marker.opacity === 0.3)")
    browser.evaluate("document.querySelector('.page.current .legend input').click()")
    browser.until(f"{FIGURE}._fullData.length === 2")
    assert browser.evaluate(f"{FIGURE}._fullData.map((trace) => trace.name)") == ["2", "10"]
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
    browser.evaluate("document.querySelector('.page.current [data-role=in]').click()")
    browser.until(f"{size} > 1.3 * {before}")
    browser.until(f"{off} < 0.02")
    browser.evaluate("document.querySelector('.page.current [data-role=reset]').click()")
    browser.until(f"Math.abs({size} / {before} - 1) < 0.02")
    assert browser.complaints() == []


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
    plot = "document.querySelector('.page.current [data-training-of]')"
    assert browser.evaluate(f"{plot}._fullLayout.yaxis.type") == "linear"
    browser.evaluate("document.querySelector('.page.current [data-role=log]').click()")
    browser.until(f"{plot}._fullLayout.yaxis.type === 'log'")
    assert browser.evaluate(f"{plot}._fullData.map((trace) => trace.name)") == ["total", "zinb"]


def test_is_usable_by_keyboard_and_screen_reader(browser: Browser, html: Path) -> None:
    browser.open(html, width=1280)
    go(browser, "sample-1-S1")
    assert browser.evaluate("document.activeElement.textContent") == "S1"  # the new page is announced
    assert browser.evaluate("document.querySelector('nav [aria-current=page]').hash") == "#sample-1-S1"
    unlabelled = "[...document.querySelectorAll('input, select')].filter((control) => !control.labels.length).length"
    assert browser.evaluate(unlabelled) == 0
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
    browser.until("[...document.querySelectorAll('.plot:not(.tissue *)')].every((plot) => plot.data)")
    browser.call("Emulation.setEmulatedMedia", media="print")
    try:
        visible = "[...document.querySelectorAll('{}')].filter((element) => element.getClientRects().length).length"
        assert browser.evaluate(visible.format(".page")) == len(PAGES)
        assert browser.evaluate(visible.format("img.still")) == 3
        assert browser.evaluate(visible.format(".tissue, nav")) == 0
        assert browser.evaluate("document.documentElement.scrollWidth") <= 740
    finally:
        browser.call("Emulation.setEmulatedMedia", media="")
