"""``mmsrl-map``: label a section with the domains of a trained unit."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("map")
@click.option("--id", "id", required=True, help="Id of the section; names the outputs.")
@click.option("--counts", type=INPUT_FILE, required=True, help="<sample>.qc.h5ad.")
@output_dir_option("<sample>.map.csv and <sample>.map.json")
def main(id: str, counts: Path, reference: str | None, reference_unit: str | None, seed: int, output_dir: Path) -> None:
    """Label a section with the domains of a trained unit, without training."""
    from mmsrl._errors import InputError
    from mmsrl._files import write_summary, write_text
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.map.api import map_section

    if not reference:
        raise InputError("--reference is needed: the folder of an earlier run's results")
    mapped = map_section(read_stage_file(counts, "qc"), reference, unit=reference_unit, seed=seed)
    log = logging.getLogger(__name__)
    log_messages(log, mapped.messages)
    facts = mapped.facts
    table = mapped.table.to_csv(index=False, lineterminator="\n", float_format="%.6g")
    write_text(output_dir / f"{id}.map.csv", table)
    write_summary(
        output_dir,
        "map",
        id,
        parameters={"reference_unit": facts["reference"], "seed": seed},
        result=facts,
        messages=mapped.messages,
    )
    log.info(
        "%d of %d spots unlike %s; %d of the model's %d genes",
        facts["unlike"],
        len(mapped.table),
        facts["reference"],
        facts["n_genes"],
        facts["genes_of_model"],
    )
