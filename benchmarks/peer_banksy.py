"""BANKSY (Singhal et al., Nat. Genet. 2024) in an environment of its own: ``python peer_banksy.py given.npz made.npy``.

As its authors run it on these sections: scaled Gaussian weights, 18 neighbours, the azimuthal Gabor filter, lambda 0.2,
20 principal components.
"""

import sys

import anndata
import numpy as np
from banksy.embed_banksy import generate_banksy_matrix
from banksy.initialize_banksy import initialize_banksy
from sklearn.decomposition import PCA

LAMBDA, NEIGHBOURS, COMPONENTS = 0.2, 18, 20

given = np.load(sys.argv[1])
adata = anndata.AnnData(given["expression"], obsm={"places": given["places"]})
adata.obs["x"], adata.obs["y"] = given["places"].T
graphs = initialize_banksy(
    adata,
    ("x", "y", "places"),
    NEIGHBOURS,
    "scaled_gaussian",
    1,
    plt_edge_hist=False,
    plt_nbr_weights=False,
    plt_theta=False,
)
_, matrix = generate_banksy_matrix(adata, graphs, [LAMBDA], 1, verbose=False)
np.save(sys.argv[2], PCA(COMPONENTS, random_state=0).fit_transform(np.nan_to_num(np.asarray(matrix.X))))
