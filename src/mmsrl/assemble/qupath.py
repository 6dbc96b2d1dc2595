"""An assembled section as objects for QuPath."""

from __future__ import annotations

from collections.abc import Iterator

import anndata as ad
import numpy as np

from mmsrl import _keys
from mmsrl._sections import spot_diameter
from mmsrl.assemble.geojson import DECIMALS, domain_features, polygon, spot_features
from mmsrl.assemble.outlines import Found, discs, regions, squares

MOST_BINS = 200_000
"""Bins above which domains are written as regions: QuPath holds all of the JSON in memory before it makes objects."""

MEASURED = (_keys.CONFIDENCE, _keys.PSEUDOTIME_RANK)
"""Columns of obs that become measurements."""


def qupath_features(adata: ad.AnnData, outlines: Found | None = None) -> Iterator[str]:
    """Yield an assembled section as features of GeoJSON, in pixels of its full-resolution image.

    Parameters
    ----------
    adata
        As :func:`mmsrl.assemble.api.assemble_sample` returns it.
    outlines
        Of its cells, in their order.

    Returns
    -------
    A detection for each spot, cell or bin, with its domain as class, and confidence and rank of pseudotime as
    measurements: outlines where there are any, else squares of bins and discs as wide as a spot. Of more than
    ``MOST_BINS`` bins, an annotation for each domain.
    """
    labels = adata.obs[_keys.DOMAIN].astype(str).tolist()
    names = adata.obs[_keys.DOMAIN].cat.categories.astype(str)
    colors = dict(zip(names, map(str, adata.uns[_keys.DOMAIN_COLORS]), strict=True))
    measured = {key: adata.obs[key].to_numpy(np.float64) for key in MEASURED if key in adata.obs}
    if outlines is None and _binned(adata) and adata.n_obs > MOST_BINS:
        return domain_features(regions(*_lattice(adata), labels), colors)
    return spot_features(adata.obs_names.tolist(), _geometries(adata, outlines), labels, colors, measured)


def _binned(adata: ad.AnnData) -> bool:
    of_bins = adata.uns[_keys.UNS].get(_keys.PLATFORM) == "visium_hd"
    return of_bins and {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(adata.obs)


def _lattice(adata: ad.AnnData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the middle of every bin, (n, 2), its row and its column."""
    rows, columns = (adata.obs[key].to_numpy(np.int64) for key in (_keys.ARRAY_ROW, _keys.ARRAY_COL))
    return np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64), rows, columns


def _geometries(adata: ad.AnnData, outlines: Found | None) -> Iterator[str]:
    places = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
    round_ones = (polygon(disc, ellipse=True) for disc in discs(places, spot_diameter(adata.uns[_keys.UNS])))
    if outlines is not None:
        import shapely

        rounded = shapely.transform(outlines.shapes.to_numpy(), lambda points: points.round(DECIMALS))
        segmented = shapely.to_geojson(rounded).tolist()
        # Discs are drawn of all, and taken where a cell has no outline.
        return (
            disc if lacking else own
            for disc, own, lacking in zip(round_ones, segmented, outlines.lacking.tolist(), strict=True)
        )
    if _binned(adata):
        return (polygon(square) for square in squares(*_lattice(adata)))
    return round_ones
