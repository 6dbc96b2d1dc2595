"""Symbols, identifiers, types and genomes of features, from the column names of many programs."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pandas as pd

from mmsrl._genes import GENE_ID, is_gene_id
from mmsrl.ingest.cleaning import kinds_of
from mmsrl.ingest.columns import plain

SYMBOL_COLUMNS = (
    *("genesymbols", "genesymbol", "genename", "genenames", "featurename", "symbol", "symbols", "hgncsymbol"),
    *("mgisymbol", "externalgenename", "geneshortname", "name", "names", "gene", "genes", "features", "feature"),
    *("featurenames", "targetname", "target", "varnames", "rownames", "index"),
)
ID_COLUMNS = ("geneids", "geneid", "ensemblid", "ensemblids", "ensembl", "ensemblgeneid", "ensgene", "id", "featureid")
TYPE_COLUMNS = (
    *("featuretypes", "featuretype", "type", "types", "modality", "featureclass", "codeclass", "probetype", "assay"),
    *("featurebiotype", "librarytype"),
)
"""Column names in order of preference, spelt as :func:`mmsrl.ingest.columns.plain` returns them."""

MISSING = ("", "nan", "NaN", "NA", "<NA>", "None", "none", "-")
"""Placeholders for a missing symbol."""

MAJORITY = 0.5
"""Share of names above which their form (identifiers or numbers) applies to all."""

_JOINED = re.compile(rf"(?P<id>{GENE_ID.pattern})[_|:; -]+(?P<symbol>\S.*)")
_JOINED_AFTER = re.compile(rf"(?P<symbol>\S+?)[_|:; -]+(?P<id>{GENE_ID.pattern})")

Form = Literal["symbols", "ids", "numbers"]


def features_of(var: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return symbols, identifiers, types and genomes of features.

    Parameters
    ----------
    var
        ``var`` of AnnData, (n_features, …).

    Returns
    -------
    features
        (n_features, 4) text columns ``symbol``, ``gene_ids``, ``feature_types`` and ``genome``. The last two are empty
        if unknown.
    notes
        Columns that were used, unless scanpy writes them by default.
    """
    notes: list[str] = []
    names = text_of(var.index).str.strip()
    symbols, ids = _names(var, names, notes)
    types = _types(var, notes)
    genome = _column(var, ("genome",))
    return pd.DataFrame(
        {
            "symbol": symbols,
            "gene_ids": ids,
            "feature_types": "" if types is None else types,
            "genome": "" if genome is None else genome[1],
        }
    ), notes


def form_of(names: pd.Series[str]) -> Form:
    """Return the form of most names: ``ids`` (gene identifiers), ``numbers`` or ``symbols``."""
    if len(names) and is_gene_id(names).mean() > MAJORITY:
        return "ids"
    return "numbers" if len(names) and names.str.fullmatch(r"\d+(\.0)?").mean() > MAJORITY else "symbols"


def text_of(values: Any) -> pd.Series[str]:
    """Return values as text, (n,). Bytes are decoded and missing values become empty."""
    series = pd.Series(np.asarray(values, dtype=object))
    series = series.map(lambda value: value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
    return series.where(series.notna(), "").astype(str)


def _names(var: pd.DataFrame, names: pd.Series[str], notes: list[str]) -> tuple[pd.Series[str], pd.Series[str]]:
    """Return symbols and identifiers, (n_features,) each."""
    joined = _split(names)
    if joined is not None:
        notes.append(f"names such as {names[0]} are split into symbol and id")
        return joined
    ids = _ids(var, names)
    if form_of(names) == "symbols":
        return names, names if ids is None else ids
    stated = _symbols(var)
    if stated is None:
        return names if ids is None or form_of(names) == "ids" else ids, names if ids is None else ids
    column, symbols = stated
    notes.append(f"symbols of the genes from var[{column!r}]")
    known = ~symbols.isin(MISSING)
    ids = names if ids is None else ids
    return symbols.where(known, ids), ids


def _split(names: pd.Series[str]) -> tuple[pd.Series[str], pd.Series[str]] | None:
    """Split names such as `ENSG00000187730_GABRD` into symbols and identifiers; ``None`` for other names."""
    for pattern in (_JOINED, _JOINED_AFTER):
        matches = [pattern.fullmatch(name) for name in names]
        if len(names) and sum(match is not None for match in matches) > MAJORITY * len(names):
            symbols = [match["symbol"] if match else name for match, name in zip(matches, names, strict=True)]
            ids = [match["id"] if match else name for match, name in zip(matches, names, strict=True)]
            return pd.Series(symbols, dtype=object), pd.Series(ids, dtype=object)
    return None


def _ids(var: pd.DataFrame, names: pd.Series[str]) -> pd.Series[str] | None:
    """Return the identifiers: the names, else the first column with identifiers, else one named after them."""
    if form_of(names) == "ids":
        return names
    columns = [column for name in ID_COLUMNS if (column := _column(var, (name,))) is not None]
    by_values = [values for _, values in columns if form_of(values) == "ids"]
    by_name = [values for column, values in columns if plain(column) != "id" and (values != "").any()]
    return next(iter(by_values + by_name), None)


def _symbols(var: pd.DataFrame) -> tuple[str, pd.Series[str]] | None:
    """Return name and values of the first column that is named after symbols and holds some."""
    for name in SYMBOL_COLUMNS:
        column = _column(var, (name,))
        if column is not None and form_of(column[1]) == "symbols" and (column[1] != "").any():
            return column
    return None


def _types(var: pd.DataFrame, notes: list[str]) -> pd.Series[str] | None:
    """Return the types of features: the first column of such a name with a known type."""
    for name in TYPE_COLUMNS:
        named = _column(var, (name,))
        if named is None:
            continue
        column, values = named
        # Only `feature_types` is defined (by 10x); the other names are ambiguous.
        if name == TYPE_COLUMNS[0] or (kinds_of(values) != "").any():
            if column != "feature_types":
                notes.append(f"types of features from var[{column!r}]")
            return values
    return None


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, pd.Series[str]] | None:
    """Return name and values of the first column with one of the names in any spelling."""
    for name in names:
        for column in table:
            if plain(str(column)) == name:
                return str(column), text_of(table[column]).str.strip()
    return None
