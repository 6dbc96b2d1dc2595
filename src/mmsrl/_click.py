"""Common parts of all console commands: options from the parameter table, messages and exit statuses."""

from __future__ import annotations

import errno
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from mmsrl._errors import EXIT_OUT_OF_MEMORY, MmsrlError
from mmsrl._parameter import Parameter
from mmsrl.parameters import parameters_of

_TYPES: dict[str, click.ParamType[Any]] = {
    "string": click.STRING,
    "integer": click.INT,
    "number": click.FLOAT,
    "boolean": click.BOOL,
}

INPUT_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
"""Click type of an option for an input file."""

_REMEDIES = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "make room there, or give another --output-dir"),
    **dict.fromkeys((errno.EROFS, errno.EACCES, errno.EPERM), "ask for permission, or give another --output-dir"),
}
"""Remedies for errors of the file system."""


def _option(parameter: Parameter) -> Callable[[Any], Any]:
    kind: click.ParamType[Any] = _TYPES[parameter.type]
    if parameter.choices:
        kind = click.Choice(parameter.choices)
    elif parameter.format == "file-path":
        kind = INPUT_FILE
    elif parameter.type == "integer":
        kind = click.IntRange(parameter.minimum, parameter.maximum)  # type: ignore[arg-type]
    elif parameter.type == "number":
        low = parameter.minimum if parameter.above is None else parameter.above
        kind = click.FloatRange(low, parameter.maximum, min_open=parameter.above is not None)
    return click.option(
        f"--{parameter.name.replace('_', '-')}",
        parameter.name,
        type=kind,
        default=parameter.default,
        show_default=True,
        help=parameter.help,
    )


def stage_options(stage: str) -> Callable[[Any], Any]:
    """Decorate a command with the options of ``stage`` in :mod:`mmsrl.parameters`."""

    def decorate(function: Any) -> Any:
        for parameter in reversed(parameters_of(stage)):
            function = _option(parameter)(function)
        return function

    return decorate


def output_dir_option(contents: str) -> Callable[[Any], Any]:
    """Decorate a command with ``--output-dir``, an existing folder. ``contents`` describes its new files."""
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    return click.option("--output-dir", type=folder, default=Path("."), help=f"Folder for {contents}.")


def log_messages(logger: logging.Logger, messages: Iterable[Mapping[str, str]]) -> None:
    """Log the messages of a stage at their levels."""
    for message in messages:
        logger.log(logging.WARNING if message["level"] == "warning" else logging.INFO, message["text"])


def _explained(error: OSError) -> str:
    """Describe the file, the error and the remedy."""
    what = os.strerror(error.errno) if error.errno else error.strerror or str(error)
    where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
    remedy = _REMEDIES.get(error.errno or 0, "mend that and start the command again")
    return f"{where}{what}; {remedy}"


def stage_command(stage: str) -> Callable[[Callable[..., None]], click.Command]:
    """Turn a function into the command ``mmsrl-<stage>``, with its options, plain logging and exit statuses."""

    def decorate(function: Callable[..., None]) -> click.Command:
        @functools.wraps(function)
        def run(**options: Any) -> None:
            logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"[{stage}] %(message)s", force=True)
            try:
                function(**options)
            except MmsrlError as error:
                click.echo(f"mmsrl-{stage}: error: {error}", err=True)
                sys.exit(error.exit_status)
            except OSError as error:
                click.echo(f"mmsrl-{stage}: error: {_explained(error)}", err=True)
                sys.exit(MmsrlError.exit_status)
            except MemoryError:
                click.echo(f"mmsrl-{stage}: error: out of memory; give the task more memory", err=True)
                sys.exit(EXIT_OUT_OF_MEMORY)

        return click.command(name=f"mmsrl-{stage}", help=function.__doc__)(stage_options(stage)(run))

    return decorate
