"""Domains that all sections of a study share: those of one unit, and what matches them in the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl.compare.matching import match
from mmsrl.compare.sums import SectionSums

Float = NDArray[np.float64]

MATCH_COLUMNS = ["unit", "domain", "matched", "similarity", "certainty"]


class SharedDomains(NamedTuple):
    """S sections, D shared domains, G genes."""

    unit: str
    """Whose domains they are: the unit with most sections, of those the one with most spots."""
    names: list[str]
    spots: Float
    """(S, D): NaN where the section's unit has no counterpart of the domain."""
    total: Float
    """(S,): spots of all domains of the section."""
    molecules: Float | None
    """(S, D, G): likewise; ``None`` where a section has no counts."""
    matches: pd.DataFrame
    """A row for every domain of the other units: ``unit``, ``domain``, ``matched`` (``None``: no counterpart),
    ``similarity``, ``certainty`` (:class:`mmsrl.compare.matching.Matches`)."""


def shared_domains(sections: Sequence[SectionSums]) -> SharedDomains:
    """Give every section the domains of one unit.

    Parameters
    ----------
    sections
        With the same genes (:func:`mmsrl.compare.sums.common_genes`), by region where there are several units.
    """
    units: dict[str, list[SectionSums]] = {}
    for own in sections:
        units.setdefault(own.unit, []).append(own)
    reference = max(units, key=lambda unit: (len(units[unit]), sum(own.spots.sum() for own in units[unit])))
    names = units[reference][0].domains
    position = {reference: np.arange(len(names))}
    rows: list[tuple[str, str, str | None, float, float]] = []
    profile = {unit: _by_region(members) for unit, members in units.items()}
    for unit in units:
        if unit == reference:
            continue
        domains = units[unit][0].domains
        one, other = profile[unit], profile[reference]
        if one is None or other is None:
            position[unit] = np.full(len(domains), -1)
            continue
        found = match(one, other)
        position[unit] = found.matched
        counterparts = [names[m] if m >= 0 else None for m in found.matched]
        rows += zip([unit] * len(domains), domains, counterparts, found.similarity, found.certainty, strict=True)
    counted = all(own.regional is not None for own in sections)
    n_genes = len(sections[0].var)
    spots = np.full((len(sections), len(names)), np.nan)
    molecules = np.full((len(sections), len(names), n_genes), np.nan) if counted else None
    for s, own in enumerate(sections):
        paired = position[own.unit] >= 0
        spots[s, position[own.unit][paired]] = own.spots[paired]
        if molecules is not None and own.regional is not None:
            molecules[s, position[own.unit][paired]] = own.regional.sum(axis=0)[paired]
    total = np.array([own.spots.sum() for own in sections])
    return SharedDomains(reference, names, spots, total, molecules, pd.DataFrame(rows, columns=MATCH_COLUMNS))


def _by_region(members: Sequence[SectionSums]) -> Float | None:
    """Return the molecules of a unit by region, domain and gene; ``None`` where a section has no counts.

    Regions of different sections are different regions.
    """
    parts = [own.regional for own in members]
    if any(part is None for part in parts):
        return None
    return np.concatenate([part for part in parts if part is not None]).astype(np.float64)
