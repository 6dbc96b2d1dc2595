"""What the tissue of each domain looks like: pictures at a few of its spots."""

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
"""Pictures of a domain at most."""

TYPICAL_SHARE = 0.5
"""Share of a domain's spots, the most typical ones, that pictures are chosen from."""

MOST_BAR = 0.3
"""Longest scale bar, as a share of the picture."""

LEAST_OUTLINE = 0.1
"""A spot that is smaller than this share of the picture has no outline: it would hide what it surrounds."""


def choose_spots(
    places: npt.NDArray[np.float64], typical: npt.NDArray[np.float64], shown: int = SHOWN
) -> npt.NDArray[np.int64]:
    """Choose spots of one domain that are typical of it and far from each other.

    Of the more typical half the most typical one comes first, then again and again the one that is farthest from all
    before it.

    Parameters
    ----------
    places
        (n, 2).
    typical
        (n,), such as how confident the domain is.

    Returns
    -------
    Positions in ``places``, in the order chosen.
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
    """Return pictures of every domain, with the size of spot and scale bar as shares of a picture.

    Parameters
    ----------
    path
        ``<sample>.tiles.tif``.

    Raises
    ------
    InputError
        If the file is damaged or something else.
    """
    section = sample.section
    row_of = {barcode: row for row, barcode in enumerate(section.barcodes)}
    places = np.column_stack([section.x, section.y])
    confidence = section.values.get(METRICS[_keys.CONFIDENCE], np.ones(len(places)))
    # Spots at the edge of the tissue are as certain as others, and show less of it.
    tissue = np.nan_to_num(section.values.get(METRICS[_keys.IMAGE_TISSUE], np.ones(len(places))))
    labels = np.array(section.domains)
    of_domain: dict[str, list[str]] = {}

    def choose(barcodes: list[str]) -> list[str]:
        rows = np.array([row_of[barcode] for barcode in barcodes if barcode in row_of], dtype=np.int64)
        for label in section.colors:
            own = rows[labels[rows] == label]
            picked = own[choose_spots(places[own], (confidence * tissue)[own])] if len(own) else own
            of_domain[label] = [section.barcodes[row] for row in picked]
        return [barcode for chosen in of_domain.values() for barcode in chosen]

    gallery = read_gallery(path, choose)
    uris = {
        barcode: data_uri(Image.fromarray(tile)) for barcode, tile in zip(gallery.barcodes, gallery.tiles, strict=True)
    }
    ruler = Ruler(*(float(sample.facts.get(key) or math.nan) for key in (_keys.PITCH_PX, _keys.PITCH_UM)))
    # Where ingest did not know the scale and the image file told it, pictures are of another width.
    same = ruler.known == math.isfinite(gallery.um)
    spot = section.diameter / ruler.px(PITCHES * ruler.base) if same else 0.0
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
