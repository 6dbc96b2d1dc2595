"""Summary cards of the sections, which ``mmsrl-page`` writes."""

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
"""Folder of the section pages, relative to the report."""


def read_cards(paths: Iterable[Path]) -> list[Card]:
    """Read cards in the order of the report.

    Raises
    ------
    InputError
        If a file is not a card, or if two cards belong to one section.
    """
    cards: dict[str, Card] = {}
    for path in paths:
        content: Any = read_json(path)
        names = {field.name for field in fields(Card)}
        if not isinstance(content, dict) or content.keys() != names:
            raise InputError(f"{path.name}: not the card of a section; give the .card.json that mmsrl-page wrote")
        card = Card(**content)
        if card.sample in cards:
            raise InputError(f"{path.name}: second card of sample {card.sample}; give one card per section")
        cards[card.sample] = card
    return [cards[name] for name in natural_order(cards)]


def address(sample: str) -> str:
    """Return the URL of the page of a section, relative to the report."""
    return f"{PAGES}/{quote(sample)}.html"


def not_found(cards: Sequence[Card]) -> list[str]:
    """Return a sentence on each requested gene that some sections lack."""
    requested = dict.fromkeys(gene for card in cards for gene in card.genes_asked)
    lacking = {gene: [card.sample for card in cards if gene in card.genes_lacking] for gene in requested}
    return [
        f"gene {gene} is in no section: no gene of this name passed quality control; check the spelling"
        if len(names) == len(cards)
        else f"gene {gene} is not in {', '.join(names)}"
        for gene, names in lacking.items()
        if names
    ]


def grouped(cards: Sequence[Card]) -> list[dict[str, Any]]:
    """Group the cards by unit: groups first, then all sections that were trained on their own."""
    by_unit: dict[str, list[Card]] = {}
    for card in cards:
        by_unit.setdefault(card.unit, []).append(card)
    together: list[dict[str, Any]] = [
        {"name": unit, "colors": members[0].colors, "cards": members}
        for unit, members in by_unit.items()
        if members[0].unit_sections > 1
    ]
    alone = [members[0] for members in by_unit.values() if members[0].unit_sections == 1]
    return [*together, *([{"name": None, "colors": {}, "cards": alone}] if alone else [])]


def colors_by_unit(cards: Sequence[Card]) -> dict[str, Mapping[str, str]]:
    """Return the colours of the domains of each unit."""
    return {card.unit: card.colors for card in cards}
