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
from mmsrl._sections import is_counted, must_be_counts, sample_of
from mmsrl.ingest.species import is_mixture
from mmsrl.qc import filters, gene_sets

METRICS = ("total_counts", "n_genes_by_counts", "pct_counts_mt", "pct_counts_ribo", "pct_counts_hb")
"""Columns of `obs`, named as by :func:`scanpy.pp.calculate_qc_metrics`."""

SHALLOW = 50
"""Median counts below which a section is said to be shallow: with some 45 of 1,450, domains of the cortex meet labels
less than half as well (``docs/accuracy.md``, 3 % of the molecules)."""


class Quality(NamedTuple):
    """Outcome of quality control."""

    adata: AnnData
    """Spots and genes that passed, with the metrics in `obs`."""
    metrics: dict[str, NDArray[np.float64]]
    """(n_spots before,) values of :data:`METRICS`."""
    keep: NDArray[np.bool_]
    """(n_spots before,)."""
    result: dict[str, Any]
    """What each filter removed, thresholds, and quantiles before and after."""
    messages: list[dict[str, str]]


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
    """Remove spots outside of the tissue and poor ones, then genes seen in too few spots.

    Metrics are those of :func:`scanpy.pp.calculate_qc_metrics`, of all genes, and stay so after genes are removed.
    Filters are applied in the order of the parameters; bounds by median absolute deviations are taken from the spots
    that passed the fixed ones. Spots that have no counts in the genes that are left are removed last.

    Totals and percentages of normalised values are no depth: of the filters ``min_genes`` and ``min_spots`` alone apply
    to them.

    Parameters
    ----------
    adata
        Raw counts; `obs['in_tissue']` is optional. Not changed.
    min_counts, min_genes
        Least counts and genes of a spot.
    max_pct_mt
        Largest percentage of mitochondrial counts; ``None``: any.
    nmads
        Width in median absolute deviations; ``None``: no such filter.
    min_spots
        Least number of spots a gene must be seen in.
    species
        `human`, `mouse`, or `auto` for `uns['mmsrl']['species']`.

    Raises
    ------
    InputError
        ``X`` holds no counts, `in_tissue` or `species` is unknown, or no spot or no gene is left.
    """
    messages: list[dict[str, str]] = []
    if species == "auto":
        species = adata.uns.get(_keys.UNS, {}).get(_keys.SPECIES, "unknown")
        if _of_two_species(adata):
            species = "unknown"
            messages.append({"level": "info", "text": "genes of human and mouse: sets of genes are of both"})
    if species not in ("human", "mouse", "unknown"):
        raise InputError(f"species {species!r} is not one of human, mouse, unknown (or auto, as the data say)")
    masks = gene_sets.gene_set_masks(adata.var_names.tolist(), species)  # type: ignore[arg-type]
    adata = adata.copy()
    adata.X = sp.csr_matrix(adata.X)
    counted = is_counted(adata)
    if counted:
        must_be_counts(adata.X.data, sample_of(adata), adata)
    else:
        adata.X.eliminate_zeros()
        max_pct_mt, nmads = None, None
        text = "expression is normalised already: filters by counts, percentages and deviations do not apply"
        messages.append({"level": "info", "text": text})
    for name, mask in masks.items():
        adata.var[name] = mask
    with warnings.catch_warnings():
        # 0/0 in spots without counts: such a percentage is NaN, which no filter removes and no quantile counts.
        warnings.simplefilter("ignore", RuntimeWarning)
        sc.pp.calculate_qc_metrics(adata, qc_vars=list(masks), percent_top=None, log1p=True, inplace=True)
    metrics = {name: adata.obs[name].to_numpy(dtype=np.float64) for name in METRICS}

    if counted and not masks["mt"].any():
        level = "warning" if max_pct_mt is not None else "info"
        messages.append({"level": level, "text": f"no mitochondrial gene among {adata.n_vars} (species {species})"})
    bare = int((metrics["total_counts"] == 0).sum())
    if counted and bare and min_counts > 0:
        messages.append({"level": "info", "text": f"{bare} of {adata.n_obs} spots have no counts and are removed"})
    fixed = _fixed_filters(adata, metrics, min_counts if counted else None, min_genes, max_pct_mt)
    keep, removals = filters.apply_filters(fixed, metrics)
    if nmads is not None:
        bounds, without = filters.mad_filters(nmads, {name: values[keep] for name, values in metrics.items()})
        if without:
            text = f"--nmads: no bound on {', '.join(without)}, as more than half of the spots have the same value"
            messages.append({"level": "info", "text": text})
        keep, removals = filters.apply_filters([*fixed, *bounds], metrics)
    result: dict[str, Any] = {
        "n_spots_before": adata.n_obs,
        "n_genes_before": adata.n_vars,
        "species": species,
        "genes_in_sets": {name: int(mask.sum()) for name, mask in masks.items()},
    }

    seen_in = adata.X[keep].getnnz(axis=0)
    seen = seen_in >= min_spots
    if not seen.any():
        raise InputError(
            f"no gene is left: --min_spots {min_spots} removes all {adata.n_vars} genes (the most widespread is seen "
            f"in {seen_in.max()} of {keep.sum()} spots); relax it"
        )
    empty = keep & (adata.X[:, seen].getnnz(axis=1) == 0)
    if empty.any():
        text = f"{empty.sum()} spots have no counts in the {seen.sum()} genes that are left and are removed too"
        messages.append({"level": "info", "text": text})
    keep &= ~empty
    kept = adata[keep, seen].copy()
    depth = float(np.median(metrics["total_counts"][keep]))
    if counted and depth < SHALLOW:
        text = f"the median spot has {depth:.0f} counts: domains and pseudotime of so few follow noise"
        bins = kept.uns.get(_keys.UNS, {}).get(_keys.PLATFORM) == "visium_hd"
        advice = "; larger bins (column bin_size) have more" if bins else ""
        messages.append({"level": "warning", "text": text + advice})
    # Of genes, scanpy's figures were those before any filter.
    kept.var = kept.var[[column for column in kept.var if column not in _GENE_METRICS]].assign(
        n_cells_by_counts=seen_in[seen]
    )
    result |= {
        "n_spots": kept.n_obs,
        "n_genes": kept.n_vars,
        "n_entries": int(kept.X.nnz),
        "spot_filters": [
            {
                "filter": removal.filter.parameter or _keys.IN_TISSUE,
                "value": removal.filter.value,
                "metric": removal.filter.metric,
                "side": removal.filter.side,
                "threshold": removal.filter.threshold,
                "removed": removal.removed,
                "removed_alone": removal.removed_alone,
            }
            for removal in removals
        ],
        "spots_without_counts_in_kept_genes": int(empty.sum()),
        "gene_filters": [{"filter": "min_spots", "value": min_spots, "removed": int((~seen).sum())}],
        "quantile_levels": list(filters.QUANTILES),
        "quantiles_before": filters.quantiles(metrics),
        "quantiles_after": filters.quantiles({name: values[keep] for name, values in metrics.items()}),
    }
    return Quality(kept, metrics, keep, result, messages)


_GENE_METRICS = frozenset(
    ["n_cells_by_counts", "mean_counts", "log1p_mean_counts", "pct_dropout_by_counts"]
    + ["total_counts", "log1p_total_counts"]
)


def _of_two_species(adata: AnnData) -> bool:
    told = [adata.var[key].astype(str).tolist() if key in adata.var else [] for key in (_keys.GENE_IDS, _keys.GENOME)]
    return is_mixture(adata.var_names.tolist(), *told)


def _fixed_filters(
    adata: AnnData,
    metrics: dict[str, NDArray[np.float64]],
    min_counts: int | None,
    min_genes: int,
    max_pct_mt: float | None,
) -> list[filters.Filter]:
    fixed = []
    if _keys.IN_TISSUE in adata.obs:
        inside = pd.to_numeric(adata.obs[_keys.IN_TISSUE], errors="coerce")
        if inside.isna().any():
            spot = adata.obs_names[int(inside.isna().to_numpy().argmax())]
            raise InputError(f"obs['{_keys.IN_TISSUE}'] must be 0 or 1 (or False, True); of spot {spot} it is not")
        metrics[_keys.IN_TISSUE] = inside.to_numpy(dtype=np.float64)
        fixed.append(filters.Filter("", None, _keys.IN_TISSUE, "below", 1))
    if min_counts is not None:
        fixed.append(filters.Filter("min_counts", min_counts, "total_counts", "below", min_counts))
    fixed.append(filters.Filter("min_genes", min_genes, "n_genes_by_counts", "below", min_genes))
    if max_pct_mt is not None:
        fixed.append(filters.Filter("max_pct_mt", max_pct_mt, "pct_counts_mt", "above", max_pct_mt))
    return fixed
