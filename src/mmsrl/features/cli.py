"""``mmsrl-features``: image features of one section."""

from __future__ import annotations

import logging
from pathlib import Path

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
    "--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", show_default=True, help="Where to compute."
)
@output_dir_option("<id>.features.h5ad and <id>.features.json")
def main(
    id: str,
    counts: Path,
    image: Path | None,
    device: str,
    output_dir: Path,
    use_image: bool,
    backbone: str,
    n_image_components: int,
) -> None:
    """Describe the histology around every spot."""
    from mmsrl._files import atomic_path, write_summary
    from mmsrl._hdf5 import read_stage_file
    from mmsrl.features.api import image_features

    section = read_stage_file(counts, "qc", backed="r")  # the counts themselves are not needed
    features, facts, messages = image_features(
        section, image, use_image=use_image, backbone=backbone, n_components=n_image_components, device=device
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
    with atomic_path(output_dir / f"{id}.features.h5ad") as path:
        features.write_h5ad(path)
    write_summary(
        output_dir / f"{id}.features.json",
        stage="features",
        id=id,
        parameters={"use_image": use_image, "backbone": backbone, "n_image_components": n_image_components},
        result=facts,
        messages=messages,
    )
