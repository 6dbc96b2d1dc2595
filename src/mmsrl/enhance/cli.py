"""``mmsrl-enhance``: de-noise expression, and judge the result on held-out counts."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command

log = logging.getLogger(__name__)

NOT_COUNTED = {
    "level": "info",
    "text": "not computed: de-noising needs raw counts, and expression is normalised already",
}
"""Message for sections without raw counts."""


@stage_command("enhance")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option("--counts", type=INPUT_FILE, multiple=True, required=True, help="<sample>.qc.h5ad, once per sample.")
@click.option("--features", type=INPUT_FILE, multiple=True, help="<sample>.features.h5ad, once per sample.")
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
    """De-noise the expression of a unit, and judge on held-out counts which genes improve."""
    from mmsrl._errors import error_prefix
    from mmsrl._files import atomic_path, write_summary, write_text
    from mmsrl._hdf5 import write_compact
    from mmsrl._sections import add_embedding, all_counted
    from mmsrl.enhance.api import enhance
    from mmsrl.train.files import read_model, read_sections

    sections = read_sections(counts, features)
    if not all_counted(sections):
        log_messages(log, [NOT_COUNTED])
        write_summary(
            output_dir, "enhance", id, parameters={}, result={"skipped": NOT_COUNTED["text"]}, messages=[NOT_COUNTED]
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
    with error_prefix(f"unit {id}"):
        found = enhance(sections, read_model(model), **options)  # type: ignore[arg-type]
    log_messages(log, found.messages)
    facts = found.facts
    log.info(
        "%d genes with at least %d held-out molecules: %d better, %d worse, %d undecided",
        *(facts["n_judged"], facts["min_held_out"]),
        *facts["verdicts"].values(),
    )
    with atomic_path(output_dir / f"{id}.enhanced.h5ad") as temporary:
        write_compact(temporary, found.spots)
    text = found.genes.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.4g")
    write_text(output_dir / f"{id}.enhanced_genes.tsv", text)
    write_summary(output_dir, "enhance", id, parameters=options, result=found.facts, messages=found.messages)
