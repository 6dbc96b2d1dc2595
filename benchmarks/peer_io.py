"""Input and output of the scripts of the peers. Each script runs in the environment of its peer.

    python peer_NAME.py given.h5ad made.npz K LATTICE

``given.h5ad`` has raw counts in X and coordinates in ``obsm["spatial"]``. K is the number of domains. LATTICE is
``hexagonal`` or ``square`` for spots, and ``none`` for cells. ``made.npz`` has ``embedding``, (n, d), and one array
of labels for each read-out of the authors, under its name.
"""

from __future__ import annotations

import sys
from typing import Any

import anndata
import numpy as np
from sklearn.mixture import GaussianMixture

SEED = 0

MIXTURE = "mixture"
"""Name of the read-out by :func:`mixture`, which replaces the authors' mclust."""

STARTS = 10
"""Starts of a mixture. The most likely is used. mclust has one start, from a hierarchical clustering."""


def given() -> tuple[anndata.AnnData, int, str]:
    """Return the section, the number of domains and the lattice."""
    adata = anndata.read_h5ad(sys.argv[1])
    return adata, int(sys.argv[3]), sys.argv[4]


def made(embedding: Any, labels: dict[str, Any]) -> None:
    """Write the embedding and the labels by read-out."""
    np.savez_compressed(
        sys.argv[2],
        embedding=np.asarray(embedding, dtype=np.float32),
        **{name: np.unique(np.asarray(values).astype(str), return_inverse=True)[1] for name, values in labels.items()},
    )


def mixture(points: Any, n_domains: int) -> Any:
    """Return the labels of a Gaussian mixture with tied covariance (model EEE of mclust, which needs R)."""
    model = GaussianMixture(n_domains, covariance_type="tied", n_init=STARTS, max_iter=500, random_state=SEED)
    return model.fit_predict(np.asarray(points, dtype=np.float64))


def leading_genes(adata: anndata.AnnData, n_top_genes: int) -> None:
    """Mark the highly variable genes of raw counts (seurat_v3), or all genes if there are no more."""
    import scanpy as sc

    if adata.n_vars > n_top_genes:
        sc.pp.highly_variable_genes(adata, flavor="seurat_v3", n_top_genes=n_top_genes)
    else:
        adata.var["highly_variable"] = True
