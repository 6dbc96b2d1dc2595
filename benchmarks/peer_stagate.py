"""Run STAGATE (Dong & Zhang, Nat. Commun. 2022) in its own environment (see peer_io.py).

The settings are those of its tutorials: 3,000 highly variable genes, 1,000 epochs, and neighbours within a radius. The
radius is 1.5 pitches for spots, as for Visium in the tutorials. For cells, the tutorials set it by hand to about six
neighbours per cell; here, it is the radius with a mean number of neighbours closest to six. The read-out is a mixture
on the 30 dimensions of the embedding.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scanpy as sc
from peer_io import MIXTURE, SEED, given, leading_genes, made, mixture
from sklearn.neighbors import NearestNeighbors
from STAGATE_pyG import Cal_Spatial_Net, train_STAGATE

N_TOP_GENES, PITCHES, NEAREST, NEIGHBOURS, RADII = 3000, 1.5, 4, 6, 400


def radius(places: Any, lattice: str) -> float:
    """Return the radius within which spots or cells are neighbours."""
    by_rank = NearestNeighbors(n_neighbors=4 * NEIGHBOURS).fit(places).kneighbors()[0]
    if lattice != "none":
        return PITCHES * float(np.median(by_rank[:, :NEAREST]))
    distances = np.sort(by_rank, axis=None)
    tried = np.quantile(distances, np.linspace(0.02, 0.6, RADII)) * 1.02
    numbers = np.searchsorted(distances, tried) / len(places)
    return float(tried[np.abs(numbers - NEIGHBOURS).argmin()])


adata, n_domains, lattice = given()
leading_genes(adata, N_TOP_GENES)
sc.pp.normalize_total(adata, target_sum=1e4)
sc.pp.log1p(adata)
Cal_Spatial_Net(adata, rad_cutoff=radius(adata.obsm["spatial"], lattice))
adata = train_STAGATE(adata, random_seed=SEED, device="cpu", verbose=False)
made(adata.obsm["STAGATE"], {MIXTURE: mixture(adata.obsm["STAGATE"], n_domains)})
