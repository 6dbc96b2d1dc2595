"""Supported platforms, shared by the schema, the commands and the report."""

from __future__ import annotations

PLATFORMS = {
    "visium": "Visium",
    "visium_hd": "Visium HD",
    "st": "Spatial Transcriptomics",
    "dbit": "DBiT-seq",
    "slideseq": "Slide-seq",
    "curio": "Curio Seeker",
    "stereoseq": "Stereo-seq",
    "xenium": "Xenium",
    "atera": "Atera",
    "merscope": "MERSCOPE",
    "merfish": "MERFISH",
    "cosmx": "CosMx",
    "starmap": "STARmap",
    "osmfish": "osmFISH",
    "seqfish": "seqFISH",
    "other": "other",
}
"""Display names of platforms by their name in the samplesheet and in ``uns['mmsrl']``."""

OF_CELLS = frozenset({"xenium", "atera", "merscope", "merfish", "cosmx", "starmap", "osmfish", "seqfish"})
"""Platforms with molecules assigned to cells instead of spots or bins."""
