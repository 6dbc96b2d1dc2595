"""Symbol, id, type and genome of every feature, from tables whose columns have the names of many programs."""

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
"""Names of columns in lower case, letters and digits alone, the likelier first."""

MISSING = ("", "nan", "NaN", "NA", "<NA>", "None", "none", "-")
"""What stands where a gene has no symbol."""

MOST = 0.5
"""Share of the names that must be ids, or numbers, for all to be taken as such."""

_JOINED = re.compile(rf"(?P<id>{GENE_ID.pattern})[_|:; -]+(?P<symbol>\S.*)")
_JOINED_AFTER = re.compile(rf"(?P<symbol>\S+?)[_|:; -]+(?P<id>{GENE_ID.pattern})")

Form = Literal["symbols", "ids", "numbers"]


def features_of(var: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return what ``var`` of AnnData tells of its features, and what was chosen.

    Returns
    -------
    features
        (n_features,) rows: ``symbol``, ``gene_ids``, ``feature_types``, ``genome``; the last two empty where not told.
    notes
        Columns that were taken, where they are not those that scanpy writes.
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
    """Tell whether most of some names are ids of genes, numbers, or neither."""
    if len(names) and is_gene_id(names).mean() > MOST:
        return "ids"
    return "numbers" if len(names) and names.str.fullmatch(r"\d+(\.0)?").mean() > MOST else "symbols"


def text_of(values: Any) -> pd.Series[str]:
    """Return values as text, (n,): bytes decoded, and nothing where a value is missing."""
    series = pd.Series(np.asarray(values, dtype=object))
    series = series.map(lambda value: value.decode("utf-8", "replace") if isinstance(value, bytes) else value)
    return series.where(series.notna(), "").astype(str)


def _names(var: pd.DataFrame, names: pd.Series[str], notes: list[str]) -> tuple[pd.Series[str], pd.Series[str]]:
    """Return symbols and ids, (n_features,) each."""
    joined = _split(names)
    if joined is not None:
        notes.append(f"names such as {names[0]} are taken apart into symbol and id")
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
    """Take names such as `ENSG00000187730_GABRD` apart into symbols and ids, where most are such."""
    for pattern in (_JOINED, _JOINED_AFTER):
        matches = [pattern.fullmatch(name) for name in names]
        if len(names) and sum(match is not None for match in matches) > MOST * len(names):
            symbols = [match["symbol"] if match else name for match, name in zip(matches, names, strict=True)]
            ids = [match["id"] if match else name for match, name in zip(matches, names, strict=True)]
            return pd.Series(symbols, dtype=object), pd.Series(ids, dtype=object)
    return None


def _ids(var: pd.DataFrame, names: pd.Series[str]) -> pd.Series[str] | None:
    """Return the ids: names that are ids, else the first column that holds such, else the first that is named so."""
    if form_of(names) == "ids":
        return names
    found = [column for name in ID_COLUMNS if (column := _column(var, (name,))) is not None]
    holding = [values for _, values in found if form_of(values) == "ids"]
    named = [values for column, values in found if plain(column) != "id" and (values != "").any()]
    return next(iter(holding + named), None)


def _symbols(var: pd.DataFrame) -> tuple[str, pd.Series[str]] | None:
    """Return the first column that is named after symbols and holds neither ids nor numbers, with its name."""
    for name in SYMBOL_COLUMNS:
        found = _column(var, (name,))
        if found is not None and form_of(found[1]) == "symbols" and (found[1] != "").any():
            return found
    return None


def _types(var: pd.DataFrame, notes: list[str]) -> pd.Series[str] | None:
    """Return the types of features: the first column named so that has a type which is known."""
    for name in TYPE_COLUMNS:
        found = _column(var, (name,))
        if found is None:
            continue
        column, values = found
        # Other columns of that name may be about anything; `feature_types` is 10x's.
        if name == TYPE_COLUMNS[0] or (kinds_of(values) != "").any():
            if column != "feature_types":
                notes.append(f"types of features from var[{column!r}]")
            return values
    return None


def _column(table: pd.DataFrame, names: tuple[str, ...]) -> tuple[str, pd.Series[str]] | None:
    """Return the first column that has one of some names, however spelt, and its own name."""
    for name in names:
        for column in table:
            if plain(str(column)) == name:
                return str(column), text_of(table[column]).str.strip()
    return None
