"""The figures of an assembled section."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anndata as ad
import numpy as np
from matplotlib.figure import Figure

from mmsrl import _keys
from mmsrl._drawing import background_of
from mmsrl._errors import InputError
from mmsrl._palette import natural_order
from mmsrl._sections import sample_of, spot_diameter, um_per_px
from mmsrl.figures.draw import Spots, Values, connections, domains_on_tissue, layout, values_on_tissue

QUALITY = {
    "total_counts": ("Counts", True),
    "n_genes_by_counts": ("Genes", True),
    "pct_counts_mt": ("Mitochondrial counts (%)", False),
    _keys.IMAGE_TISSUE: ("Tissue in image", False),
}
"""Columns of obs that the figure of quality shows: title, and whether they are counts."""


def figures(adata: ad.AnnData, paga: Sequence[Mapping[str, Any]] = ()) -> dict[str, Figure]:
    """Draw what was found of a section.

    Parameters
    ----------
    adata
        A section with ``obs['domain']`` and ``obsm['spatial']``; of ``obs['domain_confidence']``,
        ``obs['pseudotime_rank']``, ``obsm['X_umap']``, metrics of quality and the tissue image in ``uns['spatial']``
        what is there is drawn. Domains have the colours of ``uns['domain_colors']``.
    paga
        Connections of domains: ``one``, ``other`` and ``connectivity`` from 0 to 1.

    Returns
    -------
    Figures of matplotlib by name: ``domains``, ``confidence``, ``pseudotime``, ``umap``, ``paga`` and ``quality``.

    Raises
    ------
    InputError
        If the section has no domains or coordinates.
    """
    name = sample_of(adata)
    if _keys.DOMAIN not in adata.obs or _keys.SPATIAL not in adata.obsm:
        raise InputError(f"sample {name}: needs obs['{_keys.DOMAIN}'] and obsm['{_keys.SPATIAL}']")
    section, values = _spots(adata, name), _columns(adata)
    labels = adata.obs[_keys.DOMAIN].astype(str).to_numpy(dtype=str)
    names = [str(category) for category in adata.obs[_keys.DOMAIN].cat.categories]
    colors = dict(zip(names, map(str, adata.uns[_keys.DOMAIN_COLORS]), strict=True))
    colors = {label: colors[label] for label in natural_order(colors)}
    found = {"domains": domains_on_tissue(name, section, labels, colors)}
    for key, title in ((_keys.CONFIDENCE, "confidence"), (_keys.PSEUDOTIME_RANK, "pseudotime")):
        if key in values:
            found[title] = values_on_tissue(name, section, [values[key]])
    if _keys.UMAP in adata.obsm:
        places = np.asarray(adata.obsm[_keys.UMAP], dtype=np.float64)
        ordered = [values[_keys.PSEUDOTIME_RANK]] if _keys.PSEUDOTIME_RANK in values else []
        found["umap"] = layout(name, places, labels, colors, ordered)
        edges = [(str(e["one"]), str(e["other"]), float(e["connectivity"])) for e in paga]
        known = [edge for edge in edges if {edge[0], edge[1]} <= set(labels)]
        found["paga"] = connections(name, places, labels, colors, known)
    quality = [values[key] for key in QUALITY if key in values]
    if quality:
        found["quality"] = values_on_tissue(name, section, quality)
    return found


def _spots(adata: ad.AnnData, name: str) -> Spots:
    about = adata.uns.get(_keys.UNS, {})
    return Spots(
        np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64),
        spot_diameter(about),
        about.get(_keys.PLATFORM) == "visium_hd",
        background_of(adata.uns.get(_keys.UNS_SPATIAL, {}).get(name, {})),
        um_per_px(about),
    )


def _columns(adata: ad.AnnData) -> dict[str, Values]:
    """Return the columns of obs to draw, without those that are the same everywhere, which show nothing."""
    titles = {_keys.CONFIDENCE: ("Confidence", False), _keys.PSEUDOTIME_RANK: ("Pseudotime (rank)", False), **QUALITY}
    limits = {_keys.CONFIDENCE: (0.0, 1.0), _keys.PSEUDOTIME_RANK: (0.0, 1.0)}
    found = {}
    for key, (title, counted) in titles.items():
        if key in adata.obs:
            values = adata.obs[key].to_numpy(np.float64)
            if len(np.unique(values[np.isfinite(values)])) > 1:
                found[key] = Values(title, values, counted, limits.get(key))
    return found
