"""Gene sets: the GMT format, and which sets the genes of a domain are rich in."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom

from mmsrl._errors import InputError

SMALLEST, LARGEST = 5, 500
"""Sets with fewer or more genes among those tested say nothing, or everything."""

COLUMNS = ["gene_set", "n_set", "n_markers", "n_both", "expected", "p_value", "p_adjusted", "genes"]


def read_gmt(path: Path) -> dict[str, list[str]]:
    """Read gene sets: a line a set, tabs between its name, a description and its genes.

    Raises
    ------
    InputError
        If a line is no such set, two sets have one name, or there is none.
    """
    sets: dict[str, list[str]] = {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise InputError(f"{path.name}: not text in UTF-8 ({error.reason}); give gene sets as a GMT file") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *rest = [field.strip() for field in line.split("\t")]
        genes = list(dict.fromkeys(gene for gene in rest[1:] if gene))
        if not name or not genes:
            raise InputError(
                f"{path.name}: line {number} is no gene set; a line is name, description and genes, with tabs between"
            )
        if name in sets:
            raise InputError(f"{path.name}: line {number}: a second set named {name}; give each its own name")
        sets[name] = genes
    if not sets:
        raise InputError(f"{path.name}: holds no gene set")
    return sets


def over_represented(
    markers: Collection[str], tested: Collection[str], sets: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Test each set for holding more of the markers than chance would put there (hypergeometric test).

    Parameters
    ----------
    markers
        Genes of a domain, a part of ``tested``.
    tested
        The genes that could have been markers: the background, to which sets are cut.
    sets
        Genes by name of the set; names are compared without regard to case.

    Returns
    -------
    One row a set of :data:`SMALLEST` to :data:`LARGEST` tested genes, most significant first; ``expected`` is the
    number of markers in it by chance, ``p_adjusted`` by Benjamini and Hochberg over the sets.
    """
    background = {gene.upper(): gene for gene in tested}
    chosen = {gene.upper() for gene in markers}
    rows = []
    for name, genes in sets.items():
        own = {gene.upper() for gene in genes} & background.keys()
        if not SMALLEST <= len(own) <= LARGEST:
            continue
        both = sorted(background[gene] for gene in own & chosen)
        p = float(hypergeom.sf(len(both) - 1, len(background), len(own), len(chosen)))
        expected = len(own) * len(chosen) / len(background)
        rows.append((name, len(own), len(chosen), len(both), expected, p, np.nan, ",".join(both)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if len(table):
        table["p_adjusted"] = false_discovery_control(table["p_value"])
    return table.sort_values(["p_value", "gene_set"], ignore_index=True)
