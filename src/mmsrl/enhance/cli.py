"""``mmsrl-enhance``: de-noised expression, and whether it helps."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command

log = logging.getLogger(__name__)

NOT_COUNTED = {
    "level": "info",
    "text": "not made: de-noising is judged on molecules held out, and expression is normalised already",
}
"""Message where there are no counts."""


@stage_command("enhance")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option("--counts", type=INPUT_FILE, multiple=True, required=True, help="<sample>.qc.h5ad; once a sample.")
@click.option("--features", type=INPUT_FILE, multiple=True, help="<sample>.features.h5ad; once a sample.")
@click.option("--embedding", type=INPUT_FILE, required=True, help="<unit>.embedding.h5ad.")
@click.option("--model", type=INPUT_FILE, required=True, help="<unit>.model.npz.")
@output_dir_option("<unit>.enhanced.h5ad, <unit>.enhanced_genes.tsv and <unit>.enhance.json")
def main(
    id: str,
    counts: tuple[Path, ...],
    features: tuple[Path, ...],
    embedding: Path,
    model: Path,
    n_top_genes: int | None,
    batch_correction: bool,
    seed: int,
    output_dir: Path,
    n_enhanced_genes: int | None,
    enhanced_genes: str | None,
) -> None:
    """De-noise the expression of a unit, and show on held-out counts for which genes it helps."""
    from mmsrl._errors import InputError
    from mmsrl._files import atomic_path, write_summary, write_text
    from mmsrl._hdf5 import write_compact
    from mmsrl._sections import add_embedding, all_counted
    from mmsrl.enhance.api import enhance
    from mmsrl.train.files import read_model, read_sections

    sections = read_sections(counts, features)
    if not all_counted(sections):
        log_messages(log, [NOT_COUNTED])
        write_summary(
            output_dir / f"{id}.enhance.json",
            stage="enhance",
            id=id,
            parameters={},
            result={"skipped": NOT_COUNTED["text"]},
            messages=[NOT_COUNTED],
        )
        return
    add_embedding(sections, embedding, latent=True)
    options = {
        "n_enhanced_genes": n_enhanced_genes,
        "enhanced_genes": enhanced_genes.split(",") if enhanced_genes else None,
        "n_top_genes": n_top_genes,
        "batch_correction": batch_correction,
        "seed": seed,
    }
    try:
        found = enhance(sections, read_model(model), **options)  # type: ignore[arg-type]
    except InputError as error:
        raise InputError(f"unit {id}: {error}") from error
    log_messages(log, found.messages)
    facts = found.facts
    log.info(
        "of %d genes with %d held-out molecules or more, better for %d, worse for %d, undecided for %d",
        *(facts["n_judged"], facts["min_held_out"]),
        *facts["verdicts"].values(),
    )
    with atomic_path(output_dir / f"{id}.enhanced.h5ad") as temporary:
        write_compact(temporary, found.spots)
    text = found.genes.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.4g")
    write_text(output_dir / f"{id}.enhanced_genes.tsv", text)
    write_summary(
        output_dir / f"{id}.enhance.json",
        stage="enhance",
        id=id,
        parameters=options,
        result=found.facts,
        messages=found.messages,
    )
