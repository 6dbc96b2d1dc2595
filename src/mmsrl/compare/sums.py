"""What a comparison takes of each section: molecules and spots by domain. Sections are read one after the other."""

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
    """One section of D domains and G genes, those of its own file."""

    assigned: Assignment
    unit: str
    domains: list[str]
    """Those that its own file names; of the unit after :func:`with_domains_of_unit`."""
    spots: Float
    """(D,)."""
    regional: NDArray[np.float32] | None
    """(R, D, G): molecules by region of tissue; one region where the section is not matched with another unit, or too
    small; ``None`` where the section has normalised values and no counts."""
    var: pd.DataFrame
    """Its genes, as :func:`mmsrl._genes.names_in_unit` takes them."""
    quality: dict[str, float]


def common_genes(sections: Sequence[SectionSums]) -> tuple[list[str], list[SectionSums]]:
    """Return the genes that all sections have, and the sections with these genes alone, in this order.

    Raises
    ------
    InputError
        If there are none.
    """
    names = names_in_unit([own.var for own in sections])
    shared = set.intersection(*map(set, names))
    genes = [gene for gene in names[0] if gene in shared]
    if not genes:
        raise InputError("the sections have no gene in common; are they of one species and naming?")
    cut = []
    for own, index in zip(sections, names, strict=True):
        columns = index.get_indexer(pd.Index(genes))
        regional = None if own.regional is None else own.regional[..., columns]
        cut.append(own._replace(regional=regional, var=own.var.iloc[columns]))
    return genes, cut


def with_domains_of_unit(sections: Sequence[SectionSums]) -> list[SectionSums]:
    """Return the sections with all domains of their unit, also those that a section has no spot of."""
    names: dict[str, list[str]] = {}
    for own in sections:
        names[own.unit] = natural_order([*names.get(own.unit, []), *own.domains])
    result = []
    for own in sections:
        whole = names[own.unit]
        place = [whole.index(domain) for domain in own.domains]
        spots = np.zeros(len(whole))
        spots[place] = own.spots
        regional = None
        if own.regional is not None:
            regional = np.zeros((len(own.regional), len(whole), own.regional.shape[2]), dtype=np.float32)
            regional[:, place] = own.regional
        result.append(own._replace(domains=whole, spots=spots, regional=regional))
    return result
