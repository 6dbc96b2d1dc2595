"""STAGATE (Dong & Zhang, Nat. Commun. 2022) in an environment of its own: see peer_io.py.

As in its tutorials: 3,000 variable genes, 1,000 epochs, neighbours within a radius: on spots 1.5 times their distance,
as for Visium there. On cells it is set by hand there for each data set, so that a cell has about six; here it is the
one that comes nearest to six in the mean. Read out by a mixture of the embedding's 30 dimensions.
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
