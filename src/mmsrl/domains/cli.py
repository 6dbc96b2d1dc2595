"""``mmsrl-domains``: spatial domains of one unit, in every member of its ensemble."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, parameter_option, stage_command


@stage_command("domains")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option(
    "--embedding",
    "embeddings",
    type=INPUT_FILE,
    multiple=True,
    required=True,
    help="<unit>.seed<seed>.embedding.h5ad; once for every member, in the order of their seeds.",
)
@click.option(
    "--n-domains", type=click.IntRange(1), help="Number of domains; if not given, it is chosen without labels."
)
@parameter_option("seed")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Members read out at once.")
@output_dir_option("<unit>.domains.h5ad and <unit>.domains.json")
def main(
    id: str,
    embeddings: tuple[Path, ...],
    n_domains: int | None,
    seed: int,
    threads: int,
    output_dir: Path,
    readout: str,
) -> None:
    """Group the spots of a unit into spatial domains, in every member of its ensemble."""
    from typing import cast

    from mmsrl._errors import InputError
    from mmsrl._files import atomic_path, write_summary
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.domains.api import domains
    from mmsrl.domains.readouts import Readout

    ensemble = [read_stage_file(path, "train") for path in embeddings]
    try:
        members, facts, messages = domains(
            ensemble, n_domains, readout=cast(Readout, readout), seed=seed, threads=threads
        )
    except InputError as error:
        raise InputError(f"unit {id}: {error}") from error
    log = logging.getLogger(__name__)
    log_messages(log, messages)
    log.info("%d domains of %d spots in %d members", facts["n_domains"], members.n_obs, facts["members"])
    with atomic_path(output_dir / f"{id}.domains.h5ad") as temporary:
        members.write_h5ad(temporary, compression="gzip")
    write_summary(
        output_dir / f"{id}.domains.json",
        stage="domains",
        id=id,
        parameters={"n_domains": n_domains, "readout": readout, "seed": seed},
        result=facts,
        messages=messages,
    )
