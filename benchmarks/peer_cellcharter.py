"""Run CellCharter (Varrone et al., Nat. Genet. 2024) in its own environment (see peer_io.py).

The settings are those of its tutorials: the latent space of scVI on raw counts (at most 5,000 highly variable genes),
averaged over three layers of neighbours. Neighbours are those of the lattice for spots, and a Delaunay triangulation
without long links for cells. The read-out is its own mixture.
"""

from __future__ import annotations

import cellcharter as cc
import numpy as np
import scvi
import squidpy as sq
from peer_io import SEED, given, leading_genes, made

N_TOP_GENES, LAYERS = 5000, 3

adata, n_domains, lattice = given()
leading_genes(adata, N_TOP_GENES)
adata = adata[:, adata.var["highly_variable"]].copy()
scvi.settings.seed = SEED
scvi.model.SCVI.setup_anndata(adata)
model = scvi.model.SCVI(adata)
model.train(accelerator="cpu", early_stopping=True, enable_progress_bar=False)
adata.obsm["X_scVI"] = model.get_latent_representation().astype(np.float32)
if lattice == "none":
    sq.gr.spatial_neighbors(adata, coord_type="generic", delaunay=True)
    cc.gr.remove_long_links(adata)
else:
    sq.gr.spatial_neighbors(adata, coord_type="grid", n_neighs=6 if lattice == "hexagonal" else 4)
cc.gr.aggregate_neighbors(adata, n_layers=LAYERS, use_rep="X_scVI", out_key="X_cellcharter")
points = np.nan_to_num(adata.obsm["X_cellcharter"]).astype(np.float32)
adata.obsm["X_cellcharter"] = points
clusters = cc.tl.Cluster(n_clusters=n_domains, random_state=SEED, trainer_params={"accelerator": "cpu"})
clusters.fit(adata, use_rep="X_cellcharter")
made(points, {"its mixture": clusters.predict(adata, use_rep="X_cellcharter")})
