"""Quality control of an AnnData in the internal form (``docs/architecture.md``)."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scanpy as sc
import scipy.sparse as sp
from anndata import AnnData
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._sections import has_square_bins, is_counted, must_be_counts, sample_of
from mmsrl.ingest.species import is_mixture
from mmsrl.qc import filters, gene_classes

METRICS = ("total_counts", "n_genes_by_counts", "pct_counts_mt", "pct_counts_ribo", "pct_counts_hb")
"""Columns of `obs`, named as by :func:`scanpy.pp.calculate_qc_metrics`."""

SHALLOW = 50
"""Median library size below which a warning is given. Cortex sections thinned to a median of about 45 of 1,450 counts
lose more than half of the agreement of their domains with the labels (``docs/accuracy.md``, 3 % of the molecules)."""


class Quality(NamedTuple):
    """Result of :func:`quality_control`."""

    adata: AnnData
    """Spots and genes that passed, (n_spots, n_genes), with the metrics in `obs`."""
    metrics: dict[str, NDArray[np.float64]]
    """Values of :data:`METRICS` by name, (n_spots before filtering,)."""
    keep: NDArray[np.bool_]
    """Mask of the spots that passed, (n_spots before filtering,)."""
    result: dict[str, Any]
    """Summary: thresholds, numbers of removed spots and genes, quantiles before and after filtering."""
    messages: list[dict[str, str]]
    """``level`` (``info`` or ``warning``) and ``text`` of every message."""


def quality_control(
    adata: AnnData,
    *,
    min_counts: int = 1,
    min_genes: int = 1,
    max_pct_mt: float | None = None,
    nmads: float | None = None,
    min_spots: int = 3,
    species: str = "auto",
) -> Quality:
    """Filter spots by tissue and quality metrics, then genes by the number of spots with counts.

    Metrics are those of :func:`scanpy.pp.calculate_qc_metrics` over all genes; gene filtering does not update them.
    Filters run in the order of the parameters. Bounds by median absolute deviations (MAD) are computed on the spots
    that pass the fixed bounds. Spots without counts in the remaining genes are removed last.

    Only ``min_genes`` and ``min_spots`` apply to normalised values, whose totals and percentages do not measure depth.

    Parameters
    ----------
    adata
        Raw counts or normalised values, (n_spots, n_genes). `obs['in_tissue']` is optional. Not modified.
    min_counts
        Minimum library size (total counts) of a spot.
    min_genes
        Minimum number of detected genes of a spot.
    max_pct_mt
        Maximum percentage of mitochondrial counts of a spot. ``None`` disables the filter.
    nmads
        Number of MADs from the median at which a spot is an outlier (see
        :func:`mmsrl.qc.filters.mad_filters`). ``None`` disables the filter.
    min_spots
        Minimum number of spots in which a gene is detected.
    species
        ``human``, ``mouse`` or ``unknown``. ``auto`` uses `uns['mmsrl']['species']`.

    Returns
    -------
    Quality
        The filtered section, the metrics of all spots and a summary.

    Raises
    ------
    InputError
        ``X`` holds no counts though it should, `in_tissue` or ``species`` has an unknown value, or no spot or gene is
        left.
    """
    messages: list[dict[str, str]] = []
    species = _species(adata, species, messages)
    masks = gene_classes.gene_set_masks(adata.var_names.tolist(), species)  # type: ignore[arg-type]
    counted = is_counted(adata)
    if not counted:
        max_pct_mt, nmads = None, None
        text = "expression is normalised already: filters by counts, percentages and deviations do not apply"
        messages.append({"level": "info", "text": text})
    adata = _with_metrics(adata, masks, counted)
    metrics = {name: adata.obs[name].to_numpy(dtype=np.float64) for name in METRICS}
    if counted and not masks["mt"].any():
        level = "warning" if max_pct_mt is not None else "info"
        messages.append({"level": level, "text": f"no mitochondrial gene among {adata.n_vars} (species {species})"})
    n_empty = int((metrics["total_counts"] == 0).sum())
    if counted and n_empty and min_counts > 0:
        messages.append({"level": "info", "text": f"{n_empty} of {adata.n_obs} spots have no counts and are removed"})

    bounds = _fixed_filters(adata, metrics, min_counts if counted else None, min_genes, max_pct_mt)
    keep, removals = _filter_spots(bounds, metrics, nmads, messages)
    n_spots_of_gene = _spots_of_genes(adata, keep, min_spots)
    detected = n_spots_of_gene >= min_spots
    bare = keep & (adata.X[:, detected].getnnz(axis=1) == 0)
    if bare.any():
        text = f"{bare.sum()} spots have no counts in the {detected.sum()} genes that are left and are removed too"
        messages.append({"level": "info", "text": text})
    keep &= ~bare
    kept = adata[keep, detected].copy()
    if counted:
        messages += _shallow(kept, float(np.median(metrics["total_counts"][keep])))
    # The gene metrics of scanpy describe the unfiltered section.
    kept.var = kept.var[[column for column in kept.var if column not in _GENE_METRICS]].assign(
        n_cells_by_counts=n_spots_of_gene[detected]
    )
    result = {
        "n_spots_before": adata.n_obs,
        "n_genes_before": adata.n_vars,
        "species": species,
        "genes_in_sets": {name: int(mask.sum()) for name, mask in masks.items()},
        "n_spots": kept.n_obs,
        "n_genes": kept.n_vars,
        "n_entries": int(kept.X.nnz),
        "spot_filters": [_removal_summary(removal) for removal in removals],
        "spots_without_counts_in_kept_genes": int(bare.sum()),
        "gene_filters": [{"filter": "min_spots", "value": min_spots, "removed": int((~detected).sum())}],
        "quantile_levels": list(filters.QUANTILES),
        "quantiles_before": filters.quantiles(metrics),
        "quantiles_after": filters.quantiles({name: values[keep] for name, values in metrics.items()}),
    }
    return Quality(kept, metrics, keep, result, messages)


_GENE_METRICS = frozenset(
    ["n_cells_by_counts", "mean_counts", "log1p_mean_counts", "pct_dropout_by_counts"]
    + ["total_counts", "log1p_total_counts"]
)


def _species(adata: AnnData, species: str, messages: list[dict[str, str]]) -> str:
    """Return the species whose gene sets apply: ``human``, ``mouse`` or ``unknown``."""
    if species == "auto":
        species = adata.uns.get(_keys.UNS, {}).get(_keys.SPECIES, "unknown")
        if _of_two_species(adata):
            species = "unknown"
            messages.append({"level": "info", "text": "genes of human and mouse: gene sets of both species are used"})
    if species not in ("human", "mouse", "unknown"):
        raise InputError(f"species {species!r} is not one of human, mouse, unknown (or auto, as the data say)")
    return species


def _of_two_species(adata: AnnData) -> bool:
    ids, genomes = (
        adata.var[key].astype(str).tolist() if key in adata.var else [] for key in (_keys.GENE_IDS, _keys.GENOME)
    )
    return is_mixture(adata.var_names.tolist(), ids, genomes)


def _with_metrics(adata: AnnData, masks: dict[str, NDArray[np.bool_]], counted: bool) -> AnnData:
    """Return a copy in CSR format with the metrics of scanpy."""
    adata = adata.copy()
    adata.X = sp.csr_matrix(adata.X)
    if counted:
        must_be_counts(adata.X.data, sample_of(adata), adata)
    else:
        adata.X.eliminate_zeros()
    for name, mask in masks.items():
        adata.var[name] = mask
    with warnings.catch_warnings():
        # Percentages of empty spots are 0/0: NaN passes every filter and is left out of quantiles.
        warnings.simplefilter("ignore", RuntimeWarning)
        sc.pp.calculate_qc_metrics(adata, qc_vars=list(masks), percent_top=None, log1p=True, inplace=True)
    return adata


def _filter_spots(
    bounds: list[filters.Filter],
    metrics: dict[str, NDArray[np.float64]],
    nmads: float | None,
    messages: list[dict[str, str]],
) -> tuple[NDArray[np.bool_], list[filters.Removal]]:
    """Apply the fixed bounds, then those by MAD computed on the spots that are left."""
    keep, removals = filters.apply_filters(bounds, metrics)
    if nmads is None:
        return keep, removals
    outliers, unbounded = filters.mad_filters(nmads, {name: values[keep] for name, values in metrics.items()})
    if unbounded:
        text = f"--nmads: no bound on {', '.join(unbounded)}, as more than half of the spots have the same value"
        messages.append({"level": "info", "text": text})
    return filters.apply_filters([*bounds, *outliers], metrics)


def _spots_of_genes(adata: AnnData, keep: NDArray[np.bool_], min_spots: int) -> NDArray[np.int64]:
    """Return the number of kept spots in which each gene is detected, (n_genes,)."""
    n_spots = adata.X[keep].getnnz(axis=0)
    if not (n_spots >= min_spots).any():
        raise InputError(
            f"no gene is left: --min_spots {min_spots} removes all {adata.n_vars} genes (the most widespread is seen "
            f"in {n_spots.max()} of {keep.sum()} spots); relax it"
        )
    return np.asarray(n_spots)


def _shallow(adata: AnnData, median_counts: float) -> list[dict[str, str]]:
    """Return a warning if the median library size is below :data:`SHALLOW`."""
    if median_counts >= SHALLOW:
        return []
    text = f"the median spot has only {median_counts:.0f} counts: domains and pseudotime mostly follow noise"
    advice = "; larger bins (column bin_size) have more" if has_square_bins(adata.uns.get(_keys.UNS, {})) else ""
    return [{"level": "warning", "text": text + advice}]


def _removal_summary(removal: filters.Removal) -> dict[str, Any]:
    bound = removal.filter
    return {
        "filter": bound.parameter or _keys.IN_TISSUE,
        "value": bound.value,
        "metric": bound.metric,
        "side": bound.side,
        "threshold": bound.threshold,
        "removed": removal.removed,
        "removed_alone": removal.removed_alone,
    }


def _fixed_filters(
    adata: AnnData,
    metrics: dict[str, NDArray[np.float64]],
    min_counts: int | None,
    min_genes: int,
    max_pct_mt: float | None,
) -> list[filters.Filter]:
    """Return the bounds that do not depend on the data; the in-tissue flag becomes a metric."""
    bounds = []
    if _keys.IN_TISSUE in adata.obs:
        inside = pd.to_numeric(adata.obs[_keys.IN_TISSUE], errors="coerce")
        if inside.isna().any():
            spot = adata.obs_names[int(inside.isna().to_numpy().argmax())]
            raise InputError(f"obs['{_keys.IN_TISSUE}'] must be 0 or 1 (or False, True); correct it at spot {spot}")
        metrics[_keys.IN_TISSUE] = inside.to_numpy(dtype=np.float64)
        bounds.append(filters.Filter("", None, _keys.IN_TISSUE, "below", 1))
    if min_counts is not None:
        bounds.append(filters.Filter("min_counts", min_counts, "total_counts", "below", min_counts))
    bounds.append(filters.Filter("min_genes", min_genes, "n_genes_by_counts", "below", min_genes))
    if max_pct_mt is not None:
        bounds.append(filters.Filter("max_pct_mt", max_pct_mt, "pct_counts_mt", "above", max_pct_mt))
    return bounds
