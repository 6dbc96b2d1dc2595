"""Mitochondrial, ribosomal and haemoglobin gene sets, matched by gene symbol. Works on arrays only."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmsrl.ingest.species import Species, without_genome

GENE_SETS: dict[str, dict[Species, str]] = {
    # R replaces dashes by dots. Rat symbols start with Mt-.
    "mt": {"human": r"MT[-.]", "mouse": r"[mM]t[-.]"},
    # Ribosomal proteins, not kinases such as RPS6KA1.
    "ribo": {
        "human": r"(RP[SL]\d+([AXL]|AL|Y[12])?|RPSA|RPLP[0-2])([-.]\d+|-ENS[A-Z]*G\d+)?$",
        "mouse": r"(Rp[sl]\d+([axl]|al)?|Rpsa|Rplp[0-2])([-.]\d+|-ENS[A-Z]*G\d+)?$",
    },
    # Haemoglobin chains, not HBEGF, HBP1 or HBS1L.
    "hb": {"human": r"HB([ABGQ][12]|[BDMZ]|E1)(-ENSG\d+)?$", "mouse": r"Hb([ab][-.].+|q1[ab])$"},
}
"""Regular expressions of gene symbols by species and gene set; sets are named as in scanpy's tutorials."""


def gene_set_masks(symbols: Sequence[str], species: Species) -> dict[str, NDArray[np.bool_]]:
    """Return a boolean mask of the member genes of every set.

    Parameters
    ----------
    symbols
        (n_genes,) gene symbols, with or without the genome as prefix.
    species
        Species whose symbols are matched. ``unknown`` matches those of human and mouse.

    Returns
    -------
    dict
        (n_genes,) bool by the name of the set.
    """
    masks = {}
    for name, patterns in GENE_SETS.items():
        spellings = patterns.values() if species == "unknown" else [patterns[species]]
        pattern = re.compile("|".join(f"(?:{spelling})" for spelling in spellings))
        masks[name] = np.array([pattern.match(without_genome(symbol)) is not None for symbol in symbols], dtype=bool)
    return masks
