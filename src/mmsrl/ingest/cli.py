"""Command line of ``mmsrl-ingest``: convert a section of any platform to the internal form."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from mmsrl._click import log_messages, stage_command
from mmsrl._errors import InputError
from mmsrl._files import atomic_path, write_summary
from mmsrl._platforms import PLATFORMS

log = logging.getLogger(__name__)


@stage_command("ingest")
@click.option("--id", required=True, help="Name of the sample.")
@click.option(
    "--spaceranger-dir",
    type=click.Path(path_type=Path),
    help="Space Ranger `outs`, a part or download of it, a folder from GEO, or an archive of one of these.",
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder of Xenium, CosMx, MERSCOPE, seqFISH, Stereo-seq, Curio or DBiT-seq, or a .tar.gz of it.",
)
@click.option("--h5ad", type=click.Path(path_type=Path), help="AnnData with raw counts and obsm['spatial'].")
@click.option("--spatialdata", type=click.Path(path_type=Path), help="SpatialData (.zarr) with raw counts of spots.")
@click.option("--bin-size", help="Bin size of Visium HD or Stereo-seq in µm, or 'cell'; default: the only one.")
@click.option("--platform", type=click.Choice(list(PLATFORMS)), help="Platform; default: detected from the files.")
@click.option(
    "--pitch-um",
    type=click.FloatRange(min=0, min_open=True),
    help="Spot spacing (centre-to-centre) in µm; default: from --um-per-px or the files.",
)
@click.option(
    "--um-per-px",
    type=click.FloatRange(min=0, min_open=True),
    help="Length of one coordinate unit in µm; default: from the files.",
)
@click.option(
    "--expression",
    type=click.Choice(["counts", "normalised"]),
    help="Kind of values in --h5ad or --spatialdata; default: detected from the values.",
)
@click.option("--output-dir", type=click.Path(path_type=Path, file_okay=False), default=".", help="Output folder.")
def main(
    id: str,
    spaceranger_dir: Path | None,
    data_dir: Path | None,
    h5ad: Path | None,
    spatialdata: Path | None,
    bin_size: str | None,
    platform: str | None,
    pitch_um: float | None,
    um_per_px: float | None,
    expression: str | None,
    output_dir: Path,
) -> None:
    """Read a section and write ID.ingest.h5ad and ID.ingest.json."""
    if [spaceranger_dir, data_dir, h5ad, spatialdata].count(None) != 3:
        raise InputError(f"sample {id}: give one of --spaceranger-dir, --data-dir, --h5ad and --spatialdata")
    if h5ad is not None and bin_size is not None:
        raise InputError(f"sample {id}: --bin-size is for folders and --spatialdata; an .h5ad holds one size")

    if expression == "normalised" and h5ad is None and spatialdata is None:
        raise InputError(f"sample {id}: --expression normalised is for --h5ad and --spatialdata; folders hold counts")

    from mmsrl import _keys
    from mmsrl.ingest import api

    output_dir.mkdir(parents=True, exist_ok=True)
    stated: dict[str, Any] = {"platform": platform, "pitch_um": pitch_um, "um_per_px": um_per_px}
    if h5ad is not None:
        ingested = api.read_h5ad(h5ad, id, expression=expression, **stated)
    elif spatialdata is not None:
        ingested = api.read_spatialdata(spatialdata, id, bin_size=bin_size, expression=expression, **stated)
    elif data_dir is not None:
        ingested = api.read_instrument(data_dir, id, bin_size=bin_size, scratch=output_dir, **stated)
    else:
        assert spaceranger_dir is not None
        ingested = api.read_spaceranger(spaceranger_dir, id, bin_size=bin_size, scratch=output_dir, **stated)
    adata = ingested.adata
    log_messages(log, ingested.messages)
    if ingested.outlines is not None:
        with atomic_path(output_dir / f"{id}.outlines.parquet") as temporary:
            ingested.outlines.to_parquet(temporary)
    with atomic_path(output_dir / f"{id}.ingest.h5ad") as temporary:
        adata.write_h5ad(temporary, compression="gzip")
    about = adata.uns[_keys.UNS]
    write_summary(
        output_dir,
        "ingest",
        id,
        parameters={"bin_size": bin_size, "expression": expression, **stated},
        messages=ingested.messages,
        result={
            "n_spots": adata.n_obs,
            "n_genes": adata.n_vars,
            "n_counts": float(adata.X.sum(dtype="float64")),
            **{key: value for key, value in about.items() if key != _keys.SAMPLE},
            "genomes": sorted(genome for genome in adata.var["genome"].unique() if genome),
            "images": {
                size: list(image.shape[:2]) for size, image in adata.uns[_keys.UNS_SPATIAL][id]["images"].items()
            },
            "inputs": ingested.inputs,
        },
    )
    log.info(
        "%s: %d spots x %d genes, %s, %s lattice, pitch %.4g units of the coordinates, %s",
        *(id, adata.n_obs, adata.n_vars, about[_keys.PLATFORM], about[_keys.LATTICE], about[_keys.PITCH_PX]),
        about[_keys.SPECIES],
    )
