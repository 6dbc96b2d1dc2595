"""Data of a sample that its page shows."""

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
"""Titles of the columns of obs that the tissue figure can show."""

_UNITS = {
    _keys.CONFIDENCE: "mean probability, 0 to 1",
    _keys.PSEUDOTIME_RANK: "0 = root, 1 = end",
    "total_counts": "molecules",
    "n_genes_by_counts": "detected",
    "pct_counts_mt": "of counts",
    "pct_counts_ribo": "of counts",
    "pct_counts_hb": "of counts",
    _keys.IMAGE_TISSUE: "fraction of the tile, 0 to 1",
    _keys.IMAGE_FOCUS: "sharpness within one image",
    _keys.IMAGE_HAEMATOXYLIN: "optical density",
    _keys.IMAGE_EOSIN: "optical density",
}

AXIS_TITLES = {METRICS[key]: f"{METRICS[key].replace(' (rank)', ' rank')} ({unit})" for key, unit in _UNITS.items()}
"""Titles of axes and colour bars, with the unit, by the title of the metric."""

OF_COUNTS = ("total_counts", "pct_counts_mt", "pct_counts_ribo", "pct_counts_hb")
"""Columns without meaning if expression was normalised before."""

QUALITY = tuple(title for key, title in METRICS.items() if key not in (_keys.CONFIDENCE, _keys.PSEUDOTIME_RANK))
"""Titles of the metrics of quality control; the others are results."""


@dataclass(frozen=True)
class Mate:
    """Part of a sample that the pages of the other samples of its unit need."""

    name: str
    unit: str
    domains: Sequence[str]
    colors: Mapping[str, str]
    rank: Float
    """Pseudotime rank, shape (n_spots,); NaN for spots without pseudotime."""
    umap: Float | None
    """UMAP of the embedding, shape (n_spots, 2)."""


@dataclass(frozen=True)
class Sample:
    """Assembled sample."""

    name: str
    unit: str
    facts: dict[str, Any]
    """``uns['mmsrl']``."""
    n_genes: int
    section: Section
    design: Mapping[str, str] = field(default_factory=dict)
    """Condition, donor and covariates of the samplesheet by their title."""

    @property
    def noun(self) -> str:
        """Name of an observation: ``cells`` if the platform or ``bin_size`` measures cells, else ``spots``."""
        bins = self.facts.get("parameters", {}).get("ingest", {}).get("bin_size")
        return "cells" if self.facts.get(_keys.PLATFORM) in OF_CELLS or bins == "cell" else "spots"

    @property
    def platform(self) -> str:
        """Name of the platform."""
        return PLATFORMS.get(str(self.facts.get(_keys.PLATFORM)), "other")
