"""Domains shared by all sections of a study: the domains of one unit, and their counterparts in the others."""

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
    """Sums by shared domain of S sections, D shared domains and G genes."""

    unit: str
    """Reference unit: the unit with the most sections, then the most spots."""
    names: list[str]
    spots: Float
    """(S, D): NaN if the unit of the section has no counterpart of the domain."""
    total: Float
    """(S,): number of spots in all domains of the section."""
    molecules: Float | None
    """(S, D, G): counts, NaN as ``spots``. ``None`` if a section has no counts."""
    matches: pd.DataFrame
    """One row for each domain of the other units: ``unit``, ``domain``, ``matched`` (``None``: no counterpart),
    ``similarity``, ``certainty`` (:class:`mmsrl.compare.matching.Matches`)."""


def shared_domains(sections: Sequence[SectionSums]) -> SharedDomains:
    """Map the domains of every section to those of the reference unit.

    Parameters
    ----------
    sections
        Sums over the same genes (:func:`mmsrl.compare.sums.common_genes`), by region if there are several units.
    """
    units: dict[str, list[SectionSums]] = {}
    for section in sections:
        units.setdefault(section.unit, []).append(section)
    reference = max(units, key=lambda unit: (len(units[unit]), sum(section.spots.sum() for section in units[unit])))
    names = units[reference][0].domains
    matches = [matched_domains(sections, unit, reference) for unit in units if unit != reference]
    table = pd.concat(matches, ignore_index=True) if matches else pd.DataFrame(columns=MATCH_COLUMNS)
    counterpart = dict(zip(zip(table["unit"], table["domain"], strict=True), table["matched"], strict=True))
    counterpart |= {(reference, name): name for name in names}
    counted = all(section.regional is not None for section in sections)
    spots = np.full((len(sections), len(names)), np.nan)
    molecules = np.full((len(sections), len(names), len(sections[0].var)), np.nan) if counted else None
    for s, section in enumerate(sections):
        for d, domain in enumerate(section.domains):
            if (shared := counterpart[section.unit, domain]) is not None:
                spots[s, names.index(shared)] = section.spots[d]
                if molecules is not None and section.regional is not None:
                    molecules[s, names.index(shared)] = section.regional[:, d].sum(axis=0)
    total = np.array([section.spots.sum() for section in sections])
    return SharedDomains(reference, names, spots, total, molecules, table)


def matched_domains(sections: Sequence[SectionSums], unit: str, reference: str) -> pd.DataFrame:
    """Match the domains of one unit with those of another. Without counts, no domain has a counterpart."""
    of_unit, of_reference = ([section for section in sections if section.unit == name] for name in (unit, reference))
    names, domains = of_reference[0].domains, of_unit[0].domains
    one, other = _by_region(of_unit), _by_region(of_reference)
    if one is None or other is None:
        return pd.DataFrame(
            {"unit": unit, "domain": domains, "matched": None, "similarity": np.nan, "certainty": np.nan}
        )
    result = match(one, other)
    counterparts = [names[m] if m >= 0 else None for m in result.matched]
    columns = [[unit] * len(domains), domains, counterparts, result.similarity, result.certainty]
    return pd.DataFrame(dict(zip(MATCH_COLUMNS, columns, strict=True)))


def _by_region(members: Sequence[SectionSums]) -> Float | None:
    """Return the counts of a unit by region, domain and gene. ``None`` if a section has no counts.

    Regions of different sections are distinct.
    """
    parts = [member.regional for member in members]
    if any(part is None for part in parts):
        return None
    return np.concatenate([part for part in parts if part is not None]).astype(np.float64)
