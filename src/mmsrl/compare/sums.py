"""Sums of counts and spots by domain for each section. Sections are read one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl._design import Assignment
from mmsrl._errors import InputError
from mmsrl._genes import names_in_unit
from mmsrl._palette import natural_order

Float = NDArray[np.float64]


class SectionSums(NamedTuple):
    """Sums of one section with D domains and G genes."""

    assigned: Assignment
    unit: str
    domains: list[str]
    """Domains in the file of the section; domains of the unit after :func:`with_domains_of_unit`."""
    spots: Float
    """(D,)."""
    regional: NDArray[np.float32] | None
    """(R, D, G): counts by region of tissue. One region if the section is small or not matched with another unit.
    ``None`` for normalised values."""
    var: pd.DataFrame
    """Genes, as :func:`mmsrl._genes.names_in_unit` takes them."""
    quality: dict[str, float]


def common_genes(sections: Sequence[SectionSums]) -> tuple[list[str], list[SectionSums]]:
    """Return the genes common to all sections, and the sections restricted to them, in this order.

    Raises
    ------
    InputError
        There are none.
    """
    names = names_in_unit([section.var for section in sections])
    shared = set.intersection(*map(set, names))
    genes = [gene for gene in names[0] if gene in shared]
    if not genes:
        raise InputError("the sections have no gene in common; check that species and gene names agree")
    restricted = []
    for section, index in zip(sections, names, strict=True):
        columns = index.get_indexer(pd.Index(genes))
        regional = None if section.regional is None else section.regional[..., columns]
        restricted.append(section._replace(regional=regional, var=section.var.iloc[columns]))
    return genes, restricted


def with_domains_of_unit(sections: Sequence[SectionSums]) -> list[SectionSums]:
    """Return the sections with all domains of their unit, including domains without spots in a section."""
    names: dict[str, list[str]] = {}
    for section in sections:
        names[section.unit] = natural_order([*names.get(section.unit, []), *section.domains])
    result = []
    for section in sections:
        domains = names[section.unit]
        position = [domains.index(domain) for domain in section.domains]
        spots = np.zeros(len(domains))
        spots[position] = section.spots
        regional = None
        if section.regional is not None:
            regional = np.zeros((len(section.regional), len(domains), section.regional.shape[2]), dtype=np.float32)
            regional[:, position] = section.regional
        result.append(section._replace(domains=domains, spots=spots, regional=regional))
    return result
