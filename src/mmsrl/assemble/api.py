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
from mmsrl._sections import is_counted, sample_of, spot_diameter
from mmsrl._tables import rows_of
from mmsrl.assemble.geojson import DECIMALS, domain_features, polygon, spot_features
from mmsrl.assemble.outlines import Found
from mmsrl.assemble.shapes import discs, regions, squares

MOST_BINS = 200_000
"""Bins above which domains are written as regions: QuPath holds all of the JSON in memory before it makes objects."""

MEASURED = (_keys.CONFIDENCE, _keys.PSEUDOTIME_RANK)
"""Columns of obs that become measurements."""


def storable(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not set, at any depth: HDF5 files of older readers know no ``None``."""
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
    """Put together what the stages added to one sample.

    Parameters
    ----------
    counts
        Raw counts that passed quality control, with ``uns['mmsrl']`` (``docs/architecture.md``, "Internal form").
    features
        Same spots; ``obsm['X_image']``, possibly without columns, and quality of the image in ``obs``.
    embedding, domains
        Of the whole unit; rows are found by sample and barcode.
    target_sum
        Total count every spot is scaled to before the logarithm.
    parameters
        Parameters by stage, for ``uns``.
    trajectory
        Of the whole unit, where it was made; rows are found by sample and barcode.
    design
        Condition, donor and covariates of the sample, by column of ``obs``, where it has any.
    reference
        Labels from a reference, where the section was mapped: of :func:`reference_labels`.

    Returns
    -------
    ``X`` = log1p of scaled counts, ``layers['counts']`` = raw counts, both CSR float32, or ``X`` = normalised values as
    given; ``obs['domain']`` categorical with colours in ``uns['domain_colors']``; ``obsm`` with ``spatial``,
    ``X_spatial`` (the same, y pointing up), ``X_mmsrl`` and, where there are any, ``X_image`` and ``X_umap``;
    ``obs['pseudotime']`` and its rank.
    """
    sample = sample_of(counts)
    barcodes = counts.obs_names.tolist()
    adata = counts.copy()
    counted = is_counted(counts)
    if counted:
        adata.layers[_keys.COUNTS] = adata.X.copy()
        sc.pp.normalize_total(adata, target_sum=target_sum)
        sc.pp.log1p(adata)
        # Its base is None, which AnnData before 0.11 cannot read; uns['mmsrl'] says what X is.
        del adata.uns["log1p"]

    located = embedding.obs[[_keys.SAMPLE, _keys.BARCODE]]
    # cellxgene shows what obsm has under X_ as floats, y pointing up (server.data_anndata.anndata_adaptor).
    adata.obsm[_keys.SPATIAL_UPRIGHT] = (np.asarray(adata.obsm[_keys.SPATIAL]) * (1, -1)).astype(np.float32)
    adata.obsm[_keys.EMBEDDING] = np.asarray(embedding.obsm[_keys.EMBEDDING])[
        rows_of(sample, barcodes, located, "embedding")
    ]
    image_rows = features.obs_names.get_indexer(pd.Index(barcodes))
    if (image_rows < 0).any():
        raise InputError(f"features: sample {sample}: spot {barcodes[int(image_rows.argmin())]} is not in it")
    if _keys.IMAGE in features.obsm and features.obsm[_keys.IMAGE].shape[1]:
        adata.obsm[_keys.IMAGE] = np.asarray(features.obsm[_keys.IMAGE])[image_rows]

    for name in _keys.IMAGE_QUALITY:
        if name in features.obs:
            adata.obs[name] = features.obs[name].to_numpy(np.float32)[image_rows]

    colors = domain_colors(domains[_keys.DOMAIN])
    own = domains.iloc[rows_of(sample, barcodes, domains, "domains")]
    add_domains(adata, own[_keys.DOMAIN].tolist(), colors)
    if _keys.CONFIDENCE in own.columns:
        adata.obs[_keys.CONFIDENCE] = own[_keys.CONFIDENCE].to_numpy(np.float32)
    for name, value in {_keys.SAMPLE: sample, **(design or {})}.items():
        adata.obs[name] = pd.Categorical([value] * adata.n_obs)

    if trajectory is not None:
        rows = rows_of(sample, barcodes, trajectory.obs, "trajectory")
        for key in (_keys.PSEUDOTIME, _keys.PSEUDOTIME_RANK):
            adata.obs[key] = trajectory.obs[key].to_numpy(np.float32)[rows]
        adata.obsm[_keys.UMAP] = np.asarray(trajectory.obsm[_keys.UMAP], dtype=np.float32)[rows]

    if reference is not None:
        lacking = pd.Index(barcodes).difference(reference.index)
        if len(lacking):
            raise InputError(
                f"sample {sample}: spot {lacking[0]} has no label from the reference; map the section anew"
            )
        for key in (_keys.REFERENCE_DOMAIN, _keys.REFERENCE_CONFIDENCE, _keys.REFERENCE_LIKENESS):
            adata.obs[key] = reference.loc[barcodes, key].array

    adata.uns[_keys.UNS] = {
        **dict(counts.uns[_keys.UNS]),
        _keys.UNIT: unit,
        **({"X": LOG_OF_COUNTS, "target_sum": target_sum} if counted else {"X": AS_GIVEN}),
        "parameters": storable(parameters),
    }
    return adata


def reference_labels(tables: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """Return the tables of mapped sections of a unit by barcode, their domains with the same categories in all."""
    found = {domain for table in tables.values() for domain in table[_keys.REFERENCE_DOMAIN]} - {_keys.UNLIKE}
    categories = [*natural_order(found), _keys.UNLIKE]
    floats = dict.fromkeys((_keys.REFERENCE_CONFIDENCE, _keys.REFERENCE_LIKENESS), np.float32)
    return {
        sample: table.set_index(_keys.BARCODE).astype(
            {_keys.REFERENCE_DOMAIN: pd.CategoricalDtype(categories), **floats}
        )
        for sample, table in tables.items()
    }


def add_domains(adata: ad.AnnData, labels: Sequence[str], colors: Mapping[str, str]) -> None:
    """Write ``obs['domain']`` with only the domains that occur, and their colours as scanpy looks for them."""
    present = natural_order(labels)
    adata.obs[_keys.DOMAIN] = pd.Categorical(list(labels), categories=present)
    adata.uns[_keys.DOMAIN_COLORS] = [colors[label] for label in present]


def assemble_group(unit: str, samples: Mapping[str, ad.AnnData]) -> ad.AnnData:
    """Concatenate the assembled samples of a group.

    Genes are those that all samples have; spots are named ``<barcode>-<sample>``; ``obs['sample']`` is the library key
    of ``uns['spatial']``, as squidpy takes it. ``X_image`` stays in the files of the samples.
    """
    joint = ad.concat(samples, join="inner", merge="same", uns_merge="unique", label=_keys.SAMPLE, index_unique="-")
    # Every sample has components of its own: a column of one says nothing of the same column of another.
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
    """Return where each spot of an assembled sample lies on the tissue, in the layout and in the embedding.

    Returns
    -------
    A row a spot by ``barcode``: ``x``, ``y`` (pixels), ``umap_1``, ``umap_2`` where there is a layout, ``mmsrl_1`` and
    so on.
    """
    columns = dict(zip("xy", np.asarray(adata.obsm[_keys.SPATIAL]).T, strict=True))
    for name, key in (("umap", _keys.UMAP), ("mmsrl", _keys.EMBEDDING)):
        if key in adata.obsm:
            values = np.asarray(adata.obsm[key])
            columns |= {f"{name}_{i + 1}": values[:, i] for i in range(values.shape[1])}
    return pd.DataFrame(columns, index=adata.obs_names.rename(_keys.BARCODE))


def loupe_categories(adata: ad.AnnData) -> pd.DataFrame:
    """Return the domain of each spot as Loupe Browser imports categories: ``Barcode``, and a column named as they are.

    Barcodes are those of the source, with what follows them, such as ``-1``.
    """
    return pd.DataFrame({"Barcode": adata.obs_names, _keys.DOMAIN: adata.obs[_keys.DOMAIN].astype(str).to_numpy()})


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
    if outlines is None and _of_bins(adata) and adata.n_obs > MOST_BINS:
        return domain_features(regions(*_lattice(adata), labels), colors)
    return spot_features(adata.obs_names.tolist(), _outlined(adata, outlines), labels, colors, measured)


def _of_bins(adata: ad.AnnData) -> bool:
    binned = adata.uns[_keys.UNS].get(_keys.PLATFORM) == "visium_hd"
    return binned and {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(adata.obs)


def _lattice(adata: ad.AnnData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the middle of every bin, (n, 2), its row and its column."""
    rows, columns = (adata.obs[key].to_numpy(np.int64) for key in (_keys.ARRAY_ROW, _keys.ARRAY_COL))
    return np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64), rows, columns


def _outlined(adata: ad.AnnData, outlines: Found | None) -> Iterator[str]:
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
    if _of_bins(adata):
        return (polygon(square) for square in squares(*_lattice(adata)))
    return round_ones
