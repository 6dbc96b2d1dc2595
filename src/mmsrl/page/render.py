"""Rendering of section pages with Jinja templates."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from mmsrl import __version__
from mmsrl._stages import STAGES
from mmsrl.page.store import Store
from mmsrl.page.words import brief, probability, show

REPORT = "../mmsrl_report.html"
"""Path of the report, relative to a section page."""

ASSETS = "../assets"
"""Path of the shared files (figure library, list of sections), relative to a section page."""


def code(text: str) -> Markup:
    """Format text between backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text))))


def environment(*packages: str) -> Environment:
    """Return a Jinja environment with the filters that all pages use.

    Parameters
    ----------
    packages
        Further packages with a folder ``templates``, which take precedence.
    """
    templates = Environment(
        loader=ChoiceLoader([PackageLoader(package) for package in (*packages, "mmsrl.page")]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters.update(show=show, brief=brief, code=code, probability=probability)
    templates.globals.update(version=__version__, stages=STAGES)
    return templates


def stored(store: Store) -> dict[str, Any]:
    """Return figures and tables as template variables."""
    return {"figures": {id_: Markup(text) for id_, text in store.figures.items()}, "tables": store.tables}


def render_page(page: Mapping[str, Any], pictures: Mapping[str, Any] | None, store: Store) -> str:
    """Render the page of a section as HTML.

    Parameters
    ----------
    page
        Content from :func:`mmsrl.page.sections.sample_content`.
    pictures
        Tissue pictures from :func:`mmsrl.page.pictures.domain_pictures`, or ``None``.
    store
        Figures and tables of the page.
    """
    template = environment().get_template("page.html")
    return template.render(page=page, pictures=pictures, report=REPORT, assets=ASSETS, **stored(store))
