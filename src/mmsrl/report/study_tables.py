"""Interactive tables of the study page."""

from __future__ import annotations

import pandas as pd

from mmsrl.markers.table import FDR
from mmsrl.page.tables import Column, table_payload

STUDY_GENE_COLUMNS = (
    Column("domain", "Domain", "domain", choose=True),
    Column("condition", "Condition", "text", choose=True),
    Column("gene", "Gene", "gene"),
    Column("mean", "Molecules per 10,000", "number"),
    Column("log2_fold_change", "log2 fold change", "fold"),
    Column("low", "at least", "fold"),
    Column("high", "at most", "fold"),
    Column("p_value", "p", "p"),
    Column("p_adjusted", "Adjusted p", "p"),
    Column("significant", "Significant", "yes", choose=True),
)
STUDY_SET_COLUMNS = (
    Column("domain", "Domain", "domain", choose=True),
    Column("condition", "Condition", "text", choose=True),
    Column("direction", "Direction", "text", choose=True),
    Column("gene_set", "Gene set", "text"),
    Column("n_set", "Tested genes", "number"),
    Column("correlation", "Gene correlation", "number"),
    Column("p_adjusted", "Adjusted p", "p"),
    Column("n_both", "Changed genes", "number"),
    Column("genes", "Changed genes by name", "text"),
)


def study_gene_table(genes: pd.DataFrame, several: bool) -> str:
    """Encode the genes compared between conditions; ``several`` keeps the column of the condition."""
    genes = genes.assign(significant=genes["p_adjusted"] < FDR)
    return table_payload(genes, STUDY_GENE_COLUMNS, without=() if several else ("condition",))


def study_set_table(sets: pd.DataFrame | None, several: bool, most: int) -> str | None:
    """Encode the most significant gene sets of each domain, condition and direction; ``None`` without gene sets.

    Parameters
    ----------
    sets
        Table of gene sets of ``compare``, or ``None``.
    several
        Whether several conditions are compared with the control.
    most
        Maximum number of gene sets per domain, condition and direction.
    """
    if sets is None or not len(sets):
        return None
    first = sets.sort_values("p_adjusted", kind="stable").groupby(["domain", "condition", "direction"]).head(most)
    first = first.assign(genes=first["genes"].fillna("").str.replace(",", ", "))
    return table_payload(first, STUDY_SET_COLUMNS, without=() if several else ("condition",))
