"""Which sets of genes the markers of a domain are rich in."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom

SMALLEST, LARGEST = 5, 500
"""Sets with fewer or more genes among those tested say nothing, or everything."""

COLUMNS = ["gene_set", "n_set", "n_markers", "n_both", "expected", "p_value", "p_adjusted", "genes"]


def over_represented(
    markers: Collection[str], tested: Collection[str], sets: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Test each set for holding more of the markers than chance would put there (hypergeometric test, mid-p).

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
        p = _mid_p(len(both), len(background), len(own), len(chosen))
        expected = len(own) * len(chosen) / len(background)
        rows.append((name, len(own), len(chosen), len(both), expected, p, np.nan, ",".join(both)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if len(table):
        table["p_adjusted"] = false_discovery_control(table["p_value"])
    return table.sort_values(["p_value", "gene_set"], ignore_index=True)


def _mid_p(both: int, background: int, own: int, chosen: int) -> float:
    """Return the chance of more in both, and half of that of as many: of so few values the whole says too little."""
    return float(hypergeom.sf(both, background, own, chosen) + hypergeom.pmf(both, background, own, chosen) / 2)
