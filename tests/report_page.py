"""Report and pages, written by the commands and parsed."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.testing import CliRunner

from mmsrl.page.cli import main as page
from mmsrl.report.cli import main as report

if TYPE_CHECKING:
    from conftest import SmallRun


class Page(HTMLParser):
    """Parser of visible text, attributes that could load files, and payloads of a report."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text, self.links, self.payloads = "", [], {}
        self._inside: tuple[str, str | None] = ("", None)
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self._inside = (tag, attributes.get("id"))
        self.links += [
            value for name, value in attributes.items() if name in ("src", "href", "srcset", "data", "action")
        ]

    def handle_endtag(self, tag: str) -> None:
        self._inside = ("", None)

    def handle_data(self, data: str) -> None:
        tag, id = self._inside
        if tag == "script" and id:
            packed = not data.startswith("{")
            self.payloads[id] = json.loads(gzip.decompress(base64.b64decode(data)) if packed else data)
        elif tag not in ("script", "style"):
            self.text += re.sub(r"\s+", " ", data)


@dataclass
class Report:
    """Output of mmsrl-page and mmsrl-report for a run."""

    folder: Path
    said: str
    """Log of the commands."""

    @property
    def html(self) -> str:
        """Text of the report."""
        return (self.folder / "mmsrl_report.html").read_text(encoding="utf-8")

    @property
    def overview(self) -> Page:
        """Parsed report."""
        return Page(self.html)

    @property
    def manifest(self) -> dict[str, Any]:
        return json.loads((self.folder / "manifest.json").read_text(encoding="utf-8"))

    def source(self, sample: str) -> str:
        """Return the page of a section."""
        return (self.folder / "sections" / f"{sample}.html").read_text(encoding="utf-8")

    def page(self, sample: str) -> Page:
        """Return the parsed page of a section."""
        return Page(self.source(sample))


def run_command(command: click.Command, arguments: Sequence[str]) -> str:
    """Run a command that must succeed, and return its output."""
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def make_report(run: SmallRun, *arguments: str, pages: Sequence[str] = ()) -> Report:
    """Write the pages of all assembled units, and the report.

    Parameters
    ----------
    run
        The run.
    arguments
        More for mmsrl-report.
    pages
        More for mmsrl-page.
    """
    said = ""
    for unit in ("pair", "lone"):
        if "--assembled" in (line := run.page_arguments(unit)):
            said += run_command(page, [*line, *pages])
    said += run_command(report, [*run.report_arguments(), *arguments])
    return Report(run.report, said)
