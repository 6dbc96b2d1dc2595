"""What the scripts of the peers share, each run in the peer's own environment: what they are given and what they make.

    python peer_NAME.py given.h5ad made.npz K LATTICE

``given.h5ad`` has raw counts in X and places in ``obsm["spatial"]``; K is the number of domains; LATTICE is
``hexagonal`` or ``square`` for spots, ``none`` for cells. No label is given. ``made.npz`` holds ``embedding``, (n, d),
and one array of labels for each way in which the authors read it out, under its name.
"""

from __future__ import annotations

import sys
from typing import Any

import anndata
import numpy as np
from sklearn.mixture import GaussianMixture

SEED = 0

MIXTURE = "mixture"
"""Name of :func:`mixture`, where the authors have mclust."""

STARTS = 10
"""Starts of a mixture, of which the likeliest is taken: mclust has one, from a hierarchical clustering."""


def given() -> tuple[anndata.AnnData, int, str]:
    """Return the section, the number of domains and the lattice."""
    adata = anndata.read_h5ad(sys.argv[1])
    return adata, int(sys.argv[3]), sys.argv[4]


def made(embedding: Any, labels: dict[str, Any]) -> None:
    """Write the embedding and the labels by read-out."""
    np.savez_compressed(
        sys.argv[2],
        embedding=np.asarray(embedding, dtype=np.float32),
        **{name: np.unique(np.asarray(found).astype(str), return_inverse=True)[1] for name, found in labels.items()},
    )


def mixture(points: Any, n_domains: int) -> Any:
    """Return the labels of a Gaussian mixture of one covariance (mclust's EEE, which needs R)."""
    model = GaussianMixture(n_domains, covariance_type="tied", n_init=STARTS, max_iter=500, random_state=SEED)
    return model.fit_predict(np.asarray(points, dtype=np.float64))


def leading_genes(adata: anndata.AnnData, n_top_genes: int) -> None:
    """Mark the variable genes of raw counts as most peers do (seurat_v3), all where there are no more."""
    import scanpy as sc

    if adata.n_vars > n_top_genes:
        sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=n_top_genes)
    else:
        adata.var["highly_variable"] = True
