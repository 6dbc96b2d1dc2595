"""Preprocessing: read sections, filter them, describe their histology and build spatial graphs.

Functions that annotate a section write to ``adata`` and return ``None``, or return a copy with ``copy=True``, as in
:mod:`mmsrl.tl`. Readers return the section. Warnings are Python warnings; other messages go to the logger ``mmsrl``.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from anndata import AnnData
    from numpy.typing import NDArray

__all__ = [
    "image_features",
    "quality_control",
    "read_h5ad",
    "read_instrument",
    "read_spaceranger",
    "read_spatialdata",
    "spatial_graph",
    "spot_descriptors",
]


def read_spaceranger(
    path: str | Path,
    sample: str,
    *,
    bin_size: int | str | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> AnnData:
    """Read the output of Space Ranger (v1 to v3, Visium HD), or data in the same layout.

    Parameters
    ----------
    path
        Folder `outs` or a parent of it, one `binned_outputs/square_*um`, `segmented_outputs`, a folder as downloaded
        from 10x or GEO, or an archive of one of these.
    sample
        Name of the section.
    bin_size
        Visium HD bin size in µm, or ``"cell"`` for segmented cells. ``None`` requires a single bin size in the folder.
    platform
        Platform (:data:`mmsrl._platforms.PLATFORMS`). ``None`` detects it from the files.
    pitch_um
        Spot spacing (centre-to-centre distance of neighbouring spots) in µm. ``None`` derives it from ``um_per_px`` or
        the files.
    um_per_px
        Length of one coordinate unit in µm. ``None`` reads it from the files.

    Returns
    -------
    AnnData
        (n_spots, n_genes) expression in ``X`` (CSR, float32), coordinates x, y in ``obsm['spatial']`` (n_spots, 2),
        images in ``uns['spatial']``, and sample, platform and scale in ``uns['mmsrl']``.

    Raises
    ------
    mmsrl.InputError
        A file is missing, damaged or inconsistent with the others, or ``pitch_um`` contradicts ``um_per_px``.
    """
    from mmsrl._annotation import report
    from mmsrl.ingest import api

    result = api.read_spaceranger(
        path, sample, bin_size=bin_size, platform=platform, pitch_um=pitch_um, um_per_px=um_per_px
    )
    report(result.messages)
    return result.adata


def read_instrument(
    path: str | Path,
    sample: str,
    *,
    platform: str | None = None,
    bin_size: int | str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> AnnData:
    """Read the output of Xenium, CosMx, MERSCOPE, seqFISH, Stereo-seq, Curio Seeker or DBiT-seq.

    Parameters
    ----------
    path
        Folder as written by the instrument, or a tar archive of it.
    sample
        Name of the section.
    platform
        Platform (:data:`mmsrl._platforms.PLATFORMS`). ``None`` detects it from the file names.
    bin_size
        Stereo-seq bin size in µm, or ``"cell"``. ``None`` reads cells if there are any, else bins of 50 × 50 DNBs.
    pitch_um, um_per_px
        As in :func:`read_spaceranger`.

    Returns
    -------
    AnnData
        As :func:`read_spaceranger`.

    Raises
    ------
    mmsrl.InputError
        The folder belongs to no known instrument, or a file is missing, damaged or inconsistent with the others.
    """
    from mmsrl._annotation import report
    from mmsrl.ingest import api

    result = api.read_instrument(
        path, sample, platform=platform, bin_size=bin_size, pitch_um=pitch_um, um_per_px=um_per_px
    )
    report(result.messages)
    return result.adata


def read_h5ad(
    path: str | Path,
    sample: str,
    *,
    expression: str | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> AnnData:
    """Read an AnnData file of any platform with coordinates in ``obsm['spatial']``.

    Only `in_tissue`, `array_row` and `array_col` of ``obs`` are kept, so that no annotation leaks into training.

    Parameters
    ----------
    path
        The `.h5ad` file.
    sample
        Name of the section.
    expression
        ``counts`` requires raw counts, ``normalised`` takes normalised values. ``None`` takes counts if the file has
        them, else normalised values.
    platform, pitch_um, um_per_px
        As in :func:`read_spaceranger`.

    Returns
    -------
    AnnData
        As :func:`read_spaceranger`.

    Raises
    ------
    mmsrl.InputError
        The file is damaged, or has no expression of the requested kind or no coordinates.
    """
    from mmsrl._annotation import report
    from mmsrl.ingest import api

    result = api.read_h5ad(
        path, sample, expression=expression, platform=platform, pitch_um=pitch_um, um_per_px=um_per_px
    )
    report(result.messages)
    return result.adata


def read_spatialdata(
    path: str | Path,
    sample: str,
    *,
    bin_size: int | str | None = None,
    expression: str | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> AnnData:
    """Read a section from a SpatialData store (`.zarr`): its table, the shapes or labels it annotates, and images.

    If there are several tables or elements, the ones named after the sample, with bins of ``bin_size``, are read.

    Parameters
    ----------
    path
        The `.zarr` folder.
    sample
        Name of the section.
    expression
        As in :func:`read_h5ad`.
    bin_size, platform, pitch_um, um_per_px
        As in :func:`read_spaceranger`.

    Returns
    -------
    AnnData
        As :func:`read_spaceranger`.

    Raises
    ------
    mmsrl.InputError
        The store is damaged, has no suitable table, or the package spatialdata is not installed.
    """
    from mmsrl._annotation import report
    from mmsrl.ingest import api

    result = api.read_spatialdata(
        path,
        sample,
        bin_size=bin_size,
        expression=expression,
        platform=platform,
        pitch_um=pitch_um,
        um_per_px=um_per_px,
    )
    report(result.messages)
    return result.adata


def quality_control(
    adata: AnnData,
    *,
    min_counts: int = 1,
    min_genes: int = 1,
    max_pct_mt: float | None = None,
    nmads: float | None = None,
    min_spots: int = 3,
    species: str = "auto",
    key_added: str = "quality_control",
    copy: bool = False,
) -> AnnData | None:
    """Filter spots by tissue and quality metrics, then genes by the number of spots with counts.

    Filters run in the order of the parameters. Only ``min_genes`` and ``min_spots`` apply to normalised values.

    Parameters
    ----------
    adata
        Raw counts or normalised values, (n_spots, n_genes). If there is ``obs['in_tissue']``, other spots are removed.
    min_counts
        Minimum library size (total counts) of a spot.
    min_genes
        Minimum number of detected genes of a spot.
    max_pct_mt
        Maximum percentage of mitochondrial counts of a spot. ``None`` disables the filter.
    nmads
        Number of median absolute deviations from the median at which a spot is an outlier. ``None`` disables the
        filter.
    min_spots
        Minimum number of spots in which a gene is detected.
    species
        ``human``, ``mouse`` or ``unknown``. ``auto`` uses ``uns['mmsrl']['species']``.
    key_added
        Key of the summary.
    copy
        Return a filtered copy instead of filtering ``adata``.

    Returns
    -------
    ``None``, or a copy if ``copy=True``, without the removed spots and genes, with

    ``obs``
        Metrics of :func:`scanpy.pp.calculate_qc_metrics`, over all genes.
    ``uns[key_added]``
        Summary: thresholds, numbers of removed spots and genes, quantiles before and after filtering.

    Raises
    ------
    mmsrl.InputError
        ``X`` holds no counts, ``obs['in_tissue']`` or ``species`` has an unknown value, or no spot or gene is left.
    """
    from mmsrl._annotation import report, storable
    from mmsrl.qc.api import quality_control as filtered

    result = filtered(
        adata,
        min_counts=min_counts,
        min_genes=min_genes,
        max_pct_mt=max_pct_mt,
        nmads=nmads,
        min_spots=min_spots,
        species=species,
    )
    result.adata.uns[key_added] = storable(result.result)
    report(result.messages)
    if copy:
        return result.adata
    adata._init_as_actual(result.adata)  # as scanpy.pp.filter_cells shrinks an object in place
    return None


def image_features(
    adata: AnnData,
    image: str | Path | None = None,
    *,
    alignment: str | Path | None = None,
    backbone: str = "efficientnet_lite0+texture",
    backbone_weights: Path | None = None,
    backbone_options: Mapping[str, Any] | None = None,
    tile_um: str | None = None,
    stain_normalisation: str = "none",
    image_smoothing: float = 0.0,
    n_image_components: int = 50,
    image_variance: float = 0.99,
    cache: str | Path | None = None,
    device: str = "auto",
    key_added: str = "X_image",
    copy: bool = False,
) -> AnnData | None:
    """Describe the histology around every spot.

    The best available image is used: the full-resolution file, else ``hires``, else ``lowres`` of ``uns['spatial']``.
    Tiles of one and three spot spacings (at least 100 µm, if the scale is known) are cut around every spot and
    described by ``backbone``. A coarse image has no texture: with fewer than 16 pixels per 100 µm, the colour of a tile
    of two spot spacings is used. An image with fewer than 2 pixels per spot spacing is not used. If spots lie closer
    than a quarter of a tile, descriptors are computed on a grid of that spacing and interpolated bilinearly.

    Parameters
    ----------
    adata
        One section with raw counts in ``X``, as returned by the readers of this module.
    image
        Full-resolution image file. Its pixels are the unit of ``obsm['spatial']``, unless ``alignment`` maps them.
    alignment
        Alignment file (:func:`mmsrl._alignment.read_alignment`).
    backbone, backbone_weights, backbone_options
        Networks and descriptors (:func:`mmsrl.features.descriptors.make_descriptors`).
    tile_um
        Sides of the tiles in µm, separated by commas. ``None`` uses one and three spot spacings.
    stain_normalisation
        ``none`` or ``reinhard``.
    image_smoothing
        Bandwidth of a Gaussian average of descriptors over neighbouring spots, in spot spacings. 0 disables it.
    n_image_components, image_variance
        Maximum number of principal components, and the share of the variance that they retain.
    cache
        Folder that keeps descriptors by image, tile, network and weights.
    device
        ``cpu``, ``cuda`` or ``auto``.
    key_added
        Key of the result.
    copy
        Return an annotated copy instead of writing to ``adata``.

    Returns
    -------
    ``None``, or a copy if ``copy=True``, with

    ``obsm[key_added]``
        Principal components, (n_spots, n_components) float32. No columns if there is no usable image.
    ``obsm[f'{key_added}_descriptor']``
        Descriptors, (n_spots, d) float32, which joint training of several sections needs. About 10 kB per spot.
    ``obs``
        ``in_image``, and tissue, focus and stain at each spot. Spots outside the image have the mean of all others.
    ``uns[key_added]``
        Summary: image, scale, tiles, explained variance, and how well the image predicts expression.

    Raises
    ------
    mmsrl.InputError
        An image, alignment or network cannot be read, or most spots lie outside the image.
    """
    from mmsrl import _keys
    from mmsrl._annotation import as_sections, report, result_of, storable
    from mmsrl.features.api import image_features as describe

    sections = as_sections(adata, copy=copy)
    result = describe(
        adata,
        image,
        alignment=alignment,
        backbone=backbone,
        backbone_weights=backbone_weights,
        backbone_options=backbone_options,
        tile_um=tile_um,
        stain_normalisation=stain_normalisation,
        image_smoothing=image_smoothing,
        n_image_components=n_image_components,
        image_variance=image_variance,
        cache=cache,
        device=device,
    )
    section = sections[0]
    section.obsm[key_added] = result.features.obsm[_keys.IMAGE]
    section.obsm[f"{key_added}_descriptor"] = spot_descriptors(result.features)
    for column in result.features.obs:
        section.obs[column] = result.features.obs[column]
    section.uns[key_added] = storable(result.facts)
    report(result.messages)
    return result_of(adata, sections, copy=copy)


def spatial_graph(
    adata: AnnData, *, bandwidth: float = 1.0, key_added: str = "spatial_gaussian", copy: bool = False
) -> AnnData | None:
    """Build the row-normalised Gaussian adjacency matrix of the spots.

    Parameters
    ----------
    adata
        One section with coordinates in ``obsm['spatial']``, (n_spots, 2).
    bandwidth
        Standard deviation of the Gaussian kernel in spot spacings.
    key_added
        Key of the result.
    copy
        Return an annotated copy instead of writing to ``adata``.

    Returns
    -------
    ``None``, or a copy if ``copy=True``, with

    ``obsp[key_added]``
        Sparse adjacency matrix, (n_spots, n_spots) float32, with self-loops. Rows sum to 1.

    Raises
    ------
    mmsrl.InputError
        Coordinates are missing or not finite.
    """
    from mmsrl._annotation import as_sections, result_of
    from mmsrl.train.api import spatial_graph as write_graph

    sections = as_sections(adata, copy=copy)
    write_graph(sections[0], width=bandwidth, key=key_added)
    return result_of(adata, sections, copy=copy)


def spot_descriptors(features: AnnData, rows: NDArray[np.int64] | None = None) -> NDArray[np.float32]:
    """Return the image descriptors of spots from ``<sample>.features.h5ad``.

    Parameters
    ----------
    features
        Content of ``<sample>.features.h5ad`` of a run. If spots lie between the nodes of a grid, ``X`` is empty and
        ``uns['image_nodes']`` holds the descriptors of the nodes.
    rows
        Indices of the spots. ``None`` returns all spots.

    Returns
    -------
    numpy.ndarray
        (n_spots, d) float32.
    """
    from mmsrl.features.nodes import spot_descriptors as interpolated

    return interpolated(features, rows)
