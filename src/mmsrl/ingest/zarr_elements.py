"""Elements of SpatialData: centres of annotated shapes and labels, images in the same coordinates, and scales."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from numpy.typing import NDArray

from mmsrl._errors import InputError
from mmsrl.ingest.genes import text_of
from mmsrl.ingest.images import to_rgb

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from spatialdata import SpatialData
    from xarray import DataArray

COLOURS = re.compile(r"(r|g|b|a|red|green|blue|alpha|gr[ae]y|l)(channel)?", re.IGNORECASE)
"""Names of the channels of a colour or grey image."""

LONGEST_SIDE = 4096
"""Maximum side of an image in pixels. Larger images are read at a coarser level or averaged in blocks."""

SHIFT = 0.5
"""Maximum shift of an image from the origin, in pixels, that is ignored."""

MICRONS = re.compile(
    r"^(?:global[-_ ]?)?(?:microns?|micrometers?|micrometres?|um|µm|μm)$|[-_ ](?:microns?|um|µm|μm)$", re.I
)
"""Names of coordinate systems in µm."""

CORNERS = 5
"""Number of vertices of a square bin as closed polygon."""

XENIUM = {"transcript_counts", "control_probe_counts"}
"""Columns of `obs` that identify Xenium, whose coordinates and polygons are in µm."""


class Centres(NamedTuple):
    """Centres of the spots of a table."""

    element: Any
    """Source of the centres, with its transformations."""
    points: NDArray[np.float64]
    """(n_spots, 2) x, y in the coordinates of the element."""
    diameter: float | None
    """Median spot diameter, or median side of a square with the area of a polygon; ``None`` for labels."""
    polygons: NDArray[Any] | None
    """(n_spots,) outlines of cells; ``None`` for circles, labels and square bins."""
    notes: list[str]


class Picture(NamedTuple):
    """Image with its transformation."""

    name: str
    image: DataArray
    to_pixels: NDArray[np.float64]
    """(3, 3) affine matrix from the coordinates of the spots to pixels of the image."""

    @property
    def scale(self) -> float:
        """Pixels of the image per coordinate unit."""
        return scale_of(self.to_pixels)


def centres_of(sdata: SpatialData, table: AnnData, kind: str, region: str, name: str) -> Centres:
    """Return the centres of the shapes or labels that the rows of a table annotate.

    For labels, shapes of the same cells are preferred, because these have outlines too.

    Parameters
    ----------
    sdata
        SpatialData in memory.
    table
        Table of the section, (n_spots, n_genes).
    kind, region
        Kind (``shapes`` or ``labels``) and name of the annotated element.
    name
        Name of the file, for messages.

    Raises
    ------
    InputError
        A row annotates a missing instance.
    """
    from spatialdata import get_centroids

    instances = table.obs[table.uns["spatialdata_attrs"]["instance_key"]]
    if kind == "shapes":
        shapes = sdata.shapes[region]
        rows = _rows_of(shapes.index, instances)
        _must_be_there(
            rows, instances, f"{name}: spot {{}} of the table is not among shapes[{region!r}]; write both anew"
        )
        return _of_shapes(shapes, rows, [])
    for key in sorted(sdata.shapes, key=lambda key: ("circle" in key, key)):
        related = key.startswith(_stem(region))
        for ids in (instances, table.obs.get("cell_id"), pd.Series(table.obs_names)) if related else ():
            rows = np.array([-1]) if ids is None else _rows_of(sdata.shapes[key].index, ids)
            if (rows >= 0).all():
                note = f"places of labels[{region!r}] are the centres of shapes[{key!r}]"
                return _of_shapes(sdata.shapes[key], rows, [note])
    labels = sdata.labels[region]
    system, matrix = sorted(matrices(labels).items())[0]
    found = get_centroids(labels, coordinate_system=system).compute()
    rows = _rows_of(found.index, instances)
    _must_be_there(rows, instances, f"{name}: spot {{}} of the table is not among labels[{region!r}]; write both anew")
    back = np.linalg.inv(matrix).astype(np.float64)
    points = moved(found[["x", "y"]].to_numpy(dtype=np.float64)[rows], back)
    return Centres(labels, points, None, None, [f"places are the centres of labels[{region!r}]"])


def _must_be_there(rows: NDArray[np.intp], instances: pd.Series, text: str) -> None:
    if (rows < 0).any():
        raise InputError(text.format(repr(str(instances.iloc[int(rows.argmin())]))))


def _stem(region: str) -> str:
    """Return the common stem of names of labels and shapes: `cell` for `cell_labels` and `cells`."""
    return re.sub(r"[-_]?(?:labels?|masks?|segmentations?)$", "", region).rstrip("s")


def _rows_of(index: pd.Index, instances: pd.Series) -> NDArray[np.intp]:
    """Return the row of every instance, (n,), or -1 if missing. Numbers match their text."""
    if not index.is_unique:
        return np.full(len(instances), -1)
    rows = index.get_indexer(pd.Index(instances))
    if (rows < 0).any():
        rows = pd.Index(text_of(index)).get_indexer(pd.Index(text_of(instances)))
    return rows


def _of_shapes(element: GeoDataFrame, rows: NDArray[np.intp], notes: list[str]) -> Centres:
    import shapely

    shapes = element.iloc[rows]
    centres = shapes.geometry.centroid
    are_circles = "radius" in shapes
    # Circles have a radius; for polygons, such as bins, take the side of a square of equal area.
    diameter = float(np.median(2 * shapes["radius"] if are_circles else np.sqrt(shapes.geometry.area)))
    outlines = None
    if not are_circles and (shapely.get_num_coordinates(shapes.geometry.to_numpy()) != CORNERS).any():
        outlines = shapes.geometry.to_numpy()
    return Centres(element, np.column_stack([centres.x, centres.y]), diameter, outlines, notes)


def matrices(element: Any) -> dict[str, NDArray[np.float64]]:
    """Return the transformations of an element, (3, 3) each, by target coordinate system."""
    from spatialdata.transformations import get_transformation

    axes = ("x", "y")
    found = get_transformation(element, get_all=True)
    return {str(system): t.to_affine_matrix(axes, axes) for system, t in found.items()}


def moved(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Apply an affine transformation, (3, 3), to points, (n, 2)."""
    homogeneous = np.column_stack([points, np.ones(len(points))])
    return np.ascontiguousarray((homogeneous @ matrix.T)[:, :2])


def um_per_unit(sdata: SpatialData, centres: Centres, obs: pd.DataFrame) -> tuple[float | None, str, str | None]:
    """Return the length of one coordinate unit in µm, its source and the platform; ``None`` for unknown values."""
    systems = matrices(centres.element)
    for system, matrix in systems.items():
        if MICRONS.search(system):
            return scale_of(matrix), f"the coordinate system {system!r}", None
    stated = sdata.attrs.get("microns_per_pixel")
    if isinstance(stated, int | float) and stated > 0:
        pixels = scale_of(systems.get("global", np.eye(3)))
        return float(stated) * pixels, "microns_per_pixel of its attributes", None
    if set(obs) >= XENIUM and centres.diameter is not None:
        return 1.0, "polygons and circles of Xenium are in µm", "xenium"
    return None, "", None


def scale_of(matrix: NDArray[np.float64]) -> float:
    """Return the length scale of an affine transformation, (3, 3)."""
    return float(np.sqrt(abs(np.linalg.det(matrix[:2, :2]))))


def outlines_of(polygons: NDArray[Any] | None, move: NDArray[np.float64]) -> dict[str, Any]:
    """Return ``outlines`` and ``area`` for :class:`mmsrl.ingest.content.Content`; empty without polygons."""
    import shapely

    if polygons is None:
        return {}
    outlines = shapely.transform(polygons, lambda points: moved(points, move))
    return {"outlines": outlines, "area": shapely.area(outlines)}


def pictures_of(sdata: SpatialData, shapes: Any, shapes_name: str) -> tuple[list[Picture], list[str]]:
    """Return the brightfield images in a coordinate system of the spots, with notes on the others.

    The largest level of at most :data:`LONGEST_SIDE` pixels is read. Fluorescence images, recognised by number or names
    of channels, are skipped, because they would look like a stain in RGB.
    """
    from spatialdata import get_pyramid_levels

    of_shapes = matrices(shapes)
    found, apart, notes = [], [], []
    for name, element in sdata.images.items():
        levels = list(get_pyramid_levels(element)) if hasattr(element, "children") else [element]
        image = next((level for level in levels if max(level.sizes["x"], level.sizes["y"]) <= LONGEST_SIDE), levels[-1])
        channels = [str(channel) for channel in np.atleast_1d(image.coords["c"].values)]
        if len(channels) > 4 or not all(channel.isdecimal() or COLOURS.fullmatch(channel) for channel in channels):
            listed = ", ".join(channels[:5]) + (", …" if len(channels) > 5 else "")
            notes.append(f"image {name} is not used: by its channels ({listed}) it is no brightfield image")
            continue
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
        found.append(Picture(str(name), image, to_pixels))
    text = f"images in no coordinate system of {shapes_name} are not used: {', '.join(apart)}"
    return found, [*notes, text] if apart else notes


def shown(found: list[Picture], move: NDArray[np.float64]) -> tuple[dict[str, NDArray[np.uint8]], dict[str, float]]:
    """Return images `hires` and `lowres` aligned with the axes of moved coordinates, and their scale factors."""
    pictures, factors = {}, {}
    for size in ("hires", "lowres"):
        candidates = [picture for picture in found if ("lowres" in picture.name) == (size == "lowres")]
        candidates = [picture for picture in candidates if is_scale(picture.to_pixels @ np.linalg.inv(move))]
        if candidates:
            chosen = max(candidates, key=lambda picture: picture.scale)
            image = to_rgb(_pixels(chosen.image))
            if image is not None:
                pictures[size] = image
                factors[f"tissue_{size}_scalef"] = chosen.scale
    return pictures, factors


def _pixels(image: DataArray) -> NDArray[Any]:
    return np.asarray(image.transpose("y", "x", "c").values)


def is_scale(matrix: NDArray[np.float64]) -> bool:
    """Return whether an affine matrix, (3, 3), is an isotropic scale with a shift of at most :data:`SHIFT`."""
    scale = matrix[0, 0]
    return bool(
        scale > 0 and np.allclose(matrix[:2, :2] / scale, np.eye(2), atol=1e-3) and np.abs(matrix[:2, 2]).max() <= SHIFT
    )
