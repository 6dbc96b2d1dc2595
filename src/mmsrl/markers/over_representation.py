"""Over-representation of gene sets among the markers of a domain.

The test is SciPy's hypergeometric distribution. gseapy and decoupler offer the same test without the mid-p correction,
which a discrete statistic needs to be calibrated (``docs/calibration.md``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control, hypergeom

SMALLEST, LARGEST = 5, 500
"""Minimum and maximum number of tested genes in a gene set."""

COLUMNS = ["gene_set", "n_set", "n_markers", "n_both", "expected", "p_value", "p_adjusted", "genes"]


def over_represented(
    markers: Collection[str], tested: Collection[str], sets: Mapping[str, Collection[str]]
) -> pd.DataFrame:
    """Test each gene set for over-representation among the markers (hypergeometric test, mid-p).

    Parameters
    ----------
    markers
        Markers of a domain, a subset of ``tested``.
    tested
        All tested genes: the background, to which gene sets are restricted.
    sets
        Genes by name of the set. Names are compared case-insensitively.

    Returns
    -------
    One row for each set of :data:`SMALLEST` to :data:`LARGEST` tested genes, most significant first. ``expected`` is
    the number of markers in the set by chance. ``p_adjusted`` is the Benjamini-Hochberg adjusted p-value over sets.
    """
    background = {gene.upper(): gene for gene in tested}
    chosen = {gene.upper() for gene in markers}
    rows = []
    for name, genes in sets.items():
        members = {gene.upper() for gene in genes} & background.keys()
        if not SMALLEST <= len(members) <= LARGEST:
            continue
        both = sorted(background[gene] for gene in members & chosen)
        p = _mid_p(len(both), len(background), len(members), len(chosen))
        expected = len(members) * len(chosen) / len(background)
        rows.append((name, len(members), len(chosen), len(both), expected, p, np.nan, ",".join(both)))
    table = pd.DataFrame(rows, columns=COLUMNS)
    if len(table):
        table["p_adjusted"] = false_discovery_control(table["p_value"])
    return table.sort_values(["p_value", "gene_set"], ignore_index=True)


def _mid_p(both: int, background: int, own: int, chosen: int) -> float:
    """Return the mid-p: the probability of a larger overlap plus half the probability of the observed overlap."""
    return float(hypergeom.sf(both, background, own, chosen) + hypergeom.pmf(both, background, own, chosen) / 2)
