"""What ingest needs of SpatialData (`.zarr`): the table of counts, the shapes that it annotates, and images of them."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError, MmsrlError
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.h5ad import Candidate, content_of_table, csr_of, features_of, first_counts, scalefactors_of
from mmsrl.ingest.images import to_rgb
from mmsrl.ingest.matrix import Counts, checked

if TYPE_CHECKING:
    from spatialdata import SpatialData
    from xarray import DataArray

LONGEST_SIDE = 4096
"""Pixels of an image that is kept at most; of larger ones a coarser level, or means of blocks."""

SHIFT = 0.5
"""Pixels by which an image may lie beside the origin of the coordinates and count as not moved."""


class _Picture(NamedTuple):
    name: str
    image: DataArray
    to_pixels: NDArray[np.float64]
    """(3, 3): from the coordinates of the shapes to pixels of the image."""

    @property
    def scale(self) -> float:
        """Pixels of the image per unit of the coordinates."""
        return float(np.sqrt(abs(np.linalg.det(self.to_pixels[:2, :2]))))


def read_zarr(path: Path, sample: str) -> Content:
    """Read raw counts, names, coordinates and images of a section from SpatialData.

    Coordinates are those of the shapes' centres, turned and moved where the image is, and pixels of the image times
    one scale, as `uns['spatial']` of scanpy wants it.

    Raises
    ------
    InputError
        The package spatialdata is missing, the folder is damaged, or it has no table of counts of shapes.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise InputError(
            f"{path.name}: to read SpatialData the package spatialdata is needed, which is not installed here; "
            "say pip install 'mmsrl[spatialdata]'"
        ) from error
    logging.getLogger("ome_zarr").setLevel(logging.WARNING)
    try:
        sdata = spatialdata.read_zarr(path, selection=("tables", "shapes", "images"))
        return _content(sdata, path.name, sample)
    except (MmsrlError, MemoryError):
        raise
    # What zarr and spatialdata raise for a damaged folder depends on where the damage is.
    except Exception as error:
        what = str(error).strip().partition("\n")[0]
        raise InputError(f"{path.name}: not SpatialData, or damaged ({what}); copy it anew") from error


def _content(sdata: SpatialData, name: str, sample: str) -> Content:
    table, region = _table(sdata, name, sample)
    attributes = table.uns["spatialdata_attrs"]
    shapes = sdata.shapes[region]
    instances = table.obs[attributes["instance_key"]]
    absent = ~instances.isin(shapes.index)
    if absent.any():
        raise InputError(f"{name}: spot {instances[absent].iloc[0]!r} of the table is not among shapes[{region!r}]")
    shapes = shapes.loc[instances]
    centres = shapes.geometry.centroid
    # Of circles the radius is given; of polygons, which bins are, the side of a square as large.
    diameter = float(np.median(2 * shapes["radius"] if "radius" in shapes else np.sqrt(shapes.geometry.area)))
    homogeneous = np.column_stack([centres.x, centres.y, np.ones(len(centres))])

    found, notes = _pictures(sdata, region)
    move = np.eye(3)
    if found:
        first = max(found, key=lambda picture: picture.scale)
        move = np.diag([1 / first.scale, 1 / first.scale, 1.0]) @ first.to_pixels
        if _is_scale(move):
            move = np.eye(3)  # the coordinates as they are, without the rounding of the transformation
        else:
            notes.append(f"coordinates were turned and moved to lie on image {first.name}")
    pictures, factors = {}, {"spot_diameter_fullres": diameter}
    for size in ("hires", "lowres"):
        candidates = [picture for picture in found if ("lowres" in picture.name) == (size == "lowres")]
        candidates = [picture for picture in candidates if _is_scale(picture.to_pixels @ np.linalg.inv(move))]
        if candidates:
            chosen = max(candidates, key=lambda picture: picture.scale)
            image = to_rgb(_pixels(chosen.image))
            if image is not None:
                pictures[size] = image
                factors[f"tissue_{size}_scalef"] = chosen.scale
    stated = scalefactors_of(table.uns.get(_keys.UNS_SPATIAL, {}).get(region, {}))
    counts_from, matrix, var = first_counts(_candidates(table), name)
    return content_of_table(
        counts=checked(Counts(matrix, _barcodes(table, sample), features_of(var)), name),
        obs=table.obs,
        spatial=np.ascontiguousarray((homogeneous @ move.T)[:, :2]),
        pictures=pictures,
        scalefactors={key: value for key, value in stated.items() if not key.startswith("tissue_")} | factors,
        source=name,
        notes=[info(f"raw counts from {counts_from} of the table of shapes[{region!r}]"), *map(warning, notes)],
    )


def _table(sdata: SpatialData, name: str, sample: str) -> tuple[AnnData, str]:
    """Return the rows of the table that annotate the shapes of one section, and the name of these."""
    found: list[tuple[str, str, AnnData]] = []
    for key, table in sdata.tables.items():
        annotated = table.uns.get("spatialdata_attrs", {}).get("region", [])
        found += [(str(key), str(region), table) for region in np.atleast_1d(annotated) if region in sdata.shapes]
    chosen = [place for place in found if sample in place[:2]] or found
    if not chosen:
        raise InputError(f"{name}: no table annotates shapes; one is needed that has counts of spots, which are shapes")
    if len(chosen) > 1:
        there = ", ".join(f"tables[{key!r}] of shapes[{region!r}]" for key, region, _ in chosen)
        raise InputError(f"{name}: holds {there}; name the sample as one of these, or write a .zarr with one of them")
    _, region, table = chosen[0]
    own = (table.obs[table.uns["spatialdata_attrs"]["region_key"]].astype(str) == region).to_numpy()
    return (table if own.all() else table[own].copy()), region


def _candidates(table: AnnData) -> list[Candidate]:
    """Return where counts may be: the place, and what gives the matrix and the genes."""
    places = [("layers['counts']", lambda: csr_of(table.layers["counts"]), lambda: table.var)]
    places = places if "counts" in table.layers else []
    places.append(("X", lambda: csr_of(table.X), lambda: table.var))
    if table.raw is not None:
        places.append(("raw.X", lambda: csr_of(table.raw.X), lambda: table.raw.var))
    return places


def _barcodes(table: AnnData, sample: str) -> NDArray[np.object_]:
    """Return the names of the spots, without the sample that those of a group's file end with."""
    names = pd.Series(table.obs_names.astype(str))
    ending = f"-{sample}"
    return (names.str.removesuffix(ending) if names.str.endswith(ending).all() else names).to_numpy(dtype=object)


def _pictures(sdata: SpatialData, region: str) -> tuple[list[_Picture], list[str]]:
    """Return the images that share a coordinate system with the shapes, each at a level that is not too large."""
    from spatialdata import get_pyramid_levels
    from spatialdata.transformations import get_transformation

    def matrices(element: Any) -> dict[str, NDArray[np.float64]]:
        axes = ("x", "y")
        transformations = get_transformation(element, get_all=True)
        return {system: t.to_affine_matrix(axes, axes) for system, t in transformations.items()}

    of_shapes = matrices(sdata.shapes[region])
    found, apart = [], []
    for name, element in sdata.images.items():
        levels = list(get_pyramid_levels(element)) if hasattr(element, "children") else [element]
        image = next((level for level in levels if max(level.sizes["x"], level.sizes["y"]) <= LONGEST_SIDE), levels[-1])
        of_image = matrices(image)
        shared = sorted(of_shapes.keys() & of_image.keys())
        if not shared:
            apart.append(str(name))
            continue
        to_pixels = np.linalg.inv(of_image[shared[0]]) @ of_shapes[shared[0]]
        block = -(-max(image.sizes["x"], image.sizes["y"]) // LONGEST_SIDE)
        if block > 1:
            image = image.coarsen(x=block, y=block, boundary="trim").mean()
            to_pixels = np.diag([1 / block, 1 / block, 1.0]) @ to_pixels
        found.append(_Picture(str(name), image, to_pixels))
    text = f"images in no coordinate system of shapes[{region!r}] are not used: {', '.join(apart)}"
    return found, [text] if apart else []


def _pixels(image: DataArray) -> NDArray[Any]:
    return np.asarray(image.transpose("y", "x", "c").values)


def _is_scale(matrix: NDArray[np.float64]) -> bool:
    """Tell whether a transformation is one scale for x and y, and moves by no more than half a pixel."""
    scale = matrix[0, 0]
    return bool(
        scale > 0 and np.allclose(matrix[:2, :2] / scale, np.eye(2), atol=1e-3) and np.abs(matrix[:2, 2]).max() <= SHIFT
    )
