"""Species from gene names. Arrays only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mmsrl._genes import GENOME

Species = Literal["human", "mouse", "unknown"]

# For each kind of name, what it looks like in each species. Ids of other species are known to be neither; symbols in
# neither style (Riken clones) say nothing.
_GENOMES: dict[str, Species] = {r"GRCh3[78]|hg19|hg38": "human", r"GRCm3[89]|mm9|mm10|mm39": "mouse"}
_IDS: dict[str, Species] = {r"ENSG\d+": "human", r"ENSMUSG\d+": "mouse", r"ENS[A-Z]+G\d+": "unknown"}
_SYMBOLS: dict[str, Species] = {r"[A-Z][A-Z0-9-]+(orf\d+)?$": "human", r"[A-Z](?=.*[a-z])[a-z0-9-]+$": "mouse"}

MAJORITY = 0.8
"""Share of the recognised symbols that must agree; names of genomes and ids are unmistakable and need half."""

LEAST = {"genomes": 0.01, "ids": 0.01, "symbols": 0.2}
"""Share of the genes that are of the rarer species from which there are two."""


def without_genome(name: str) -> str:
    """Cut off the genome's name that symbols and ids carry in a matrix of several: ``GRCh38_GAPDH``."""
    return GENOME.sub("", name, count=1) if GENOME.match(name) else name


def genome_of(name: str) -> str:
    """Return the genome's name that a symbol begins with; empty where it begins with none."""
    found = GENOME.match(name)
    return found.group().rstrip("-_.") if found else ""


def is_mixture(symbols: Sequence[str], gene_ids: Sequence[str], genomes: Sequence[str]) -> bool:
    """Tell whether genes of human and mouse are both there: by genomes, else ids, else the spelling of symbols."""
    for kind, told in _told(symbols, gene_ids, genomes):
        counted = {species: told.count(species) for species in ("human", "mouse")}
        if sum(counted.values()):
            return min(counted.values()) > LEAST[kind] * sum(counted.values())
    return False


def species_of(
    symbols: Sequence[str], gene_ids: Sequence[str], genomes: Sequence[str], weights: ArrayLike | None = None
) -> Species:
    """Tell the species from the genomes' names, else Ensembl ids, else the spelling of symbols (GAPDH, Gapdh).

    Parameters
    ----------
    symbols, gene_ids, genomes
        One entry for each gene; empty where not known.
    weights
        (n_genes,) counts of each gene, so that in a mixture that species is named which most counts come from.
    """
    total = np.ones(len(symbols)) if weights is None else np.asarray(weights, dtype=np.float64)
    for kind, told in _told(symbols, gene_ids, genomes):
        least = MAJORITY if kind == "symbols" else 0.5
        shares: dict[Species, float] = {}
        for found, weight in zip(told, total, strict=True):
            if found:
                shares[found] = shares.get(found, 0.0) + float(weight)
        if shares:
            species = max(shares, key=lambda name: shares[name])
            return species if shares[species] > least * sum(shares.values()) else "unknown"
    return "unknown"


def _told(
    symbols: Sequence[str], gene_ids: Sequence[str], genomes: Sequence[str]
) -> Iterator[tuple[str, list[Species | None]]]:
    """Yield each kind of name, as in :data:`LEAST`, and the species that each gene's name of it tells."""
    kinds = (
        ("genomes", genomes, _GENOMES),
        ("ids", [without_genome(name) for name in gene_ids], _IDS),
        ("symbols", [without_genome(name) for name in symbols], _SYMBOLS),
    )
    for kind, names, patterns in kinds:
        yield kind, [next((found for pattern, found in patterns.items() if re.match(pattern, n)), None) for n in names]
