"""Which genes of several sections are the same: by their ids where all sections have them, else by their names."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
from anndata.utils import make_index_unique

from mmsrl import _keys

GENOME = re.compile(r"(?:GRCh3[78]|GRCm3[89]|hg19|hg38|mm9|mm10|mm39)[-_.]+")
"""Name of the genome that symbols and ids begin with in a matrix of several; R makes `-` or `.` of the underscores."""

GENE_ID = re.compile(rf"(?:{GENOME.pattern})?(?:ENS[A-Z]*G\d+|FBgn\d{{7}}|WBGene\d{{8}})(?:\.\d+)?(?:_PAR_Y)?")
"""Ids of genes as Ensembl, FlyBase and WormBase give them, with or without a version."""

_VERSION = re.compile(r"\.\d+(?=$|_PAR_Y$)")


def is_gene_id(names: pd.Series[str]) -> pd.Series[bool]:
    """Tell which names, (n,), are ids of genes."""
    return names.str.fullmatch(GENE_ID)


def plain_id(name: str) -> str:
    """Cut version and genome off an id: ``GRCh38_ENSG00000187730.7``; other names stay as they are."""
    if not GENE_ID.fullmatch(name):
        return name
    genome = GENOME.match(name)
    return _VERSION.sub("", name[genome.end() :] if genome else name)


def names_in_unit(tables: Sequence[pd.DataFrame]) -> list[pd.Index[str]]:
    """Name the genes of sections so that one name is one gene.

    A gene has the name of the first section that has its id. A gene of another id that has this name gets its own id
    behind it. Where a section has no ids, all keep their names.

    Parameters
    ----------
    tables
        `var` of every section: names as index, unique, and ids in ``gene_ids``.

    Returns
    -------
    Names of the genes of every section, (n_genes,) each.
    """
    keys = [_keys_of(var) for var in tables]
    if len(tables) < 2 or any(key is None for key in keys):
        return [var.index for var in tables]
    name_of: dict[str, str] = {}
    taken: set[str] = set()
    named = []
    for var, own in zip(tables, keys, strict=True):
        assert own is not None
        for key, name in zip(own, var.index.astype(str), strict=True):
            if key not in name_of:
                name_of[key] = name if name not in taken else f"{name}-{key}"
                taken.add(name_of[key])
        named.append(pd.Index([name_of[key] for key in own], dtype=object))
    return named


def _keys_of(var: pd.DataFrame) -> list[str] | None:
    """Return what tells the genes of a section apart: id, of those without one the name; ``None`` if most have none."""
    if _keys.GENE_IDS not in var:
        return None
    ids = var[_keys.GENE_IDS].astype(str)
    if not is_gene_id(ids).mean() > 0.5:
        return None
    names = var.index.astype(str)
    keys = [plain_id(gene) if known else name for gene, known, name in zip(ids, is_gene_id(ids), names, strict=True)]
    again = pd.Index(keys).duplicated(keep=False)
    return [f"{key} {name}" if doubled else key for key, doubled, name in zip(keys, again, names, strict=True)]


def unique_names(symbols: Sequence[str], gene_ids: Sequence[str]) -> pd.Index[str]:
    """Name genes by their symbols, and those that share a symbol by symbol and id, which no order can change.

    Where ids do not tell them apart, the second gets `-1`, the third `-2`, as scanpy does it.
    """
    shared = pd.Series(symbols, dtype=object).duplicated(keep=False).to_numpy()
    named = [
        f"{symbol}-{plain_id(gene)}" if doubled and GENE_ID.fullmatch(gene) and gene != symbol else symbol
        for symbol, gene, doubled in zip(symbols, gene_ids, shared, strict=True)
    ]
    unique: pd.Index[str] = pd.Index(make_index_unique(pd.Index(named, dtype=object)).to_numpy(dtype=object))
    return unique
