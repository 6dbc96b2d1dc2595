"""``mmsrl-page``: write a page and a summary card for each section of a unit."""

from __future__ import annotations

from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, output_dir_option, stage_command


@stage_command("page")
@click.option("--id", "id", required=True, help="Id of the unit.")
@click.option(
    "--assembled", type=INPUT_FILE, multiple=True, required=True, help="<sample>.mmsrl.h5ad; repeat for each sample."
)
@click.option("--summaries", type=INPUT_FILE, multiple=True, help="<id>.<stage>.json; repeatable.")
@click.option("--training", type=INPUT_FILE, help="<unit>.training.tsv.")
@click.option("--evidence", type=INPUT_FILE, help="<unit>.enhanced_genes.tsv.")
@click.option("--enhanced", type=INPUT_FILE, help="<unit>.enhanced.h5ad.")
@click.option("--scores", type=INPUT_FILE, help="<unit>.scores.csv.")
@click.option("--tiles", type=INPUT_FILE, multiple=True, help="<sample>.tiles.tif; repeatable.")
@output_dir_option("<sample>.html and <sample>.card.json")
def main(
    id: str,
    assembled: tuple[Path, ...],
    summaries: tuple[Path, ...],
    training: Path | None,
    evidence: Path | None,
    enhanced: Path | None,
    scores: Path | None,
    tiles: tuple[Path, ...],
    output_dir: Path,
    report_genes: str | None,
) -> None:
    """Write a page and a summary card for each section of a unit."""
    import logging
    from dataclasses import asdict

    from mmsrl._errors import InputError
    from mmsrl._files import write_json, write_text
    from mmsrl.page.api import read_mate, read_sample
    from mmsrl.page.card import card_of
    from mmsrl.page.content import read_outputs
    from mmsrl.page.genes import listed_genes
    from mmsrl.page.pictures import domain_pictures
    from mmsrl.page.render import render_page
    from mmsrl.page.sections import sample_content, unit_content
    from mmsrl.page.store import Store

    def given(path: Path | None) -> list[Path]:
        return [] if path is None else [path]

    log = logging.getLogger("mmsrl.page")
    outputs = read_outputs(
        summaries=summaries, training=given(training), evidence=given(evidence), scores=given(scores)
    )
    read = [(path, mate) for path in assembled if (mate := read_mate(path)) is not None]
    if not read:
        raise InputError("--assembled: all files belong to groups; give the files of the samples")
    for path, mate in read:
        if mate.unit != id:
            raise InputError(f"{path.name}: belongs to unit {mate.unit}, not to {id}; give the sections of one unit")
    mates = [mate for _, mate in read]
    requested = [gene.strip() for gene in (report_genes or "").split(",") if gene.strip()]
    genes = listed_genes(requested, *(outputs.result(stage, id, id) for stage in ("markers", "enhance")))
    shown = [gene for chosen in genes.values() for gene in chosen]
    pictured = {path.name.removesuffix(".tiles.tif"): path for path in tiles}
    # Process one section at a time to limit memory.
    for path, mate in read:
        sample, store = read_sample(path, shown, enhanced), Store()
        unit = unit_content(id, mates, outputs, genes, store)
        content = sample_content(sample, mates, unit, outputs, store)
        pictures = domain_pictures(sample, pictured[mate.name]) if mate.name in pictured else None
        page = render_page(content, pictures, store)
        card = card_of(sample, len(mates), unit["colors"], genes, outputs)
        write_text(output_dir / f"{mate.name}.html", page)
        write_json(output_dir / f"{mate.name}.card.json", asdict(card))
        log.info("%s.html: %d %s, %.1f MB", mate.name, card.n_spots, card.noun, len(page) / 1e6)
        if card.genes_lacking:
            log.warning("--report_genes: %s has no %s", mate.name, ", ".join(card.genes_lacking))
