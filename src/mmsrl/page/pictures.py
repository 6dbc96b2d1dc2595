"""Tissue pictures at some spots of each domain."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mmsrl import _keys
from mmsrl._scale_bar import bar_um, length_name
from mmsrl.features.gallery import PITCHES, read_gallery
from mmsrl.features.tiles import Ruler
from mmsrl.page.sample import METRICS, Sample
from mmsrl.page.tissue import data_uri

SHOWN = 6
"""Maximum number of pictures per domain."""

TYPICAL_SHARE = 0.5
"""Share of the spots of a domain, the most typical ones, from which pictures are chosen."""

MOST_BAR = 0.3
"""Maximum length of the scale bar, as a share of the picture."""

LEAST_OUTLINE = 0.1
"""Minimum size of an outlined spot, as a share of the picture. A smaller outline would hide the tissue."""


def choose_spots(
    places: npt.NDArray[np.float64], typical: npt.NDArray[np.float64], shown: int = SHOWN
) -> npt.NDArray[np.int64]:
    """Choose spots of a domain that are typical of it and far from each other.

    Start from the most typical spot. Then repeatedly add the spot of the more typical half that is farthest from all
    chosen spots.

    Parameters
    ----------
    places
        Coordinates, (n, 2).
    typical
        Typicality such as the confidence of the domain, (n,).
    shown
        Maximum number of spots.

    Returns
    -------
    Rows of ``places`` in the order of choice.
    """
    kept = max(math.ceil(TYPICAL_SHARE * len(places)), min(shown, len(places)))
    candidates = np.argsort(-typical, kind="stable")[:kept]
    chosen = [0]
    distance = np.linalg.norm(places[candidates] - places[candidates[0]], axis=1)
    while len(chosen) < min(shown, kept):
        farthest = int(distance.argmax())
        chosen.append(farthest)
        distance = np.minimum(distance, np.linalg.norm(places[candidates] - places[candidates[farthest]], axis=1))
    return candidates[chosen]


def domain_pictures(sample: Sample, path: Path) -> dict[str, Any]:
    """Return pictures of each domain, with the spot diameter and the scale bar as shares of a picture.

    Parameters
    ----------
    sample
        Section.
    path
        File ``<sample>.tiles.tif``.

    Raises
    ------
    InputError
        If the file is damaged or of another kind.
    """
    section = sample.section
    row_of = {barcode: row for row, barcode in enumerate(section.barcodes)}
    places = np.column_stack([section.x, section.y])
    confidence = section.values.get(METRICS[_keys.CONFIDENCE], np.ones(len(places)))
    # Spots at the edge of the tissue may be confident, but show less tissue.
    tissue = np.nan_to_num(section.values.get(METRICS[_keys.IMAGE_TISSUE], np.ones(len(places))))
    labels = np.array(section.domains)
    of_domain: dict[str, list[str]] = {}

    def choose(barcodes: list[str]) -> list[str]:
        rows = np.array([row_of[barcode] for barcode in barcodes if barcode in row_of], dtype=np.int64)
        for label in section.colors:
            members = rows[labels[rows] == label]
            typicality = (confidence * tissue)[members]
            picked = members[choose_spots(places[members], typicality)] if len(members) else members
            of_domain[label] = [section.barcodes[row] for row in picked]
        return [barcode for chosen in of_domain.values() for barcode in chosen]

    gallery = read_gallery(path, choose)
    uris = {
        barcode: data_uri(Image.fromarray(tile)) for barcode, tile in zip(gallery.barcodes, gallery.tiles, strict=True)
    }
    ruler = Ruler(*(float(sample.facts.get(key) or math.nan) for key in (_keys.PITCH_PX, _keys.PITCH_UM)))
    # The width of pictures differs if only the image file, not ingest, knew the pixel size.
    same_scale = ruler.known == math.isfinite(gallery.um)
    spot = section.diameter / ruler.px(PITCHES * ruler.base) if same_scale else 0.0
    bar = bar_um(gallery.um, MOST_BAR)
    return {
        "um": gallery.um if math.isfinite(gallery.um) else None,
        "bar_name": length_name(bar) if bar else None,
        "bar": bar / gallery.um if bar else None,
        "spot": spot if spot >= LEAST_OUTLINE else None,
        "domains": [
            {
                "label": label,
                "color": section.colors[label],
                "spots": int((labels == label).sum()),
                "tiles": [
                    {"uri": uris[name], "barcode": name, "confidence": float(confidence[row_of[name]])}
                    for name in names
                ],
            }
            for label, names in of_domain.items()
        ],
    }
