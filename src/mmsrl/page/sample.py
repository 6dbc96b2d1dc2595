"""A sample as its page shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmsrl import _keys
from mmsrl._platforms import OF_CELLS, PLATFORMS
from mmsrl.page.tissue import Float, Section

METRICS = {
    _keys.CONFIDENCE: "Domain confidence",
    _keys.PSEUDOTIME_RANK: "Pseudotime (rank)",
    "total_counts": "Counts",
    "n_genes_by_counts": "Genes",
    "pct_counts_mt": "Mitochondrial %",
    "pct_counts_ribo": "Ribosomal %",
    "pct_counts_hb": "Haemoglobin %",
    _keys.IMAGE_TISSUE: "Tissue in image",
    _keys.IMAGE_FOCUS: "Focus",
    _keys.IMAGE_HAEMATOXYLIN: "Haematoxylin",
    _keys.IMAGE_EOSIN: "Eosin",
}
"""Columns of obs that can be looked at on the tissue, with the title shown."""

OF_COUNTS = ("total_counts", "pct_counts_mt", "pct_counts_ribo", "pct_counts_hb")
"""Columns that mean nothing where expression was normalised before."""

QUALITY = tuple(title for key, title in METRICS.items() if key not in (_keys.CONFIDENCE, _keys.PSEUDOTIME_RANK))
"""Titles of what quality control looks at; the others are results."""


@dataclass(frozen=True)
class Mate:
    """What the pages of a unit's other samples need of a sample."""

    name: str
    unit: str
    domains: Sequence[str]
    colors: Mapping[str, str]
    rank: Float
    """Rank of pseudotime, shape (n_spots,); NaN where a spot has none."""
    umap: Float | None
    """Layout of the embedding, shape (n_spots, 2)."""


@dataclass(frozen=True)
class Sample:
    """One assembled sample."""

    name: str
    unit: str
    facts: dict[str, Any]
    """``uns['mmsrl']``."""
    n_genes: int
    section: Section
    design: Mapping[str, str] = field(default_factory=dict)
    """Condition, donor and covariates by the title shown, where the samplesheet gives them."""

    @property
    def noun(self) -> str:
        """What headlines call what was measured: ``cells`` where platform or ``bin_size`` says so, else ``spots``."""
        bins = self.facts.get("parameters", {}).get("ingest", {}).get("bin_size")
        return "cells" if self.facts.get(_keys.PLATFORM) in OF_CELLS or bins == "cell" else "spots"

    @property
    def platform(self) -> str:
        """The platform in words."""
        return PLATFORMS.get(str(self.facts.get(_keys.PLATFORM)), "other")
