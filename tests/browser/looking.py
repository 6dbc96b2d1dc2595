"""How tests look at pages: what is wrong with how they look, and what a reader does with them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from browser.chromium import Browser

FIGURE = "document.querySelector('.page.current .panel:first-child .plot')"
BESIDE = "document.querySelector('.page.current .panel:last-child .plot')"
TABLES = "[...document.querySelectorAll('.page.current [data-table]')]"

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

# Names of genes and sections count as words of figures too.
COVERED = CROWDED.replace(".xtitle,", ".textpoint text, .annotation-text, .xtitle,")


def go(browser: Browser, page: str) -> None:
    """Follow a link to a part of the report."""
    browser.evaluate(f"document.querySelector('nav a[href=\"#{page}\"]').click()")
    browser.until(f"document.getElementById('{page}').classList.contains('current')")


def open_section(browser: Browser, report: Path, sample: str, *, width: int = 1280) -> None:
    """Open the page of a section and wait until its tissue is drawn.

    Parameters
    ----------
    report
        The report, ``mmsrl_report.html``.
    """
    browser.open(report.parent / "sections" / f"{sample}.html", width=width)
    browser.until(f"{FIGURE}._fullData !== undefined")


def scroll_through(browser: Browser) -> None:
    """Bring every figure and table of the page into view, as reading does, and wait until all are there."""
    waiting = (
        "document.querySelectorAll('.page.current :is([data-figure]:not(.js-plotly-plot), [data-table]:not(.filled))')"
    )
    browser.until(f"[...{waiting}].forEach((element) => element.scrollIntoView()) ?? !{waiting}.length")


def choose(browser: Browser, value: str) -> None:
    """Choose what spots are coloured by."""
    browser.evaluate(
        "(() => { const choice = document.querySelector('.page.current [data-role=colour]');"
        f" choice.value = '{value}'; choice.dispatchEvent(new Event('change')); }})()"
    )


def click(browser: Browser, role: str) -> None:
    """Click a control."""
    browser.evaluate(f"document.querySelector('.page.current [data-role={role}]').click()")


def press(browser: Browser, key: str) -> None:
    """Press a key."""
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, text=key if len(key) == 1 else "")


def assert_accessible(browser: Browser) -> None:
    """Assert that controls have labels, parts and pictures names, ids one bearer, and headings no gaps."""
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
