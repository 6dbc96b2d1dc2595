"""What a parameter is; which there are stands in :mod:`mmsrl.parameters`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Parameter:
    """One parameter: where it belongs, what it may be, and what it means."""

    name: str
    stage: str
    """The stage whose command takes it, or one of ``WORKFLOW_GROUPS`` for what only workflow and configuration read."""
    type: Literal["string", "integer", "number", "boolean"]
    default: str | int | float | bool | None
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    above: float | None = None
    """What a number must be greater than."""
    maximum: float | None = None
    format: str | None = None
    """What a string stands for, in nf-schema's words: ``file-path``, ``directory-path``."""
    pattern: str | None = None
    """Regular expression that the whole of a string matches."""
    pattern_words: str | None = None
    """The same in words, after "must be"."""
    schema: str | None = None
    """JSON Schema of the file that a string names."""
    required: bool = False
    hidden: bool = False
