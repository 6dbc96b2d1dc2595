"""Cards of the sections, as ``mmsrl-page`` writes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mmsrl._errors import InputError
from mmsrl._files import read_json
from mmsrl._palette import natural_order
from mmsrl.page.card import Card

PAGES = "sections"
"""Folder of the pages, as seen from the report."""


def read_cards(paths: Iterable[Path]) -> list[Card]:
    """Read cards, and return them in the order in which the report shows them.

    Raises
    ------
    InputError
        If a file is no card, or two are of one section.
    """
    cards: dict[str, Card] = {}
    for path in paths:
        content: Any = read_json(path)
        names = {field.name for field in fields(Card)}
        if not isinstance(content, dict) or content.keys() != names:
            raise InputError(f"{path.name}: not the card of a section; give the .card.json that mmsrl-page wrote")
        card = Card(**content)
        if card.sample in cards:
            raise InputError(f"{path.name}: a second card of sample {card.sample}; give one card a section")
        cards[card.sample] = card
    return [cards[name] for name in natural_order(cards)]


def address(sample: str) -> str:
    """Return where the page of a section is, as seen from the report, as links have it."""
    return f"{PAGES}/{quote(sample)}.html"


def not_found(cards: Sequence[Card]) -> list[str]:
    """Say which of the genes asked for which sections lack, a sentence a gene."""
    asked = dict.fromkeys(gene for card in cards for gene in card.genes_asked)
    lacking = {gene: [card.sample for card in cards if gene in card.genes_lacking] for gene in asked}
    return [
        f"gene {gene} is in no sample: none has a gene of this name left after quality control"
        if len(names) == len(cards)
        else f"gene {gene} is not in {', '.join(names)}"
        for gene, names in lacking.items()
        if names
    ]


def grouped(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Return the cards by what was trained together: groups first, then all sections on their own."""
    by_unit: dict[str, list[Card]] = {}
    for card in cards:
        by_unit.setdefault(card.unit, []).append(card)
    together: list[dict[str, Any]] = [
        {"name": unit, "colors": own[0].colors, "cards": own}
        for unit, own in by_unit.items()
        if own[0].unit_sections > 1
    ]
    alone = [own[0] for own in by_unit.values() if own[0].unit_sections == 1]
    return [*together, *([{"name": None, "colors": {}, "cards": alone}] if alone else [])]


def colors_by_unit(cards: Sequence[Card]) -> dict[str, Mapping[str, str]]:
    """Return the colours of the domains of every unit."""
    return {card.unit: card.colors for card in cards}
