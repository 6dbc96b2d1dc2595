"""``mmsrl-report``: one page for all samples, and the manifest of the run."""

from __future__ import annotations

from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, stage_command


@stage_command("report")
@click.option("--assembled", type=INPUT_FILE, multiple=True, required=True, help="<sample>.mmsrl.h5ad; once a sample.")
@click.option("--summaries", type=INPUT_FILE, multiple=True, help="<id>.<stage>.json; repeatable.")
@click.option("--training", type=INPUT_FILE, multiple=True, help="<unit>.training.tsv; repeatable.")
@click.option("--evidence", type=INPUT_FILE, multiple=True, help="<unit>.enhanced_genes.tsv; repeatable.")
@click.option("--enhanced", type=INPUT_FILE, multiple=True, help="<unit>.enhanced.h5ad; repeatable.")
@click.option("--comparison", type=INPUT_FILE, multiple=True, help="study.*.tsv of mmsrl-compare; repeatable.")
@click.option("--scores", type=INPUT_FILE, multiple=True, help="<unit>.scores.csv; repeatable.")
@click.option("--versions", type=INPUT_FILE, multiple=True, help="versions.yml: process, tool, version; repeatable.")
@click.option("--tiles", type=INPUT_FILE, multiple=True, help="<sample>.tiles.tif; repeatable.")
@click.option("--params", type=INPUT_FILE, help="Parameters of the pipeline as JSON.")
@click.option("--asked", "asked", type=INPUT_FILE, help="Samples asked for and tasks that failed, as JSON.")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), default=".", show_default=True)
def main(
    assembled: tuple[Path, ...],
    summaries: tuple[Path, ...],
    training: tuple[Path, ...],
    evidence: tuple[Path, ...],
    enhanced: tuple[Path, ...],
    comparison: tuple[Path, ...],
    scores: tuple[Path, ...],
    versions: tuple[Path, ...],
    tiles: tuple[Path, ...],
    params: Path | None,
    asked: Path | None,
    output_dir: Path,
    report_title: str,
    report_genes: str | None,
) -> None:
    """Write mmsrl_report.html, which needs no network, manifest.json, and tables for MultiQC."""
    import logging

    import yaml

    from mmsrl._errors import InputError
    from mmsrl._files import write_json, write_text
    from mmsrl._palette import natural_order
    from mmsrl.report.api import read_sample
    from mmsrl.report.content import read_asked, read_outputs
    from mmsrl.report.genes import listed_genes, not_found
    from mmsrl.report.manifest import build_manifest
    from mmsrl.report.missing import missing_samples
    from mmsrl.report.multiqc import multiqc_files, multiqc_versions
    from mmsrl.report.pictures import pictures_by_sample
    from mmsrl.report.render import render

    log = logging.getLogger("mmsrl.report")
    outputs = read_outputs(
        summaries=summaries,
        training=training,
        evidence=evidence,
        scores=scores,
        versions=versions,
        params=params,
        comparison=comparison,
    )
    named = [gene.strip() for gene in (report_genes or "").split(",") if gene.strip()]
    genes: dict[str, dict[str, list[str]]] = {}

    def genes_of(unit: str) -> list[str]:
        results = (outputs.result(stage, unit, unit) for stage in ("markers", "enhance"))
        genes[unit] = listed_genes(named, *results)
        return [gene for chosen in genes[unit].values() for gene in chosen]

    denoised = {path.name.removesuffix(".enhanced.h5ad"): path for path in enhanced}
    read = [sample for sample in (read_sample(path, genes_of, denoised) for path in assembled) if sample is not None]
    if not read:
        raise InputError("--assembled: only files of groups; give the files of their samples")
    by_name = {sample.name: sample for sample in read}
    samples = [by_name[name] for name in natural_order(by_name)]
    notes = not_found(named, {sample.name: list(sample.section.genes) for sample in samples})
    for note in notes:
        log.warning("--report_genes: %s", note)
    output_dir.mkdir(parents=True, exist_ok=True)
    missing = missing_samples(read_asked(asked), set(by_name), outputs.summaries) if asked else []
    pictures = pictures_by_sample(samples, tiles)
    page = render(samples, outputs, pictures, genes, notes, title=report_title, missing=missing)
    write_text(output_dir / "mmsrl_report.html", page)
    units = [(sample.name, sample.unit) for sample in samples]
    write_json(output_dir / "manifest.json", build_manifest(outputs, units, missing))
    for name, content in multiqc_files(outputs, samples).items():
        write_json(output_dir / name, content)
    if outputs.versions:
        write_text(output_dir / "mmsrl_mqc_versions.yml", yaml.safe_dump(multiqc_versions(outputs)))
    log.info("mmsrl_report.html: %d samples, %.1f MB", len(samples), len(page) / 1e6)
