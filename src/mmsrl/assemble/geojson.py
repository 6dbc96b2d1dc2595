"""Export of domains to QuPath as GeoJSON.

The format is that of QuPath 0.4 and later (``qupath.lib.io.QuPathTypeAdapters`` and ``ROITypeAdapters``). Each object
is a feature with ``objectType``, ``name``, ``classification`` and ``measurements``. A geometry marked ``isEllipse``
becomes the ellipse in its bounding box.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmsrl._files import atomic_path

DECIMALS = 1
"""Decimals of coordinates, in pixels of the full-resolution image."""


def polygon(outline: NDArray[np.float64], *, ellipse: bool = False) -> str:
    """Return a closed outline as GeoJSON geometry.

    Parameters
    ----------
    outline
        (n_vertices, 2) x, y in pixels of the full-resolution image.
    ellipse
        Whether QuPath shall draw the ellipse in the bounding box instead.
    """
    geometry = {"type": "Polygon", "coordinates": [outline.round(DECIMALS).tolist()]}
    return _dense(geometry | {"isEllipse": True} if ellipse else geometry)


def spot_features(
    barcodes: Sequence[str],
    geometries: Iterable[str],
    labels: Sequence[str],
    colors: Mapping[str, str],
    measurements: Mapping[str, NDArray[np.float64]],
) -> Iterator[str]:
    """Yield a detection for each spot or cell.

    Parameters
    ----------
    barcodes, geometries, labels
        (n_spots,) names, geometries (JSON) and domains.
    colors
        Hex colour by label.
    measurements
        (n_spots,) values by name. Values that are not finite are left out.
    """
    classes = {label: _dense(_classification(label, color)) for label, color in colors.items()}
    columns = {name: values.tolist() for name, values in measurements.items()}
    for row, (barcode, geometry, label) in enumerate(zip(barcodes, geometries, labels, strict=True)):
        measured = {name: round(values[row], 4) for name, values in columns.items() if math.isfinite(values[row])}
        yield _feature("detection", barcode, geometry, classes[label], measured)


def domain_features(
    regions: Iterable[tuple[str, list[list[NDArray[np.float64]]]]], colors: Mapping[str, str]
) -> Iterator[str]:
    """Yield an annotation for each domain.

    Parameters
    ----------
    regions
        Label and parts of each region. A part is a list of closed outlines, (n_vertices, 2): the outer one, then holes.
    colors
        Hex colour by label.
    """
    for label, parts in regions:
        rings = [[ring.round(DECIMALS).tolist() for ring in part] for part in parts]
        geometry = _dense({"type": "MultiPolygon", "coordinates": rings})
        yield _feature("annotation", label, geometry, _dense(_classification(label, colors[label])), {})


def _classification(label: str, color: str) -> dict[str, object]:
    return {"name": label, "color": [int(color[at : at + 2], 16) for at in (1, 3, 5)]}


def _feature(kind: str, name: str, geometry: str, classification: str, measured: Mapping[str, float]) -> str:
    more = f',"measurements":{_dense(measured)}' if measured else ""
    return (
        f'{{"type":"Feature","geometry":{geometry},"properties":{{"objectType":"{kind}","name":{_dense(name)},'
        f'"classification":{classification}{more}}}}}'
    )


def _dense(content: object) -> str:
    return json.dumps(content, separators=(",", ":"))


def write_geojson(path: Path, features: Iterable[str]) -> None:
    """Write features to a GeoJSON file, one at a time."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write('{"type":"FeatureCollection","features":[')
        for row, feature in enumerate(features):
            file.write(",\n" if row else "\n")
            file.write(feature)
        file.write("\n]}\n")
