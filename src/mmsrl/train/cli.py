"""``mmsrl-train``: compute the embedding of all spots of a unit."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("train")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option(
    "--counts",
    multiple=True,
    required=True,
    type=INPUT_FILE,
    help="<sample>.qc.h5ad, once per section of the unit.",
)
@click.option(
    "--features",
    multiple=True,
    type=INPUT_FILE,
    help="<sample>.features.h5ad, matched to the counts by the name of the sample.",
)
@click.option(
    "--threads", type=click.IntRange(1), help="Number of CPU threads. Default: OMP_NUM_THREADS, or all cores."
)
@output_dir_option("the outputs")
def main(
    id: str,
    counts: tuple[Path, ...],
    features: tuple[Path, ...],
    threads: int | None,
    output_dir: Path,
    **options: Any,
) -> None:
    """Compute the embedding of one section, or of several jointly, and write one row per spot."""
    from threadpoolctl import threadpool_limits

    from mmsrl._errors import error_prefix
    from mmsrl._files import write_summary
    from mmsrl.train.api import train
    from mmsrl.train.files import read_sections, write_embedding, write_history, write_model
    from mmsrl.train.presets import PUBLISHED, with_defaults

    options |= with_defaults(options["preset"], {name: options[name] for name in ("seed", "batch_correction")})
    log = logging.getLogger(__name__)
    if threads:
        threadpool_limits(threads)
        if options["preset"] in PUBLISHED:
            import torch

            torch.set_num_threads(threads)
    sections = read_sections(counts, features, backed="r")
    with error_prefix(f"unit {id}"):
        result = train(sections, **options)
    log_messages(log, result.messages)
    write_embedding(output_dir / f"{id}.embedding.h5ad", result)
    write_history(output_dir / f"{id}.training.tsv", result.history)
    write_model(output_dir / f"{id}.model.npz", result.model)
    write_summary(output_dir, "train", id, parameters=options, result=result.facts, messages=result.messages)
    facts = result.facts
    log.info(
        "%d spots, %d genes, %d epochs in %.0f s on %s",
        facts["n_spots"],
        facts["n_genes"],
        facts["epochs"],
        facts["seconds"],
        facts["device"],
    )
