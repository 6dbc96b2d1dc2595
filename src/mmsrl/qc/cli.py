"""``mmsrl-qc``: metrics, filters and their figure."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mmsrl._click import stage_command
from mmsrl._errors import InputError
from mmsrl._files import atomic_path, write_summary

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mmsrl.qc.api import Quality

log = logging.getLogger(__name__)


@stage_command("qc")
@click.option("--id", required=True, help="Name of the sample.")
@click.option(
    "--counts",
    required=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="ID.ingest.h5ad.",
)
@click.option("--output-dir", type=click.Path(path_type=Path, file_okay=False), default=".", help="Where to write.")
def main(id: str, counts: Path, output_dir: Path, **parameters: Any) -> None:
    """Remove poor spots and rare genes; write ID.qc.h5ad, ID.qc.json and ID.qc.png."""
    import anndata

    from mmsrl import _keys
    from mmsrl.qc.api import quality_control

    try:
        adata = anndata.read_h5ad(counts)
        about = adata.uns[_keys.UNS]
        library = adata.uns[_keys.UNS_SPATIAL][about[_keys.SAMPLE]]
    except (OSError, KeyError, ValueError, TypeError) as error:
        text = f"sample {id}: {counts.name}: not an .h5ad that mmsrl-ingest wrote, or damaged ({error})"
        raise InputError(text) from error
    try:
        quality = quality_control(adata, **parameters)
    except InputError as error:
        raise InputError(f"sample {id}: {error}") from error
    for message in quality.messages:
        log.log(logging.WARNING if message["level"] == "warning" else logging.INFO, message["text"])
    output_dir.mkdir(parents=True, exist_ok=True)
    with atomic_path(output_dir / f"{id}.qc.png") as temporary:
        _draw(temporary, id, adata.obsm[_keys.SPATIAL], about, library, quality)
    with atomic_path(output_dir / f"{id}.qc.h5ad") as temporary:
        quality.adata.write_h5ad(temporary, compression="gzip")
    write_summary(
        output_dir / f"{id}.qc.json",
        stage="qc",
        id=id,
        parameters=parameters,
        messages=quality.messages,
        result=quality.result,
    )
    log.info(
        "%s: kept %d of %d spots and %d of %d genes",
        *(id, quality.adata.n_obs, adata.n_obs, quality.adata.n_vars, adata.n_vars),
    )


def _draw(
    path: Path,
    id: str,
    coordinates: NDArray[np.float64],
    about: Mapping[str, Any],
    library: Mapping[str, Any],
    quality: Quality,
) -> None:
    from mmsrl import _keys
    from mmsrl.qc import figure

    sizes = [size for size in ("hires", "lowres") if size in library["images"]]
    background = None
    if sizes:
        scale = float(library["scalefactors"][f"tissue_{sizes[0]}_scalef"])
        background = figure.Background(library["images"][sizes[0]], scale)
    panels = [
        figure.Panel("Counts", quality.metrics["total_counts"], counted=True),
        figure.Panel("Genes", quality.metrics["n_genes_by_counts"], counted=True),
    ]
    if quality.result["genes_in_sets"]["mt"]:
        panels.append(figure.Panel("Mitochondrial counts (%)", quality.metrics["pct_counts_mt"], counted=False))
    figure.draw(
        path,
        f"{id}: {len(coordinates):,} spots, {quality.result['n_genes_before']:,} genes",
        coordinates,
        float(about[_keys.SPOT_DIAMETER_PX]),
        about[_keys.PLATFORM] == "visium_hd",
        panels,
        quality.keep,
        background,
    )
