"""Errors with a message for the user, and their exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

EXIT_BAD_INPUT = 2
"""Wrong input or parameter. A retry cannot help."""

EXIT_NON_FINITE = 3
"""Diverged training. A retry with the same settings cannot help."""

EXIT_OUT_OF_MEMORY = 140
"""Out of memory. Lies in 130-145, the range in which retry strategies expect resource failures."""


class MmsrlError(Exception):
    """Failure with a message for the user. The command ends with ``exit_status`` and without traceback."""

    exit_status = 1


class InputError(MmsrlError):
    """Wrong input. The message names sample, file, row or column, and the remedy."""

    exit_status = EXIT_BAD_INPUT


class NonFiniteLossError(MmsrlError):
    """Diverged training: a loss is NaN or infinite."""

    exit_status = EXIT_NON_FINITE


class OutOfMemoryError(MmsrlError):
    """Too little memory on the compute device for this block size."""

    exit_status = EXIT_OUT_OF_MEMORY


@contextmanager
def error_prefix(source: str) -> Iterator[None]:
    """Prefix the message of every :class:`InputError` with its source: a sample, a unit or a file."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{source}: {error}") from error
