"""Tools, as scverse tools name them: ``mmsrl.tl``. Each function imports what it needs when it is called."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_WHERE = {
    "train": "mmsrl.train.api",
    "domains": "mmsrl.domains.api",
    "consensus": "mmsrl.consensus.api",
}


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has {', '.join(_WHERE)}")


def __dir__() -> list[str]:
    return sorted(_WHERE)
