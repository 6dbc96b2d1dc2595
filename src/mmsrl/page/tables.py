"""Interactive tables that ``templates/tables.js`` decodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from mmsrl.page.payload import packed

Kind = Literal["domain", "gene", "text", "number", "fold", "percent", "share", "p", "yes"]
"""Format of a column: ``fold`` and ``percent`` have a sign, ``share`` is a percentage without a sign."""


class Column(NamedTuple):
    """Column of a table."""

    name: str
    """Name of the column in the data frame."""
    title: str
    kind: Kind
    choose: bool = False
    """Whether the reader can filter rows by the value."""


MARKER_COLUMNS = (
    Column("domain", "Domain", "domain", choose=True),
    Column("gene", "Gene", "gene"),
    Column("effect", "Effect size (SD)", "fold"),
    Column("effect_low", "at least", "fold"),
    Column("effect_high", "at most", "fold"),
    Column("effect_next", "over next domain", "fold"),
    Column("log2_fold_change", "log2 fold change", "fold"),
    Column("log2_fold_change_low", "at least", "fold"),
    Column("log2_fold_change_high", "at most", "fold"),
    Column("log2_fold_change_next", "over next domain", "fold"),
    Column("share", "Detected in", "share"),
    Column("share_elsewhere", "elsewhere", "share"),
    Column("p_adjusted", "Adjusted p", "p"),
    Column("p_adjusted_pseudobulk", "Adjusted p over samples", "p"),
    Column("samples_up", "Samples with higher level", "number"),
    Column("specific", "Specific", "yes", choose=True),
)
GENE_SET_COLUMNS = (
    Column("domain", "Domain", "domain", choose=True),
    Column("gene_set", "Gene set", "text"),
    Column("n_both", "Markers in it", "number"),
    Column("expected", "Expected", "number"),
    Column("n_set", "Tested genes in it", "number"),
    Column("p_adjusted", "Adjusted p", "p"),
    Column("genes", "Genes", "text"),
)
JUDGED_COLUMNS = (
    Column("gene", "Gene", "gene"),
    Column("held_out", "Held-out molecules", "number"),
    Column("over_normalised", "Saved over library-normalised", "percent"),
    Column("over_smoothed", "Saved over neighbourhood", "percent"),
    Column("gain", "Saved over the better", "percent"),
    Column("gain_se", "Standard error", "share"),
    Column("verdict", "Verdict", "text", choose=True),
    Column("written", "Written", "yes", choose=True),
)


def table_payload(table: pd.DataFrame, columns: tuple[Column, ...], *, without: Collection[str] = ()) -> str:
    """Encode a table by column, ``without`` those of these names.

    Numbers have four significant digits. Missing numbers are ``null``.
    """
    content = [
        {"title": column.title, "kind": column.kind, "choose": column.choose, "cells": _cells(table[column.name])}
        for column in columns
        if column.name not in without
    ]
    return packed(content)


def _cells(values: pd.Series[Any]) -> list[Any]:
    if values.dtype.kind in "iub":
        result: list[Any] = values.tolist()
        return result
    if values.dtype.kind == "f":
        return [float(f"{value:.4g}") if np.isfinite(value) else None for value in values]
    return [str(value) for value in values]


def marker_table(result: Mapping[str, Any], n_samples: int) -> str | None:
    """Encode the top markers of all domains; ``None`` without markers.

    Parameters
    ----------
    result
        Result of ``<unit>.markers.json``.
    n_samples
        Number of samples of the unit. The table counts samples with a higher level if there are at least two.
    """
    rows = [{"domain": domain, **row} for domain, rows in result.get("markers", {}).items() for row in rows]
    left_out = set() if n_samples > 1 else {"samples_up"}
    left_out |= set() if result.get("pseudobulk", {}).get("domains") else {"p_adjusted_pseudobulk"}
    if not rows:
        return None
    # Missing values become NaN, not text.
    numbers = [column.name for column in MARKER_COLUMNS if column.kind not in ("domain", "gene", "yes")]
    table = pd.DataFrame(rows)
    table = table.astype({name: float for name in numbers if name in table and name != "samples_up"})
    left_out |= {column.name for column in MARKER_COLUMNS} - set(table)
    return table_payload(table, MARKER_COLUMNS, without=left_out)


def gene_set_table(result: Mapping[str, Any]) -> str | None:
    """Encode the gene sets enriched in the markers; ``None`` without such sets."""
    rows = result.get("gene_sets", [])
    return table_payload(pd.DataFrame(rows), GENE_SET_COLUMNS) if rows else None


def judged_table(judged: pd.DataFrame) -> str:
    """Encode the gain of de-noising by gene, from :func:`mmsrl.page.series.judged_genes`."""
    return table_payload(judged, JUDGED_COLUMNS)
