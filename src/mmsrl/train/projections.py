"""The default's projections as they stand in the model's file, and back. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmsrl.residuals import Projection
from mmsrl.train.members import Fitted, Member


class Smoothing(NamedTuple):
    """How a member is smoothed from the components of a normalisation."""

    normalisation: str
    graph: str
    kernel_width: float
    """In spot pitches."""


def projection_state(fitted: Mapping[str, Fitted], members: Sequence[Member]) -> dict[str, Any]:
    """Return ``projections`` and ``members`` of a model's file: plain types and arrays."""
    return {
        "projections": {name: _state(found.projection) | _state(found) for name, found in fitted.items()},
        "members": [
            {name: member.facts[name] for name in Smoothing._fields} for member in members if "graph" in member.facts
        ],
    }


def _state(found: Projection | Fitted) -> dict[str, Any]:
    """Return the fields of a tuple that are no tuples themselves."""
    return {
        name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value
        for name, value in found._asdict().items()
        if not isinstance(value, Projection)
    }


def read_projections(model: Mapping[str, Any]) -> tuple[dict[str, Fitted], list[Smoothing]]:
    """Return the projections of a model's file by normalisation, and its members; none of a model without them."""
    fitted: dict[str, Fitted] = {}
    for name, state in model.get("projections", {}).items():
        values = dict(state)
        projection = Projection(**{field: values.pop(field) for field in Projection._fields})
        fitted[name] = Fitted(projection, **values)
    return fitted, [Smoothing(**member) for member in model.get("members", [])]
