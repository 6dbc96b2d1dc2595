"""Test the check of orientation on sections in all eight orientations relative to their image.

``bench_orientation.py FOLDER [FOLDER ...]`` takes folders ``outs`` of Space Ranger with an image. Each column
transforms the coordinates so that the orientation in its header restores them. A cell has the correlation of spots and
tissue as given, the best correlation, and whether the check suggests this orientation.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from mmsrl import _keys
from mmsrl._sections import finest_image
from mmsrl.features import orientation, tissue
from mmsrl.features.rasters import from_array
from mmsrl.ingest.api import read_spaceranger


def given(spots: np.ndarray, placement: int, width: float, height: float) -> np.ndarray:
    """Return the coordinates, (n, 2), that ``placement`` transforms into ``spots``."""
    back = orientation.placed(spots, placement % 4, width, height)
    return back[:, ::-1] if placement >= 4 else back


def cells(folder: Path) -> list[str]:
    """Return the table cells of a section."""
    adata = read_spaceranger(folder, "s").adata
    image = finest_image(adata.uns[_keys.UNS_SPATIAL]["s"])
    if image is None:
        raise SystemExit(f"{folder}: no image")
    raster = from_array(image[0], name="image", scale=image[1])
    spots, pitch = adata.obsm[_keys.SPATIAL], float(adata.uns[_keys.UNS][_keys.PITCH_PX])
    width, height = raster.width / raster.scale, raster.height / raster.scale
    row = []
    for placement, name in enumerate(orientation.PLACEMENTS):
        places = given(spots, placement, width, height)
        inside = ((places >= 0) & (places < [width, height])).all(axis=1)
        if not inside.any():
            row.append("outside the image")
            continue
        look = tissue.look_at(raster, places[inside] * raster.scale)
        agreement = orientation.agreements(orientation.tissue_map([raster], look), places, pitch)
        text = orientation.suggestion(agreement, "image")
        verdict = "silent" if text is None else "right" if f" {name}" in text else "wrong"
        row.append(f"{agreement[0]:.2f} → {agreement.max():.2f} {verdict}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    print("| section | " + " | ".join(name.partition(",")[0] for name in orientation.PLACEMENTS) + " |")
    print("| --- " * (1 + len(orientation.PLACEMENTS)) + "|")
    for folder in parser.parse_args().folders:
        print(f"| {folder.name} | " + " | ".join(cells(folder)) + " |", flush=True)


if __name__ == "__main__":
    main()
