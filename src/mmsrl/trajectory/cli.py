"""``mmsrl-trajectory``: order the spots of a unit by pseudotime."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("trajectory")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option("--counts", type=INPUT_FILE, multiple=True, required=True, help="<sample>.qc.h5ad; once a sample.")
@click.option("--embedding", type=INPUT_FILE, required=True, help="<unit>.embedding.h5ad.")
@click.option("--domains", type=INPUT_FILE, required=True, help="<unit>.domains.csv.")
@output_dir_option("<unit>.trajectory.h5ad, <unit>.trends.tsv and <unit>.trajectory.json")
def main(
    id: str,
    counts: tuple[Path, ...],
    embedding: Path,
    domains: Path,
    seed: int,
    output_dir: Path,
    root: str | None,
) -> None:
    """Order the spots of a unit by pseudotime, and fit genes along it."""
    from mmsrl._errors import error_prefix
    from mmsrl._files import atomic_path, write_summary, write_text
    from mmsrl._sections import read_unit
    from mmsrl.trajectory.api import trajectory

    with error_prefix(f"unit {id}"):
        order = trajectory(read_unit(counts, domains, embedding), root=root, seed=seed)
    log = logging.getLogger(__name__)
    log_messages(log, order.messages)
    log.info("root: %s; %d genes change", order.facts["root"]["rule"], order.facts["n_changing"])
    with atomic_path(output_dir / f"{id}.trajectory.h5ad") as temporary:
        order.spots.write_h5ad(temporary, compression="gzip")
    text = order.genes.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.4g")
    write_text(output_dir / f"{id}.trends.tsv", text)
    write_summary(
        output_dir,
        "trajectory",
        id,
        parameters={"root": root, "seed": seed},
        result=order.facts,
        messages=order.messages,
    )
