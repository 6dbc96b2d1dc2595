"""Figures of an assembled section."""

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
from mmsrl._sections import has_square_bins, sample_of, spot_diameter, um_per_px
from mmsrl.figures.draw import Spots, Values, connections, domains_on_tissue, layout, values_on_tissue

QUALITY = {
    "total_counts": ("Counts", "molecules per spot", True),
    "n_genes_by_counts": ("Genes", "detected genes per spot", True),
    "pct_counts_mt": ("Mitochondrial counts", "% of the counts of the spot", False),
    _keys.IMAGE_TISSUE: ("Tissue in image", "fraction of the tile", False),
}
"""Columns of obs in the quality figure: title, unit, and whether they are counts."""

RESULTS = {
    _keys.CONFIDENCE: ("Domain confidence", "mean probability of the domain", False),
    _keys.PSEUDOTIME_RANK: ("Pseudotime", "rank, 0 = root, 1 = end", False),
}
"""Columns of obs with a figure of their own: title, unit, and whether they are counts."""


def figures(adata: ad.AnnData, paga: Sequence[Mapping[str, Any]] = ()) -> dict[str, Figure]:
    """Draw the results of a section.

    Parameters
    ----------
    adata
        Section with ``obs['domain']`` and ``obsm['spatial']``. The function also draws ``obs['domain_confidence']``,
        ``obs['pseudotime_rank']``, ``obsm['X_umap']``, quality metrics and the tissue image in ``uns['spatial']``, if
        present. Domains have the colours of ``uns['domain_colors']``.
    paga
        PAGA edges between domains: ``one``, ``other`` and ``connectivity`` from 0 to 1.

    Returns
    -------
    Matplotlib figures by name: ``domains``, ``confidence``, ``pseudotime``, ``umap``, ``paga`` and ``quality``.

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
    drawn = {"domains": domains_on_tissue(name, section, labels, colors)}
    for key, title in ((_keys.CONFIDENCE, "confidence"), (_keys.PSEUDOTIME_RANK, "pseudotime")):
        if key in values:
            drawn[title] = values_on_tissue(name, section, [values[key]])
    if _keys.UMAP in adata.obsm:
        places = np.asarray(adata.obsm[_keys.UMAP], dtype=np.float64)
        ordered = [values[_keys.PSEUDOTIME_RANK]] if _keys.PSEUDOTIME_RANK in values else []
        drawn["umap"] = layout(name, places, labels, colors, ordered)
        edges = [(str(e["one"]), str(e["other"]), float(e["connectivity"])) for e in paga]
        present = [edge for edge in edges if {edge[0], edge[1]} <= set(labels)]
        drawn["paga"] = connections(name, places, labels, colors, present)
    quality = [values[key] for key in QUALITY if key in values]
    if quality:
        drawn["quality"] = values_on_tissue(name, section, quality)
    return drawn


def _spots(adata: ad.AnnData, name: str) -> Spots:
    facts = adata.uns.get(_keys.UNS, {})
    return Spots(
        np.asarray(adata.obsm[_keys.SPATIAL], dtype=np.float64),
        spot_diameter(facts),
        has_square_bins(facts),
        background_of(adata.uns.get(_keys.UNS_SPATIAL, {}).get(name, {})),
        um_per_px(facts),
    )


def _columns(adata: ad.AnnData) -> dict[str, Values]:
    """Return the columns of obs to draw, without constant columns."""
    columns = {}
    for key, (title, unit, counted) in {**RESULTS, **QUALITY}.items():
        if key in adata.obs:
            values = adata.obs[key].to_numpy(np.float64)
            if len(np.unique(values[np.isfinite(values)])) > 1:
                columns[key] = Values(title, unit, values, counted, (0.0, 1.0) if key in RESULTS else None)
    return columns
