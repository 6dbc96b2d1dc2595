"""Run SpaGCN (Hu et al., Nat. Methods 2021) in its own environment (see peer_io.py).

The settings are those of its tutorial without the image: half of the expression comes from neighbours, and its own
search finds the Louvain resolution for K. The read-outs are its clusters, without and with its refinement (six
neighbours, or four on a square lattice). The calls reproduce the results of version 1.2.7.
"""

from __future__ import annotations

import random

import numpy as np
import scanpy as sc
import scipy.sparse as sp
import SpaGCN as spg
import torch
from anndata import AnnData
from peer_io import SEED, given, made

SHARE, COMPONENTS = 0.5, 50

adata, n_domains, lattice = given()
spg.prefilter_genes(adata, min_cells=3)
spg.prefilter_specialgenes(adata)
sc.pp.normalize_total(adata)
sc.pp.log1p(adata)
missing = COMPONENTS - adata.n_vars
if missing > 0:  # it always uses 50 components; zero genes add no information
    adata = AnnData(sp.hstack([adata.X, sp.csr_matrix((adata.n_obs, missing))]).tocsr(), obsm=dict(adata.obsm))
x, y = adata.obsm["spatial"].T.astype(float)
distances = spg.calculate_adj_matrix(x=x.tolist(), y=y.tolist(), histology=False)
width, end = None, 1000.0
while width is None:
    width = spg.search_l(SHARE, distances, start=0.01, end=end, tol=0.01, max_run=100)
    end *= 10
seeds = {"r_seed": SEED, "t_seed": SEED, "n_seed": SEED}
options = {"tol": 5e-3, "lr": 0.05}
resolution = spg.search_res(adata, distances, width, n_domains, start=0.7, step=0.1, max_epochs=20, **options, **seeds)
model = spg.SpaGCN()
model.set_l(width)
random.seed(SEED)
torch.manual_seed(SEED)
np.random.seed(SEED)
model.train(adata, distances, init_spa=True, init="louvain", res=resolution, max_epochs=200, **options)
labels, _ = model.predict()
embedding = model.model.predict(model.embed, model.adj_exp)[0]
refined = spg.refine(
    sample_id=[str(i) for i in range(adata.n_obs)],
    pred=labels.tolist(),
    dis=distances,
    shape="square" if lattice == "square" else "hexagon",
)
made(embedding, {"its clusters": labels, "its clusters, refined": refined})
