"""``mmsrl-domains``: spatial domains of one unit, the consensus of its ensemble."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("domains")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option(
    "--embedding",
    "embeddings",
    type=INPUT_FILE,
    multiple=True,
    required=True,
    help="<unit>.embedding.h5ad; of several trainings once for each, in the order of their seeds.",
)
@click.option(
    "--n-domains", type=click.IntRange(1), help="Number of domains; if not given, it is chosen without labels."
)
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Members read out at once.")
@output_dir_option("<unit>.domains.csv, <unit>.domains.h5ad and <unit>.domains.json")
def main(
    id: str,
    embeddings: tuple[Path, ...],
    n_domains: int | None,
    seed: int | None,
    threads: int,
    output_dir: Path,
    readout: str | None,
    refine: int | None,
) -> None:
    """Group the spots of a unit into spatial domains, and say how sure each is: the consensus of its ensemble."""
    from typing import cast

    from mmsrl._errors import InputError
    from mmsrl._files import atomic_path, write_summary, write_text
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.domains.api import domains, readout_settings
    from mmsrl.train.presets import Readout

    trainings = [read_stage_file(path, "train") for path in embeddings]
    try:
        settings = readout_settings(trainings[0], readout=cast("Readout | None", readout), seed=seed, refine=refine)
        table, members, facts, messages = domains(trainings, n_domains, **settings, threads=threads)
    except InputError as error:
        raise InputError(f"unit {id}: {error}") from error
    log = logging.getLogger(__name__)
    log_messages(log, messages)
    log.info("%d domains of %d spots from %d members", facts["n_domains"], len(table), facts["members"])
    write_text(output_dir / f"{id}.domains.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    with atomic_path(output_dir / f"{id}.domains.h5ad") as temporary:
        members.write_h5ad(temporary, compression="gzip")
    write_summary(
        output_dir / f"{id}.domains.json",
        stage="domains",
        id=id,
        parameters={"n_domains": n_domains} | {name: value for name, value in settings.items() if value is not None},
        result=facts,
        messages=messages,
    )
