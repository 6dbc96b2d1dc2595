"""Command line of ``mmsrl-check``: validation of all inputs before any task starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TextIO

import click

from mmsrl._click import stage_command
from mmsrl._errors import InputError


@stage_command("check")
@click.option(
    "--input",
    "sheet",
    type=click.Path(path_type=Path),
    required=True,
    help="Samplesheet: CSV, TSV, YAML or JSON. Its relative paths are resolved from its folder.",
)
@click.option(
    "--params",
    "params",
    type=click.File(encoding="utf-8"),
    required=True,
    help="All pipeline parameters as a JSON object; - reads standard input.",
)
@click.option(
    "--schema-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    required=True,
    help="Folder with nextflow_schema.json and assets/schema_input.json.",
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Plan to write (JSON).")
@click.option(
    "--check-files/--no-check-files",
    default=True,
    show_default=True,
    help="Check the files named in the samplesheet. Without it, paths are kept as written.",
)
def main(sheet: Path, params: TextIO, schema_dir: Path, output: Path, check_files: bool) -> None:
    """Check parameters and samplesheet, and write the plan of the run.

    All errors are reported at once, one line each. With any error the exit status is 2 and nothing is written.
    """
    from mmsrl._files import write_json
    from mmsrl.check.plan import make_plan

    try:
        given = json.load(params, parse_constant=str)
    except ValueError as error:
        raise InputError(f"--params {params.name}: not JSON ({error})") from error
    if not isinstance(given, dict):
        raise InputError(f"--params {params.name}: must be a JSON object of parameters")
    write_json(output, make_plan(sheet, given, schema_dir, look_at_files=check_files))
