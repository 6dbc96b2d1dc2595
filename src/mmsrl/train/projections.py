"""Convert the projections of ``default`` to and from plain types for the model file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mmsrl.residuals import Projection
from mmsrl.train.members import Fitted, Member


class Smoothing(NamedTuple):
    """Smoothing that yields a member from the components of a normalisation."""

    normalisation: str
    graph: str
    kernel_width: float
    """Bandwidth in spot pitches."""


def projection_state(fitted: Mapping[str, Fitted], members: Sequence[Member]) -> dict[str, Any]:
    """Return the entries ``projections`` and ``members`` of a model file, as plain types and arrays."""
    return {
        "projections": {name: _state(one.projection) | _state(one) for name, one in fitted.items()},
        "members": [
            {name: member.facts[name] for name in Smoothing._fields} for member in members if "graph" in member.facts
        ],
    }


def _state(fields: Projection | Fitted) -> dict[str, Any]:
    """Return the fields of a named tuple that are not projections."""
    return {
        name: np.ascontiguousarray(value) if isinstance(value, np.ndarray) else value
        for name, value in fields._asdict().items()
        if not isinstance(value, Projection)
    }


def read_projections(model: Mapping[str, Any]) -> tuple[dict[str, Fitted], list[Smoothing]]:
    """Return the projections of a model by normalisation, and its members. Both are empty for published presets."""
    fitted: dict[str, Fitted] = {}
    for name, state in model.get("projections", {}).items():
        values = dict(state)
        projection = Projection(**{field: values.pop(field) for field in Projection._fields})
        fitted[name] = Fitted(projection, **values)
    return fitted, [Smoothing(**member) for member in model.get("members", [])]
