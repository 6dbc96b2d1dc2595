"""Run BANKSY (Singhal et al., Nat. Genet. 2024) in its own environment.

    python peer_banksy.py given.h5ad made.npz K LATTICE [logged] [mixture]    from counts to embedding and labels
    python peer_banksy.py given.npz made.npy                        from given expression to embedding

peer_io.py describes input and output. ``mixture`` omits Leiden, which takes most of the time with many spots.

The settings are those of the authors: scaled Gaussian weights, the azimuthal Gabor filter and 20 principal components.
Spots have 18 neighbours and lambda 0.2, cells 15 and 0.8. If there are more than 2,000 genes, the highly variable genes
(seurat_v3) are used, with counts scaled to one depth. ``logged`` also takes the logarithm, which the authors' tutorials
do not. Read-outs are Leiden on shared nearest neighbours, at a resolution that yields K, and a mixture.
"""

from __future__ import annotations

import sys
from typing import Any

import anndata
import numpy as np
from banksy.embed_banksy import generate_banksy_matrix
from banksy.initialize_banksy import initialize_banksy
from sklearn.decomposition import PCA

COMPONENTS, N_TOP_GENES = 20, 2000
SPOTS, CELLS = (18, 0.2), (15, 0.8)
"""Number of neighbours and lambda."""

NEIGHBOURS, LEIDEN_SEED, SEARCH_STEPS = 50, 1234, 25


def embed(expression: Any, places: Any, neighbours: int, weight: float) -> Any:
    """Return the principal components of the BANKSY matrix."""
    adata = anndata.AnnData(expression, obsm={"places": places})
    adata.obs["x"], adata.obs["y"] = places.T
    graphs = initialize_banksy(
        adata,
        ("x", "y", "places"),
        neighbours,
        "scaled_gaussian",
        1,
        plt_edge_hist=False,
        plt_nbr_weights=False,
        plt_theta=False,
    )
    _, matrix = generate_banksy_matrix(adata, graphs, [weight], 1, verbose=False)
    return PCA(COMPONENTS, random_state=0).fit_transform(np.nan_to_num(np.asarray(matrix.X)))


def leiden(points: Any, n_domains: int) -> Any:
    """Return the authors' Leiden communities; bisection finds the resolution with their number closest to K."""
    from banksy.main import LeidenPartition

    partitioner = LeidenPartition(points, num_nn=NEIGHBOURS, verbose=False)
    low, high, best = 0.01, 5.0, np.zeros(len(points), dtype=int)
    for _ in range(SEARCH_STEPS):
        resolution = float(np.sqrt(low * high))
        partition, _ = partitioner.partition(resolution=resolution, n_iterations=-1, seed=LEIDEN_SEED)
        labels = np.zeros(len(points), dtype=int)
        labels[: len(partition.dense)] = partition.dense  # it omits the last points if they have no neighbours
        number = len(set(labels))
        if abs(number - n_domains) < abs(len(set(best)) - n_domains):
            best = labels
        if number == n_domains:
            break
        low, high = (resolution, high) if number < n_domains else (low, resolution)
    return best


def main() -> None:
    if sys.argv[1].endswith(".npz"):
        arrays = np.load(sys.argv[1])
        np.save(sys.argv[2], embed(arrays["expression"], arrays["places"], *SPOTS))
        return
    import scanpy as sc
    from peer_io import MIXTURE, given, leading_genes, made, mixture

    adata, n_domains, lattice = given()
    leading_genes(adata, N_TOP_GENES)
    sc.pp.normalize_total(adata)
    adata = adata[:, adata.var["highly_variable"]].copy()
    if "logged" in sys.argv[5:]:
        sc.pp.log1p(adata)
    points = embed(adata.X.toarray(), adata.obsm["spatial"], *(CELLS if lattice == "none" else SPOTS))
    labels = {} if "mixture" in sys.argv[5:] else {"Leiden": leiden(points, n_domains)}
    made(points, labels | {MIXTURE: mixture(points, n_domains)})


if __name__ == "__main__":
    main()
