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
    matches = [matched_domains(sections, unit, reference) for unit in units if unit != reference]
    table = pd.concat(matches, ignore_index=True) if matches else pd.DataFrame(columns=MATCH_COLUMNS)
    counterpart = dict(zip(zip(table["unit"], table["domain"], strict=True), table["matched"], strict=True))
    counterpart |= {(reference, name): name for name in names}
    counted = all(own.regional is not None for own in sections)
    spots = np.full((len(sections), len(names)), np.nan)
    molecules = np.full((len(sections), len(names), len(sections[0].var)), np.nan) if counted else None
    for s, own in enumerate(sections):
        for d, domain in enumerate(own.domains):
            if (shared := counterpart[own.unit, domain]) is not None:
                spots[s, names.index(shared)] = own.spots[d]
                if molecules is not None and own.regional is not None:
                    molecules[s, names.index(shared)] = own.regional[:, d].sum(axis=0)
    total = np.array([own.spots.sum() for own in sections])
    return SharedDomains(reference, names, spots, total, molecules, table)


def matched_domains(sections: Sequence[SectionSums], unit: str, reference: str) -> pd.DataFrame:
    """Match the domains of one unit with those of another; without counts none has a counterpart."""
    of_unit, of_reference = ([own for own in sections if own.unit == name] for name in (unit, reference))
    names, domains = of_reference[0].domains, of_unit[0].domains
    one, other = _by_region(of_unit), _by_region(of_reference)
    if one is None or other is None:
        return pd.DataFrame(
            {"unit": unit, "domain": domains, "matched": None, "similarity": np.nan, "certainty": np.nan}
        )
    found = match(one, other)
    counterparts = [names[m] if m >= 0 else None for m in found.matched]
    columns = [[unit] * len(domains), domains, counterparts, found.similarity, found.certainty]
    return pd.DataFrame(dict(zip(MATCH_COLUMNS, columns, strict=True)))


def _by_region(members: Sequence[SectionSums]) -> Float | None:
    """Return the molecules of a unit by region, domain and gene; ``None`` where a section has no counts.

    Regions of different sections are different regions.
    """
    parts = [own.regional for own in members]
    if any(part is None for part in parts):
        return None
    return np.concatenate([part for part in parts if part is not None]).astype(np.float64)
