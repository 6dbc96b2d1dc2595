"""An assembled AnnData as SpatialData: spots as shapes, tissue images, and the table that annotates the spots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anndata as ad
import numpy as np

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import spot_diameter

if TYPE_CHECKING:
    from spatialdata import SpatialData

SPOT = "spot"
"""Column of obs with the name of a spot among the shapes."""


def to_spatialdata(adata: ad.AnnData) -> SpatialData:
    """Return an assembled section, or the sections of a group, as SpatialData.

    Parameters
    ----------
    adata
        As :func:`mmsrl.assemble.api.assemble_sample` or :func:`mmsrl.assemble.api.assemble_group` return it.

    Returns
    -------
    ``shapes[<sample>]``: spots as circles; ``images['<sample>_hires_image']`` and ``'…_lowres_image'`` where there are
    any; ``tables['table']``: ``adata`` without the images. Each sample has a coordinate system of its name, in pixels
    of its full-resolution image.

    Raises
    ------
    InputError
        If the package spatialdata is not installed.
    """
    try:
        import spatialdata
    except ImportError as error:
        raise InputError(
            "SpatialData cannot be written: the package spatialdata is not installed here; "
            "say pip install 'mmsrl[spatialdata]', or leave --spatialdata out"
        ) from error
    from spatialdata.models import Image2DModel, ShapesModel, TableModel
    from spatialdata.transformations import Identity, Scale

    about = adata.uns[_keys.UNS]
    shapes, images, kept = {}, {}, {}
    for sample in adata.obs[_keys.SAMPLE].cat.categories.astype(str):
        own = (adata.obs[_keys.SAMPLE] == sample).to_numpy()
        library = adata.uns[_keys.UNS_SPATIAL].get(sample, {})
        shapes[sample] = ShapesModel.parse(
            np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)[own],
            geometry=0,
            radius=spot_diameter(about.get("samples", {}).get(sample, about)) / 2,
            index=adata.obs_names[own],
            transformations={sample: Identity()},
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
    table.obs[SPOT] = table.obs_names.to_numpy(dtype=object)
    parsed = TableModel.parse(table, region=list(shapes), region_key=_keys.SAMPLE, instance_key=SPOT)
    return spatialdata.SpatialData(images=images, shapes=shapes, tables={"table": parsed})
