"""Run GraphST (Long et al., Nat. Commun. 2023) in its own environment (see peer_io.py).

The settings are its defaults: 3,000 highly variable genes, three neighbours, 600 epochs, and the dense form
(``datatype="10X"``) on all platforms. The read-out is a mixture on 20 principal components, without and with the vote
of 50 neighbours of its tutorial.
"""

from __future__ import annotations

import scanpy as sc
import torch
from GraphST.GraphST import GraphST
from GraphST.utils import refine_label
from peer_io import MIXTURE, SEED, given, leading_genes, made, mixture
from sklearn.decomposition import PCA

N_TOP_GENES, COMPONENTS, VOTERS = 3000, 20, 50

adata, n_domains, _ = given()
leading_genes(adata, N_TOP_GENES)
sc.pp.normalize_total(adata, target_sum=1e4)
sc.pp.log1p(adata)
sc.pp.scale(adata, zero_center=False, max_value=10)
model = GraphST(adata, device=torch.device("cpu"), random_seed=SEED)
model.adj = model.adj.to_sparse()  # the same products, without the zeros
adata = model.train()
embedding = adata.obsm["emb"]
components = min(COMPONENTS, *embedding.shape)
labels = mixture(PCA(components, random_state=42).fit_transform(embedding), n_domains)
adata.obs["label"] = labels.astype(str)
made(embedding, {MIXTURE: labels, f"{MIXTURE}, vote of {VOTERS}": refine_label(adata, VOTERS, key="label")})
