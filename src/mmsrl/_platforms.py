"""The platforms that a samplesheet may name; the schema, the command, ingest and the report take them from here."""

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
"""Name in the samplesheet and in ``uns['mmsrl']`` → name in text."""

OF_CELLS = frozenset({"xenium", "atera", "merscope", "merfish", "cosmx", "starmap", "osmfish", "seqfish"})
"""Platforms that see molecules in cells: what other sections have at spots or bins."""
