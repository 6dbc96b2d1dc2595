"""Errors a user can act on, and the exit statuses they end with."""

from __future__ import annotations

EXIT_BAD_INPUT = 2
"""The input or a parameter is wrong; trying again cannot help."""

EXIT_NON_FINITE = 3
"""Training diverged; trying again with the same settings cannot help."""

EXIT_OUT_OF_MEMORY = 140
"""The device ran out of memory; in 130-145, where retry strategies look for resource failures."""


class MmsrlError(Exception):
    """A failure with a message for the user; the command ends with ``exit_status`` and no traceback."""

    exit_status = 1


class InputError(MmsrlError):
    """Bad input: the message names sample, file, row or column and says what to do."""

    exit_status = EXIT_BAD_INPUT


class NonFiniteLossError(MmsrlError):
    """A loss became NaN or infinite."""

    exit_status = EXIT_NON_FINITE


class OutOfMemoryError(MmsrlError):
    """The compute device has not enough memory for this block size."""

    exit_status = EXIT_OUT_OF_MEMORY
