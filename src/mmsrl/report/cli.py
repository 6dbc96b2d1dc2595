"""``mmsrl-report``: write overview, study and methods as HTML, and the manifest of the run."""

from __future__ import annotations

from pathlib import Path

import click

from mmsrl._click import INPUT_FILE, stage_command


@stage_command("report")
@click.option("--card", "cards", type=INPUT_FILE, multiple=True, help="<sample>.card.json of mmsrl-page; repeatable.")
@click.option("--summaries", type=INPUT_FILE, multiple=True, help="<id>.<stage>.json; repeatable.")
@click.option("--comparison", type=INPUT_FILE, multiple=True, help="study.*.tsv of mmsrl-compare; repeatable.")
@click.option("--versions", type=INPUT_FILE, multiple=True, help="versions.yml: process, tool, version; repeatable.")
@click.option("--params", type=INPUT_FILE, help="Parameters of the pipeline as JSON.")
@click.option("--asked", "asked", type=INPUT_FILE, help="Requested samples and failed tasks, as JSON.")
@click.option("--output-dir", type=click.Path(file_okay=False, path_type=Path), default=".", show_default=True)
def main(
    cards: tuple[Path, ...],
    summaries: tuple[Path, ...],
    comparison: tuple[Path, ...],
    versions: tuple[Path, ...],
    params: Path | None,
    asked: Path | None,
    output_dir: Path,
    report_title: str,
) -> None:
    """Write mmsrl_report.html, its assets/, manifest.json and tables for MultiQC.

    The report links to the section pages of mmsrl-page in the folder sections/ beside it.
    """
    import logging

    import yaml
    from plotly.offline import get_plotlyjs

    from mmsrl._files import write_json, write_text
    from mmsrl.report.cards import not_found, read_cards
    from mmsrl.report.content import Asked, read_asked, read_run
    from mmsrl.report.manifest import analysed, build_manifest
    from mmsrl.report.missing import missing_samples
    from mmsrl.report.multiqc import multiqc_files, multiqc_versions
    from mmsrl.report.render import render, section_list

    log = logging.getLogger("mmsrl.report")
    sections = read_cards(cards)
    outputs = read_run(summaries=summaries, comparison=comparison, versions=versions, params=params)
    requested = read_asked(asked) if asked else Asked([], [])
    units = analysed(sections, outputs)
    notes = not_found(sections)
    for note in notes:
        log.warning("--report_genes: %s", note)
    missing = missing_samples(requested, units.keys(), {card.sample for card in sections}, outputs.summaries)
    page = render(sections, outputs, notes, title=report_title, missing=missing)
    (output_dir / "assets").mkdir(parents=True, exist_ok=True)
    write_text(output_dir / "mmsrl_report.html", page)
    write_text(output_dir / "assets" / "plotly.min.js", get_plotlyjs())
    write_text(output_dir / "assets" / "sections.js", section_list(sections, outputs, report_title))
    write_json(output_dir / "manifest.json", build_manifest(outputs, list(units.items()), missing))
    for name, content in multiqc_files(outputs, sections).items():
        write_json(output_dir / name, content)
    if outputs.versions:
        write_text(output_dir / "mmsrl_mqc_versions.yml", yaml.safe_dump(multiqc_versions(outputs)))
    log.info("mmsrl_report.html: %d sections, %.1f MB", len(sections), len(page) / 1e6)
