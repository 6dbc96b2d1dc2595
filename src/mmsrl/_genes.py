"""Matching of genes across sections: by identifier if all sections have them, else by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pandas as pd
from anndata.utils import make_index_unique

from mmsrl import _keys

GENOME = re.compile(r"(?:GRCh3[78]|GRCm3[89]|hg19|hg38|mm9|mm10|mm39)[-_.]+")
"""Genome prefix of symbols and identifiers in a matrix of several genomes. R replaces underscores by `-` or `.`."""

GENE_ID = re.compile(rf"(?:{GENOME.pattern})?(?:ENS[A-Z]*G\d+|FBgn\d{{7}}|WBGene\d{{8}})(?:\.\d+)?(?:_PAR_Y)?")
"""Gene identifiers of Ensembl, FlyBase and WormBase, with or without version."""

_VERSION = re.compile(r"\.\d+(?=$|_PAR_Y$)")


def is_gene_id(names: pd.Series[str]) -> pd.Series[bool]:
    """Return a mask of the names, (n,), that are gene identifiers."""
    return names.str.fullmatch(GENE_ID)


def plain_id(name: str) -> str:
    """Remove version and genome from an identifier (``GRCh38_ENSG00000187730.7``). Other names are unchanged."""
    if not GENE_ID.fullmatch(name):
        return name
    genome = GENOME.match(name)
    return _VERSION.sub("", name[genome.end() :] if genome else name)


def names_in_unit(tables: Sequence[pd.DataFrame]) -> list[pd.Index[str]]:
    """Return gene names that are consistent across sections.

    A gene takes its name from the first section with its identifier. A different gene with the same name gets its
    identifier as suffix. Without identifiers in one of the sections, all names are unchanged.

    Parameters
    ----------
    tables
        ``var`` of every section, with unique names as index and identifiers in ``gene_ids``.

    Returns
    -------
    list
        Gene names of every section, (n_genes,) each.
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
    """Return the identifiers of genes, or names of genes without one; ``None`` if most have none."""
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
    """Return unique gene names: symbols, with the identifier as suffix for shared symbols.

    The result does not depend on the order of genes. Genes with equal symbols and identifiers get the suffixes `-1`,
    `-2` and so on, as in scanpy.
    """
    shared = pd.Series(symbols, dtype=object).duplicated(keep=False).to_numpy()
    named = [
        f"{symbol}-{plain_id(gene)}" if doubled and GENE_ID.fullmatch(gene) and gene != symbol else symbol
        for symbol, gene, doubled in zip(symbols, gene_ids, shared, strict=True)
    ]
    unique: pd.Index[str] = pd.Index(make_index_unique(pd.Index(named, dtype=object)).to_numpy(dtype=object))
    return unique
