"""A browser, and a report to look at."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from biology import add_biology
from browser.chromium import NAMES, Browser
from report_page import make_report

if TYPE_CHECKING:
    from conftest import SmallRun


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"no browser on PATH (looked for {', '.join(NAMES)}): the report was not looked at in one")
    browser = Browser(executable, tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def html(template_assembled: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of two sections with everything and one on its own, with the pages beside it; tests only read it."""
    run = template_assembled.copy(tmp_path_factory.mktemp("browser"))
    add_biology(run.folder)
    return make_report(run, pages=("--report-genes", "G0,G19")).folder / "mmsrl_report.html"
