"""The final AnnData of a sample and of a group, in scverse conventions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import scanpy as sc

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._palette import domain_colors, natural_order
from mmsrl._sections import has_square_bins, is_counted, sample_of, spot_diameter
from mmsrl._tables import rows_of
from mmsrl.assemble.geojson import DECIMALS, domain_features, polygon, spot_features
from mmsrl.assemble.outlines import Found
from mmsrl.assemble.shapes import discs, regions, squares

MAX_BINS = 200_000
"""Maximum number of bins written as single objects, because QuPath loads the whole JSON into memory. Above it, domains
are written as regions."""

MEASURED = (_keys.CONFIDENCE, _keys.PSEUDOTIME_RANK)
"""Columns of ``obs`` that become measurements of QuPath."""


def storable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Drop ``None`` at any depth, because older readers of AnnData do not support it."""
    return {
        name: storable(value) if isinstance(value, Mapping) else value
        for name, value in parameters.items()
        if value is not None
    }


LOG_OF_COUNTS = "natural logarithm of 1 + counts scaled to target_sum per spot; raw counts are in layers['counts']"
AS_GIVEN = "values as they were given, normalised before"


def assemble_sample(
    counts: ad.AnnData,
    features: ad.AnnData,
    embedding: ad.AnnData,
    domains: pd.DataFrame,
    *,
    unit: str,
    target_sum: float,
    parameters: Mapping[str, Mapping[str, Any]],
    trajectory: ad.AnnData | None = None,
    design: Mapping[str, str] | None = None,
    reference: pd.DataFrame | None = None,
) -> ad.AnnData:
    """Combine the results of all stages for one sample.

    Parameters
    ----------
    counts
        Filtered raw counts or normalised values, (n_spots, n_genes), with ``uns['mmsrl']`` (``docs/architecture.md``,
        "Internal form"). Not modified.
    features
        Image features of the same spots: ``obsm['X_image']``, possibly without columns, and image quality in ``obs``.
    embedding, domains
        Embedding and domains of the whole unit, matched by sample and barcode.
    unit
        Name of the unit.
    target_sum
        Library size to which every spot is scaled before the logarithm.
    parameters
        Parameters by stage, for ``uns``.
    trajectory
        Pseudotime of the whole unit, matched by sample and barcode.
    design
        Condition, donor and covariates of the sample, by column of ``obs``.
    reference
        Reference labels of the mapped section, from :func:`reference_labels`.

    Returns
    -------
    AnnData
        ``X``: log1p of scaled counts, with raw counts in ``layers['counts']`` (both CSR float32), or normalised values
        as given. ``obs['domain']``: categorical, with colours in ``uns['domain_colors']``. ``obsm``: ``spatial``,
        ``X_spatial`` (y pointing up), ``X_mmsrl`` and, if available, ``X_image`` and ``X_umap``. ``obs['pseudotime']``
        and its rank, if available.

    Raises
    ------
    InputError
        A spot is missing from ``features``, ``embedding``, ``domains``, ``trajectory`` or ``reference``.
    """
    sample = sample_of(counts)
    barcodes = counts.obs_names.tolist()
    adata = counts.copy()
    counted = is_counted(counts)
    if counted:
        adata.layers[_keys.COUNTS] = adata.X.copy()
        sc.pp.normalize_total(adata, target_sum=target_sum)
        sc.pp.log1p(adata)
        # Its base is None, which AnnData before 0.11 cannot read. uns['mmsrl'] describes X.
        del adata.uns["log1p"]

    located = embedding.obs[[_keys.SAMPLE, _keys.BARCODE]]
    # cellxgene shows float arrays of obsm named X_…, with y pointing up (server.data_anndata.anndata_adaptor).
    adata.obsm[_keys.SPATIAL_UPRIGHT] = (np.asarray(adata.obsm[_keys.SPATIAL]) * (1, -1)).astype(np.float32)
    adata.obsm[_keys.EMBEDDING] = np.asarray(embedding.obsm[_keys.EMBEDDING])[
        rows_of(sample, barcodes, located, "embedding")
    ]
    _add_image(adata, features, sample)
    colors = domain_colors(domains[_keys.DOMAIN])
    spot_domains = domains.iloc[rows_of(sample, barcodes, domains, "domains")]
    add_domains(adata, spot_domains[_keys.DOMAIN].tolist(), colors)
    if _keys.CONFIDENCE in spot_domains.columns:
        adata.obs[_keys.CONFIDENCE] = spot_domains[_keys.CONFIDENCE].to_numpy(np.float32)
    for name, value in {_keys.SAMPLE: sample, **(design or {})}.items():
        adata.obs[name] = pd.Categorical([value] * adata.n_obs)

    if trajectory is not None:
        rows = rows_of(sample, barcodes, trajectory.obs, "trajectory")
        for key in (_keys.PSEUDOTIME, _keys.PSEUDOTIME_RANK):
            adata.obs[key] = trajectory.obs[key].to_numpy(np.float32)[rows]
        adata.obsm[_keys.UMAP] = np.asarray(trajectory.obsm[_keys.UMAP], dtype=np.float32)[rows]

    if reference is not None:
        _add_reference(adata, reference, sample)
    adata.uns[_keys.UNS] = {
        **dict(counts.uns[_keys.UNS]),
        _keys.UNIT: unit,
        **({"X": LOG_OF_COUNTS, "target_sum": target_sum} if counted else {"X": AS_GIVEN}),
        "parameters": storable(parameters),
    }
    return adata


def _add_image(adata: ad.AnnData, features: ad.AnnData, sample: str) -> None:
    """Write image features to ``obsm`` and image quality to ``obs``."""
    rows = features.obs_names.get_indexer(adata.obs_names)
    if (rows < 0).any():
        raise InputError(f"features: sample {sample}: spot {adata.obs_names[int(rows.argmin())]} is not in it")
    if _keys.IMAGE in features.obsm and features.obsm[_keys.IMAGE].shape[1]:
        adata.obsm[_keys.IMAGE] = np.asarray(features.obsm[_keys.IMAGE])[rows]
    for name in _keys.IMAGE_QUALITY:
        if name in features.obs:
            adata.obs[name] = features.obs[name].to_numpy(np.float32)[rows]


def _add_reference(adata: ad.AnnData, reference: pd.DataFrame, sample: str) -> None:
    """Write the reference domain of each spot, its confidence and its likeness to ``obs``."""
    missing = adata.obs_names.difference(reference.index)
    if len(missing):
        raise InputError(f"sample {sample}: spot {missing[0]} has no label from the reference; map the section anew")
    for key in (_keys.REFERENCE_DOMAIN, _keys.REFERENCE_CONFIDENCE, _keys.REFERENCE_LIKENESS):
        adata.obs[key] = reference.loc[adata.obs_names, key].array


def reference_labels(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Index the tables of mapped sections by barcode, with the same domain categories in all.

    Parameters
    ----------
    tables
        (n_spots, …) table of each sample, as :func:`mmsrl._tables.read_mapped` returns it.
    """
    domains = {domain for table in tables.values() for domain in table[_keys.REFERENCE_DOMAIN]} - {_keys.UNLIKE}
    categories = [*natural_order(domains), _keys.UNLIKE]
    floats = dict.fromkeys((_keys.REFERENCE_CONFIDENCE, _keys.REFERENCE_LIKENESS), np.float32)
    return {
        sample: table.set_index(_keys.BARCODE).astype(
            {_keys.REFERENCE_DOMAIN: pd.CategoricalDtype(categories), **floats}
        )
        for sample, table in tables.items()
    }


def add_domains(adata: ad.AnnData, labels: Sequence[str], colors: Mapping[str, str]) -> None:
    """Write ``obs['domain']`` with its occurring domains as categories, and their colours in scanpy's convention."""
    present = natural_order(labels)
    adata.obs[_keys.DOMAIN] = pd.Categorical(list(labels), categories=present)
    adata.uns[_keys.DOMAIN_COLORS] = [colors[label] for label in present]


def assemble_group(unit: str, samples: Mapping[str, ad.AnnData]) -> ad.AnnData:
    """Concatenate the assembled samples of a group.

    Genes are the intersection over all samples, and spots are named ``<barcode>-<sample>``. ``obs['sample']`` is the
    library key of ``uns['spatial']`` for squidpy. ``X_image`` is left out.

    Parameters
    ----------
    unit
        Name of the group.
    samples
        Assembled samples by name, from :func:`assemble_sample`.

    Returns
    -------
    AnnData
        (n_spots of all samples, n_genes in common).
    """
    joint = ad.concat(samples, join="inner", merge="same", uns_merge="unique", label=_keys.SAMPLE, index_unique="-")
    # Principal components of the image are fitted for each sample and cannot be compared.
    joint.obsm.pop(_keys.IMAGE, None)
    colors: dict[str, str] = {}
    for adata in samples.values():
        present = adata.obs[_keys.DOMAIN].cat.categories
        colors |= dict(zip(present, adata.uns[_keys.DOMAIN_COLORS], strict=True))
    add_domains(joint, joint.obs[_keys.DOMAIN].astype(str).tolist(), colors)
    first = next(iter(samples.values())).uns[_keys.UNS]
    of_sample = (_keys.UNIT, "X", "target_sum", "parameters")
    joint.uns[_keys.UNS] = {
        **{name: first[name] for name in of_sample if name in first},
        "samples": {
            sample: {name: value for name, value in adata.uns[_keys.UNS].items() if name not in of_sample}
            for sample, adata in samples.items()
        },
    }
    return joint


def coordinates(adata: ad.AnnData) -> pd.DataFrame:
    """Return the coordinates of each spot on the tissue, in the UMAP layout and in the embedding.

    Parameters
    ----------
    adata
        Assembled sample, from :func:`assemble_sample`.

    Returns
    -------
    DataFrame
        Indexed by ``barcode``: ``x``, ``y`` in pixels of the full-resolution image, ``umap_1`` and ``umap_2`` if there
        is a layout, ``mmsrl_1`` and so on.
    """
    columns = dict(zip("xy", np.asarray(adata.obsm[_keys.SPATIAL]).T, strict=True))
    for name, key in (("umap", _keys.UMAP), ("mmsrl", _keys.EMBEDDING)):
        if key in adata.obsm:
            values = np.asarray(adata.obsm[key])
            columns |= {f"{name}_{i + 1}": values[:, i] for i in range(values.shape[1])}
    return pd.DataFrame(columns, index=adata.obs_names.rename(_keys.BARCODE))


def loupe_categories(adata: ad.AnnData) -> pd.DataFrame:
    """Return the domain of each spot in the import format of Loupe Browser: columns ``Barcode`` and ``domain``.

    Barcodes keep their suffix, such as ``-1``.
    """
    return pd.DataFrame({"Barcode": adata.obs_names, _keys.DOMAIN: adata.obs[_keys.DOMAIN].astype(str).to_numpy()})


def qupath_features(adata: ad.AnnData, outlines: Found | None = None) -> Iterator[str]:
    """Yield an assembled section as GeoJSON features for QuPath, in pixels of its full-resolution image.

    Spots, cells and bins become detections with the domain as class, and confidence and pseudotime rank as
    measurements. Their shape is the outline if there is one, else a square for bins and a disc for spots. A section
    with more than :data:`MAX_BINS` bins becomes one annotation a domain.

    Parameters
    ----------
    adata
        Assembled sample, from :func:`assemble_sample`.
    outlines
        Outlines of its cells, in the order of the spots.

    Returns
    -------
    iterator of str
        JSON of one feature each.
    """
    labels = adata.obs[_keys.DOMAIN].astype(str).tolist()
    names = adata.obs[_keys.DOMAIN].cat.categories.astype(str)
    colors = dict(zip(names, map(str, adata.uns[_keys.DOMAIN_COLORS]), strict=True))
    measured = {key: adata.obs[key].to_numpy(np.float64) for key in MEASURED if key in adata.obs}
    if outlines is None and _of_bins(adata) and adata.n_obs > MAX_BINS:
        return domain_features(regions(*_lattice(adata), labels), colors)
    return spot_features(adata.obs_names.tolist(), _outlined(adata, outlines), labels, colors, measured)


def _of_bins(adata: ad.AnnData) -> bool:
    return has_square_bins(adata.uns[_keys.UNS]) and {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(adata.obs)


def _lattice(adata: ad.AnnData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centres, (n_bins, 2), rows and columns, (n_bins,), of all bins."""
    rows, columns = (adata.obs[key].to_numpy(np.int64) for key in (_keys.ARRAY_ROW, _keys.ARRAY_COL))
    return np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64), rows, columns


def _outlined(adata: ad.AnnData, outlines: Found | None) -> Iterator[str]:
    places = np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64)
    circles = (polygon(disc, ellipse=True) for disc in discs(places, spot_diameter(adata.uns[_keys.UNS])))
    if outlines is not None:
        import shapely

        rounded = shapely.transform(outlines.shapes.to_numpy(), lambda points: points.round(DECIMALS))
        segmented = shapely.to_geojson(rounded).tolist()
        # Cells without outline are drawn as discs.
        return (
            circle if lacking else outline
            for circle, outline, lacking in zip(circles, segmented, outlines.lacking.tolist(), strict=True)
        )
    if _of_bins(adata):
        return (polygon(square) for square in squares(*_lattice(adata)))
    return circles
