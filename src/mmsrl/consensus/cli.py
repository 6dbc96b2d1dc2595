"""``mmsrl-consensus``: one labelling of the members of an ensemble."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("consensus")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option(
    "--domains",
    type=INPUT_FILE,
    required=True,
    help="<unit>.domains.h5ad.",
)
@output_dir_option("<unit>.domains.csv and <unit>.consensus.json")
def main(id: str, domains: Path, output_dir: Path) -> None:
    """Average the members of a unit into one labelling, and say how sure it is at each spot."""
    from mmsrl._errors import InputError
    from mmsrl._files import write_summary, write_text
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.consensus.api import consensus

    try:
        table, facts, messages = consensus(read_stage_file(domains, "domains"))
    except InputError as error:
        raise InputError(f"unit {id}: {error}") from error
    log = logging.getLogger(__name__)
    log_messages(log, messages)
    log.info("%d domains of %d spots from %d members", facts["n_domains"], len(table), facts["members"])
    write_text(output_dir / f"{id}.domains.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    write_summary(
        output_dir / f"{id}.consensus.json",
        stage="consensus",
        id=id,
        parameters={},
        result=facts,
        messages=messages,
    )
