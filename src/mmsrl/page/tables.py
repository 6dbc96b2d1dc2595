"""Tables that a reader searches and sorts, as ``templates/tables.js`` unpacks them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from mmsrl.page.payload import packed

Kind = Literal["domain", "gene", "text", "number", "fold", "percent", "share", "p", "yes"]
"""How a column is written: ``fold`` and ``percent`` with their sign, ``share`` in per cent without one."""


class Column(NamedTuple):
    """One column of a table."""

    name: str
    """In the data frame."""
    title: str
    kind: Kind
    choose: bool = False
    """Whether rows can be chosen by its value."""


MARKER_COLUMNS = (
    Column("domain", "Domain", "domain", choose=True),
    Column("gene", "Gene", "gene"),
    Column("effect", "Standard deviations higher", "fold"),
    Column("effect_low", "at least", "fold"),
    Column("effect_high", "at most", "fold"),
    Column("effect_next", "over the next domain", "fold"),
    Column("log2_fold_change", "log2 fold change", "fold"),
    Column("log2_fold_change_low", "at least", "fold"),
    Column("log2_fold_change_high", "at most", "fold"),
    Column("log2_fold_change_next", "over the next domain", "fold"),
    Column("share", "Spots with it", "share"),
    Column("share_elsewhere", "elsewhere", "share"),
    Column("p_adjusted", "Adjusted p", "p"),
    Column("p_adjusted_pseudobulk", "Adjusted p over samples", "p"),
    Column("samples_up", "Samples where higher", "number"),
    Column("specific", "Specific", "yes", choose=True),
)
GENE_SET_COLUMNS = (
    Column("domain", "Domain", "domain", choose=True),
    Column("gene_set", "Gene set", "text"),
    Column("n_both", "Markers in it", "number"),
    Column("expected", "Expected", "number"),
    Column("n_set", "Genes of it tested", "number"),
    Column("p_adjusted", "Adjusted p", "p"),
    Column("genes", "Genes", "text"),
)
JUDGED_COLUMNS = (
    Column("gene", "Gene", "gene"),
    Column("held_out", "Molecules held out", "number"),
    Column("over_normalised", "Saved over counts by library", "percent"),
    Column("over_smoothed", "Saved over the neighbourhood", "percent"),
    Column("gain", "Saved over the better", "percent"),
    Column("gain_se", "Standard error", "share"),
    Column("verdict", "De-noising", "text", choose=True),
    Column("written", "In the files", "yes", choose=True),
)


def table_payload(table: pd.DataFrame, columns: tuple[Column, ...]) -> str:
    """Pack a table, column by column; numbers with four significant digits, missing ones as ``null``."""
    content = [
        {"title": column.title, "kind": column.kind, "choose": column.choose, "cells": _cells(table[column.name])}
        for column in columns
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
    """Pack the first markers of all domains; ``None`` where there are none.

    Parameters
    ----------
    result
        Of ``<unit>.markers.json``.
    n_samples
        Of the unit: in how many of them a gene is higher says something of two and more.
    """
    rows = [{"domain": domain, **row} for domain, rows in result.get("markers", {}).items() for row in rows]
    left_out = set() if n_samples > 1 else {"samples_up"}
    left_out |= set() if result.get("pseudobulk", {}).get("domains") else {"p_adjusted_pseudobulk"}
    if not rows:
        return None
    # What could not be told of a gene is missing, not a word.
    numbers = [column.name for column in MARKER_COLUMNS if column.kind not in ("domain", "gene", "yes")]
    table = pd.DataFrame(rows)
    table = table.astype({name: float for name in numbers if name in table and name != "samples_up"})
    columns = [column for column in MARKER_COLUMNS if column.name in table and column.name not in left_out]
    return table_payload(table, tuple(columns))


def gene_set_table(result: Mapping[str, Any]) -> str | None:
    """Pack the gene sets that markers are over-represented in; ``None`` where there are none."""
    rows = result.get("gene_sets", [])
    return table_payload(pd.DataFrame(rows), GENE_SET_COLUMNS) if rows else None


def judged_table(judged: pd.DataFrame) -> str:
    """Pack what held-out molecules say of every gene, as :func:`mmsrl.page.series.judged_genes` returns it."""
    return table_payload(judged, JUDGED_COLUMNS)
