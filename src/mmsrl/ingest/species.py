"""Detection of the species from gene names. Works on arrays only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mmsrl._genes import GENOME

Species = Literal["human", "mouse", "unknown"]

# Patterns of each kind of name by species. Identifiers of other species count as unknown; symbols that match no
# pattern (Riken clones) are ignored.
_GENOMES: dict[str, Species] = {r"GRCh3[78]|hg19|hg38": "human", r"GRCm3[89]|mm9|mm10|mm39": "mouse"}
_IDS: dict[str, Species] = {r"ENSG\d+": "human", r"ENSMUSG\d+": "mouse", r"ENS[A-Z]+G\d+": "unknown"}
_SYMBOLS: dict[str, Species] = {r"[A-Z][A-Z0-9-]+(orf\d+)?$": "human", r"[A-Z](?=.*[a-z])[a-z0-9-]+$": "mouse"}

MAJORITY = 0.8
"""Share of recognised symbols that must agree. Genomes and identifiers are unambiguous and need half."""

MIN_SHARE = {"genomes": 0.01, "ids": 0.01, "symbols": 0.2}
"""Share of genes of the rarer species above which a section is a mixture, by kind of name."""


def without_genome(name: str) -> str:
    """Remove the genome prefix of a symbol or identifier (``GRCh38_GAPDH``)."""
    return GENOME.sub("", name, count=1) if GENOME.match(name) else name


def genome_of(name: str) -> str:
    """Return the genome prefix of a symbol; empty without prefix."""
    found = GENOME.match(name)
    return found.group().rstrip("-_.") if found else ""


def is_mixture(symbols: Sequence[str], gene_ids: Sequence[str], genomes: Sequence[str]) -> bool:
    """Return whether there are genes of both human and mouse, by genome, identifier or spelling of symbols."""
    for kind, species_of_genes in _by_kind(symbols, gene_ids, genomes):
        counted = {species: species_of_genes.count(species) for species in ("human", "mouse")}
        if sum(counted.values()):
            return min(counted.values()) > MIN_SHARE[kind] * sum(counted.values())
    return False


def species_of(
    symbols: Sequence[str], gene_ids: Sequence[str], genomes: Sequence[str], weights: ArrayLike | None = None
) -> Species:
    """Return the species, from the genomes, else Ensembl identifiers, else the spelling of symbols (GAPDH, Gapdh).

    Parameters
    ----------
    symbols, gene_ids, genomes
        (n_genes,) names; empty if unknown.
    weights
        (n_genes,) counts of each gene. The species of a mixture is that with the most counts. ``None`` weights all
        genes equally.
    """
    total = np.ones(len(symbols)) if weights is None else np.asarray(weights, dtype=np.float64)
    for kind, species_of_genes in _by_kind(symbols, gene_ids, genomes):
        min_share = MAJORITY if kind == "symbols" else 0.5
        totals: dict[Species, float] = {}
        for gene_species, weight in zip(species_of_genes, total, strict=True):
            if gene_species:
                totals[gene_species] = totals.get(gene_species, 0.0) + float(weight)
        if totals:
            species = max(totals, key=lambda name: totals[name])
            return species if totals[species] > min_share * sum(totals.values()) else "unknown"
    return "unknown"


def _by_kind(
    symbols: Sequence[str], gene_ids: Sequence[str], genomes: Sequence[str]
) -> Iterator[tuple[str, list[Species | None]]]:
    """Yield each kind of name of :data:`MIN_SHARE` with the species of every gene by it."""
    kinds = (
        ("genomes", genomes, _GENOMES),
        ("ids", [without_genome(name) for name in gene_ids], _IDS),
        ("symbols", [without_genome(name) for name in symbols], _SYMBOLS),
    )
    for kind, names, patterns in kinds:
        yield kind, [next((found for pattern, found in patterns.items() if re.match(pattern, n)), None) for n in names]
