"""Puts the content of a section into the templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mmsrl import __version__
from mmsrl.page.store import Store
from mmsrl.page.words import brief, probability, show
from mmsrl.parameters import STAGES

REPORT = "../mmsrl_report.html"
"""The report, as seen from a section's page."""

ASSETS = "../assets"
"""What the report leaves for all pages, as seen from one: the library of figures, and the list of sections."""


def code(text: str) -> Markup:
    """Write what stands between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def environment(*packages: str) -> Environment:
    """Return templates with the filters that all pages use.

    Parameters
    ----------
    packages
        Packages with folders ``templates``, besides this one; theirs come first.
    """
    made = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "mmsrl.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(show=show, brief=brief, code=code, probability=probability)
    made.globals.update(version=__version__, stages=STAGES)
    return made


def stored(store: Store) -> dict[str, Any]:
    """Return figures and tables as the templates embed them."""
    return {"figures": {id_: Markup(text) for id_, text in store.figures.items()}, "tables": store.tables}


def render_page(page: Mapping[str, Any], pictures: Mapping[str, Any] | None, store: Store) -> str:
    """Return the page of a section as HTML.

    Parameters
    ----------
    page
        As :func:`mmsrl.page.sections.sample_content` returns it.
    pictures
        As :func:`mmsrl.page.pictures.domain_pictures` returns them; ``None`` where there are none.
    store
        Figures and tables of the page.
    """
    template = environment().get_template("page.html")
    return template.render(page=page, pictures=pictures, report=REPORT, assets=ASSETS, **stored(store))
