"""``mmsrl-markers``: find the markers of the domains of a unit."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("markers")
@click.option("--id", "id", required=True, help="Id of the unit; names the outputs.")
@click.option("--counts", type=INPUT_FILE, multiple=True, required=True, help="<sample>.qc.h5ad; once a sample.")
@click.option("--features", type=INPUT_FILE, multiple=True, help="<sample>.features.h5ad; once a sample.")
@click.option("--domains", type=INPUT_FILE, required=True, help="<unit>.domains.csv.")
@click.option(
    "--trained", type=INPUT_FILE, required=True, help="<unit>.train.json: settings to find the domains again."
)
@click.option("--read-out", type=INPUT_FILE, required=True, help="<unit>.domains.json: settings of the clustering.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True, help="Members clustered in parallel.")
@output_dir_option("the tables and <unit>.markers.json")
def main(
    id: str,
    counts: tuple[Path, ...],
    features: tuple[Path, ...],
    domains: Path,
    trained: Path,
    read_out: Path,
    gene_sets: Path | None,
    threads: int,
    output_dir: Path,
) -> None:
    """Test the genes of each domain, spatial genes, gene sets and the adjacency of domains."""
    from mmsrl._errors import error_prefix
    from mmsrl._files import read_summary, write_summary, write_text
    from mmsrl._gmt import read_gmt
    from mmsrl._sections import add_domains
    from mmsrl.markers.api import markers
    from mmsrl.train.files import read_sections

    sets = read_gmt(gene_sets) if gene_sets else None
    training, reading = (read_summary(path)["parameters"] for path in (trained, read_out))
    sections = read_sections(counts, features)
    add_domains(sections, domains)
    with error_prefix(f"unit {id}"):
        result = markers(
            sections,
            gene_sets=sets,
            readout=reading["readout"],
            domain_seed=reading["seed"],
            threads=threads,
            **training,
        )
    log = logging.getLogger(__name__)
    log_messages(log, result.messages)
    tables = {"markers": result.genes, "spatial_genes": result.spatial, "neighbours": result.neighbours}
    if sets:
        tables["gene_sets"] = result.gene_sets
    for name, table in tables.items():
        text = table.to_csv(sep="\t", index=False, lineterminator="\n", float_format="%.4g")
        write_text(output_dir / f"{id}.{name}.tsv", text)
    log.info("%d markers in %d domains", sum(result.facts["n_markers"].values()), len(result.facts["domains"]))
    write_summary(
        output_dir,
        "markers",
        id,
        parameters={"gene_sets": gene_sets.name if gene_sets else None, "seed": training["seed"]},
        result=result.facts,
        messages=result.messages,
    )
