"""Conversion of an assembled AnnData to SpatialData: shapes of spots or cells, tissue images and their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import anndata as ad
import numpy as np

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import spot_diameter
from mmsrl._tables import rows_of
from mmsrl.assemble.outlines import Found

if TYPE_CHECKING:
    from geopandas import GeoDataFrame
    from spatialdata import SpatialData

SPOT = "spot"
"""Column of obs with the index of a spot among the shapes. napari-spatialdata (0.7.2) supports no names of polygons."""


def to_spatialdata(
    adata: ad.AnnData, enhanced: ad.AnnData | None = None, outlines: Mapping[str, Found] | None = None
) -> SpatialData:
    """Convert an assembled section, or the sections of a group, to SpatialData.

    Parameters
    ----------
    adata
        Result of :func:`mmsrl.assemble.api.assemble_sample` or :func:`mmsrl.assemble.api.assemble_group`.
    enhanced
        De-noised expression of the unit, matched by sample and barcode.
    outlines
        Outlines of cells by sample, in the order of the spots.

    Returns
    -------
    SpatialData
        ``shapes[<sample>]``: circles of spots, or polygons of cells with outlines. ``images['<sample>_hires_image']``
        and ``'…_lowres_image'``, if there are any. ``tables['table']``: ``adata`` without images.
        ``tables['enhanced']``: de-noised expression. Each sample has a coordinate system of its name, in pixels of its
        full-resolution image.

    Raises
    ------
    InputError
        The package spatialdata is not installed.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise InputError(
            "SpatialData cannot be written: the package spatialdata is not installed; "
            "run pip install 'mmsrl[spatialdata]', or leave --spatialdata out"
        ) from error
    from spatialdata.models import Image2DModel, TableModel
    from spatialdata.transformations import Scale

    about = adata.uns[_keys.UNS]
    numbers = np.arange(adata.n_obs)
    shapes, images, kept = {}, {}, {}
    for sample in adata.obs[_keys.SAMPLE].cat.categories.astype(str):
        of_sample = (adata.obs[_keys.SAMPLE] == sample).to_numpy()
        library = adata.uns[_keys.UNS_SPATIAL].get(sample, {})
        shapes[sample] = _shapes(
            adata[of_sample],
            numbers[of_sample],
            sample,
            spot_diameter(about.get("samples", {}).get(sample, about)),
            (outlines or {}).get(sample),
        )
        kept[sample] = {"scalefactors": library.get("scalefactors", {})}
        for size, image in library.get("images", {}).items():
            scale = 1 / float(library["scalefactors"][f"tissue_{size}_scalef"])
            images[f"{sample}_{size}_image"] = Image2DModel.parse(
                np.moveaxis(np.asarray(image), 2, 0),
                dims=("c", "y", "x"),
                c_coords=("r", "g", "b"),
                transformations={sample: Scale([scale, scale], axes=("x", "y"))},
            )
    table = adata.copy()
    table.uns[_keys.UNS_SPATIAL] = kept
    tables = {"table": table}
    if enhanced is not None:
        tables["enhanced"] = _of_spots(enhanced, adata)
    for each in tables.values():
        each.obs[SPOT] = numbers
    parsed = {
        name: TableModel.parse(each, region=list(shapes), region_key=_keys.SAMPLE, instance_key=SPOT)
        for name, each in tables.items()
    }
    return spatialdata.SpatialData(images=images, shapes=shapes, tables=parsed)


def _shapes(
    adata: ad.AnnData, numbers: np.ndarray, sample: str, diameter: float, outlines: Found | None
) -> GeoDataFrame:
    """Return the shapes of one sample, indexed by spot number: polygons if there are outlines, else circles."""
    import geopandas
    from spatialdata.models import ShapesModel
    from spatialdata.transformations import Identity

    places = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
    systems = {sample: Identity()}
    if outlines is None:
        return ShapesModel.parse(places, geometry=0, radius=diameter / 2, index=numbers, transformations=systems)
    circles = geopandas.points_from_xy(*places.T).buffer(diameter / 2)
    polygons = np.where(outlines.lacking, np.asarray(circles), outlines.shapes.to_numpy())
    frame = geopandas.GeoDataFrame(geometry=polygons, index=numbers)
    return ShapesModel.parse(frame, transformations=systems)


def _of_spots(enhanced: ad.AnnData, adata: ad.AnnData) -> ad.AnnData:
    """Return de-noised expression of the spots of an assembled section or group, with their order and names."""
    several = len(adata.obs[_keys.SAMPLE].cat.categories) > 1
    samples = adata.obs[_keys.SAMPLE].astype(str).to_numpy()
    barcodes = [
        name.removesuffix(f"-{sample}") if several else name
        for name, sample in zip(adata.obs_names, samples, strict=True)
    ]
    rows = np.empty(adata.n_obs, dtype=np.int64)
    for sample in np.unique(samples):
        spots = np.flatnonzero(samples == sample)
        rows[spots] = rows_of(sample, [barcodes[i] for i in spots], enhanced.obs, "enhanced")
    table = enhanced[rows].copy()
    table.obs_names = adata.obs_names
    table.obs[_keys.SAMPLE] = adata.obs[_keys.SAMPLE]
    return table
