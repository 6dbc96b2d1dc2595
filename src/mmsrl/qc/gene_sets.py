"""Mitochondrial, ribosomal and haemoglobin genes by symbol. Arrays only."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmsrl.ingest.species import Species, without_genome

GENE_SETS: dict[str, dict[Species, str]] = {
    # R makes dots of dashes; rat's are spelt Mt-.
    "mt": {"human": r"MT[-.]", "mouse": r"[mM]t[-.]"},
    # Proteins of the ribosome; not the kinases RPS6KA1 and so on.
    "ribo": {
        "human": r"(RP[SL]\d+([AXL]|AL|Y[12])?|RPSA|RPLP[0-2])([-.]\d+|-ENS[A-Z]*G\d+)?$",
        "mouse": r"(Rp[sl]\d+([axl]|al)?|Rpsa|Rplp[0-2])([-.]\d+|-ENS[A-Z]*G\d+)?$",
    },
    # Haemoglobin chains; not HBEGF, HBP1 or HBS1L.
    "hb": {"human": r"HB([ABGQ][12]|[BDMZ]|E1)(-ENSG\d+)?$", "mouse": r"Hb([ab][-.].+|q1[ab])$"},
}
"""Names of the sets, as scanpy's tutorials have them, and what their symbols look like."""


def gene_set_masks(symbols: Sequence[str], species: Species) -> dict[str, NDArray[np.bool_]]:
    """Mark the genes of every set; for an unknown species, those that look like either's.

    Parameters
    ----------
    symbols
        (n_genes,) symbols, with or without the genome's name in front.
    species
        Whose spelling to look for.

    Returns
    -------
    Masks, (n_genes,) bool, by the name of the set.
    """
    masks = {}
    for name, patterns in GENE_SETS.items():
        spellings = patterns.values() if species == "unknown" else [patterns[species]]
        pattern = re.compile("|".join(f"(?:{spelling})" for spelling in spellings))
        masks[name] = np.array([pattern.match(without_genome(symbol)) is not None for symbol in symbols], dtype=bool)
    return masks
