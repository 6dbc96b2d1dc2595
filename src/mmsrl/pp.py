"""Preprocessing, as scverse tools name it: ``mmsrl.pp``. Each function imports what it needs when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "read_spaceranger": "mmsrl.ingest.api",
    "read_instrument": "mmsrl.ingest.api",
    "read_h5ad": "mmsrl.ingest.api",
    "read_spatialdata": "mmsrl.ingest.api",
    "quality_control": "mmsrl.qc.api",
    "image_features": "mmsrl.features.api",
    "spot_descriptors": "mmsrl.features.nodes",
    "spatial_graph": "mmsrl.train.api",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_WHERE)}")


def __dir__() -> list[str]:
    return sorted(_WHERE)
