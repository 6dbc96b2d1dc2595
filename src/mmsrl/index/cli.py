"""Command line of ``mmsrl-index``: machine-readable index of the result files."""

from __future__ import annotations

from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, output_dir_option, stage_command


@stage_command("index")
@click.option(
    "--files",
    type=INPUT_FILE,
    required=True,
    help="JSON: `files` (`path` in the results, `bytes`), `units` (`id`, `samples`) and `samples` (`id`, `condition`, "
    "`donor`, `covariates`).",
)
@output_dir_option("index.json")
def main(files: Path, output_dir: Path) -> None:
    """Write index.json: kind, sample or unit and description of every result file."""
    import logging

    from mmsrl import __version__
    from mmsrl._errors import InputError
    from mmsrl._files import read_json, write_json
    from mmsrl.index.kinds import index

    listed = read_json(files)
    if not isinstance(listed, dict) or not {"files", "units", "samples"} <= set(listed):
        raise InputError(f"{files.name}: expected a map with files, units and samples")
    content = index(listed["files"], listed["units"], listed["samples"])
    write_json(output_dir / "index.json", {"pipeline": {"name": "mmsrl", "version": __version__}, **content})
    logging.getLogger(__name__).info("index.json: %d files", len(content["files"]))
