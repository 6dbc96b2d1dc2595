"""Command line of ``mmsrl-qc``: quality metrics, filters and their figure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmsrl._click import INPUT_FILE, log_messages, stage_command
from mmsrl._errors import error_prefix
from mmsrl._files import atomic_path, write_summary

if TYPE_CHECKING:
    from anndata import AnnData
    from matplotlib.figure import Figure

    from mmsrl.qc.api import Quality

log = logging.getLogger(__name__)


@stage_command("qc")
@click.option("--id", required=True, help="Name of the sample.")
@click.option(
    "--counts",
    required=True,
    type=INPUT_FILE,
    help="ID.ingest.h5ad.",
)
@click.option("--output-dir", type=click.Path(path_type=Path, file_okay=False), default=".", help="Output folder.")
def main(id: str, counts: Path, output_dir: Path, **parameters: Any) -> None:
    """Filter spots and genes by quality; write ID.qc.h5ad, ID.qc.json and ID.qc.png."""
    from mmsrl._hdf5 import read_stage_file, write_compact
    from mmsrl.qc.api import quality_control

    with error_prefix(f"sample {id}"):
        adata = read_stage_file(counts, "ingest")
        quality = quality_control(adata, **parameters)
    log_messages(log, quality.messages)
    figure = _figure(id, adata, quality)
    output_dir.mkdir(parents=True, exist_ok=True)
    with atomic_path(output_dir / f"{id}.qc.png") as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    with atomic_path(output_dir / f"{id}.qc.h5ad") as temporary:
        write_compact(temporary, quality.adata)
    write_summary(output_dir, "qc", id, parameters=parameters, messages=quality.messages, result=quality.result)
    log.info(
        "%s: kept %d of %d spots and %d of %d genes",
        *(id, quality.adata.n_obs, adata.n_obs, quality.adata.n_vars, adata.n_vars),
    )


def _figure(id: str, adata: AnnData, quality: Quality) -> Figure:
    from mmsrl import _keys
    from mmsrl._drawing import background_of
    from mmsrl._sections import has_square_bins, um_per_px
    from mmsrl.qc import figure

    about, coordinates = adata.uns[_keys.UNS], adata.obsm[_keys.SPATIAL]
    panels = [
        figure.Panel("Counts", quality.metrics["total_counts"], counted=True),
        figure.Panel("Genes", quality.metrics["n_genes_by_counts"], counted=True),
    ]
    if quality.result["genes_in_sets"]["mt"]:
        panels.append(figure.Panel("Mitochondrial counts (%)", quality.metrics["pct_counts_mt"], counted=False))
    return figure.draw(
        f"{id}: {len(coordinates):,} spots, {quality.result['n_genes_before']:,} genes",
        coordinates,
        float(about[_keys.SPOT_DIAMETER_PX]),
        has_square_bins(about),
        panels,
        quality.keep,
        background_of(adata.uns[_keys.UNS_SPATIAL][about[_keys.SAMPLE]]),
        um_per_px(about),
    )
