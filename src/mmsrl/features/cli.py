"""``mmsrl-features``: compute image features of one section."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import click

from mmsrl._click import INPUT_FILE, log_messages, output_dir_option, stage_command


@stage_command("features")
@click.option("--id", "id", required=True, help="Id of the sample; names the outputs.")
@click.option(
    "--counts",
    type=INPUT_FILE,
    required=True,
    help="<id>.qc.h5ad.",
)
@click.option(
    "--image",
    type=click.Path(path_type=Path),
    help="Full-resolution image (TIFF, BigTIFF, OME-TIFF, SVS, PNG, JPEG); without it, the section's own images.",
)
@click.option(
    "--alignment",
    type=INPUT_FILE,
    help="Where the spots lie on the image, if not at their coordinates: see docs/usage.md.",
)
@output_dir_option("<id>.features.h5ad, <id>.features.json and <id>.tiles.tif")
def main(
    id: str,
    counts: Path,
    image: Path | None,
    alignment: Path | None,
    backbone_weights: Path | None,
    device: str,
    output_dir: Path,
    **parameters: Any,
) -> None:
    """Describe the histology around every spot."""
    from mmsrl._files import atomic_path, write_summary
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.features.api import image_features
    from mmsrl.features.descriptors import read_options
    from mmsrl.features.gallery import write_gallery

    options = dict(parameters)
    cache = options.pop("image_cache")
    options["backbone_options"] = read_options(options["backbone_options"])
    features, facts, messages, gallery = image_features(
        read_stage_file(counts, "qc"),
        image,
        alignment=alignment,
        backbone_weights=backbone_weights,
        cache=None if cache is None else Path(cache),
        device=device,
        **options,
    )
    log = logging.getLogger(__name__)
    log_messages(log, messages)
    if facts["components"]:
        log.info(
            "%d components of %d columns explain %.0f %% of the variance",
            facts["components"],
            facts["columns"],
            100 * facts["explained_variance"],
        )
    if gallery is not None:
        write_gallery(output_dir / f"{id}.tiles.tif", gallery)
    with atomic_path(output_dir / f"{id}.features.h5ad") as path:
        # Weights of nodes compress well, descriptors hardly.
        features.write_h5ad(path, compression="gzip" if features.X is None else None)
    write_summary(output_dir, "features", id, parameters=parameters, result=facts, messages=messages)
