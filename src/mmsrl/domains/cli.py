"""``mmsrl-domains``: cluster the ensemble of a unit into spatial domains."""

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
    help="<unit>.embedding.h5ad, once per training, in the order of their random seeds.",
)
@click.option("--n-domains", type=click.IntRange(1), help="Number of domains. Default: chosen by stability.")
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="Number of members to cluster in parallel."
)
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
    """Cluster the spots of a unit into spatial domains: the consensus of its ensemble, with a confidence per spot."""
    from typing import cast

    from mmsrl._errors import error_prefix
    from mmsrl._files import atomic_path, write_summary, write_text
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.domains.api import domains, readout_settings
    from mmsrl.train.presets import Readout

    trainings = [read_stage_file(path, "train") for path in embeddings]
    with error_prefix(f"unit {id}"):
        settings = readout_settings(trainings[0], readout=cast("Readout | None", readout), seed=seed, refine=refine)
        table, members, facts, messages = domains(trainings, n_domains, **settings, threads=threads)
    log = logging.getLogger(__name__)
    log_messages(log, messages)
    log.info("%d domains of %d spots from %d members", facts["n_domains"], len(table), facts["members"])
    write_text(output_dir / f"{id}.domains.csv", table.to_csv(index=False, lineterminator="\n", float_format="%.4f"))
    with atomic_path(output_dir / f"{id}.domains.h5ad") as temporary:
        members.write_h5ad(temporary, compression="gzip")
    write_summary(
        output_dir,
        "domains",
        id,
        parameters={"n_domains": n_domains} | {name: value for name, value in settings.items() if value is not None},
        result=facts,
        messages=messages,
    )
