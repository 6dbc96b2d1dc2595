"""A sample as the report shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mmsrl import _keys
from mmsrl._platforms import OF_CELLS
from mmsrl.report.tissue import Section

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
class Sample:
    """One assembled sample."""

    name: str
    unit: str
    facts: dict[str, Any]
    """``uns['mmsrl']``."""
    n_genes: int
    section: Section

    @property
    def noun(self) -> str:
        """What headlines call what was measured: ``cells`` where platform or ``bin_size`` says so, else ``spots``."""
        bins = self.facts.get("parameters", {}).get("ingest", {}).get("bin_size")
        return "cells" if self.facts.get(_keys.PLATFORM) in OF_CELLS or bins == "cell" else "spots"
