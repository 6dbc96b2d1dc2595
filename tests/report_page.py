"""The report as a parser reads it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Text that a reader sees, attributes that could load something, and the payloads, of a report."""

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
        if tag == "script" and id and id != "plotly":
            packed = not data.startswith("{")
            self.payloads[id] = json.loads(gzip.decompress(base64.b64decode(data)) if packed else data)
        elif tag not in ("script", "style"):
            self.text += re.sub(r"\s+", " ", data)
