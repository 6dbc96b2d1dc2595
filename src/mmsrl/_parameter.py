"""Definition of a parameter. :mod:`mmsrl.parameters` lists all parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Parameter:
    """Parameter of the pipeline: its stage, allowed values and description."""

    name: str
    stage: str
    """Stage whose command takes it, or one of ``WORKFLOW_GROUPS`` (:mod:`mmsrl._stages`)."""
    type: Literal["string", "integer", "number", "boolean"]
    default: str | int | float | bool | None
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None
    """Exclusive minimum of a number."""
    maximum: float | None = None
    format: str | None = None
    """Format of a string in nf-schema: ``file-path`` or ``directory-path``."""
    pattern: str | None = None
    """Regular expression for the whole string."""
    pattern_words: str | None = None
    """Description of ``pattern``, to follow "must be"."""
    schema: str | None = None
    """JSON Schema of the file that a string names."""
    also: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    """Default of further commands that take it, by stage."""
    required: bool = False
    hidden: bool = False
