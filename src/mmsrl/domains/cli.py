"""``mmsrl-domains``: spatial domains of one unit."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import stage_command

_file = click.Path(exists=True, dir_okay=False, path_type=Path)


@stage_command("domains")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option("--embedding", type=_file, required=True, help="<unit>.embedding.h5ad.")
@click.option(
    "--n-domains", type=click.IntRange(1), help="Number of domains; if not given, it is chosen without labels."
)
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed.")
@click.option(
    "--output-dir",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path("."),
    help="Folder for <unit>.domains.csv and <unit>.domains.json.",
)
def main(
    id: str,
    embedding: Path,
    n_domains: int | None,
    seed: int,
    output_dir: Path,
    readout: str,
    resolution: float,
) -> None:
    """Group the spots of a unit into spatial domains."""
    from typing import cast

    from mmsrl._errors import InputError
    from mmsrl._files import write_summary, write_text
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.domains.api import domains
    from mmsrl.domains.readouts import Readout

    embedded = read_stage_file(embedding, "train")
    try:
        table, facts, messages = domains(
            embedded, n_domains, readout=cast(Readout, readout), resolution=resolution, seed=seed
        )
    except InputError as error:
        raise InputError(f"unit {id}: {error}") from error
    log = logging.getLogger(__name__)
    for message in messages:
        log.info(message["text"])
    log.info("%d domains of %d spots", facts["n_domains"], len(table))
    write_text(output_dir / f"{id}.domains.csv", table.to_csv(index=False, lineterminator="\n"))
    write_summary(
        output_dir / f"{id}.domains.json",
        stage="domains",
        id=id,
        parameters={"n_domains": n_domains, "readout": readout, "resolution": resolution, "seed": seed},
        result=facts,
        messages=messages,
    )
