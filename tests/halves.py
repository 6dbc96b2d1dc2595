"""Small section whose two halves express different genes, for tests of training."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp


def section(name: str = "s1", *, seed: int = 0, shift: float = 0.0, image: int = 0, n_genes: int = 60) -> ad.AnnData:
    """Simulate a Visium-like section, 12 × 10 spots, whose left and right halves express different genes."""
    rng = np.random.default_rng(seed)
    places = np.array([(r, 2 * c + r % 2) for r in range(12) for c in range(10)])
    right = places[:, 1] > 9
    rate = np.full((120, n_genes), 2.0)
    rate[right, : n_genes // 4] *= 3.0
    rate[~right, n_genes // 4 : n_genes // 2] *= 3.0
    rate[:, ::3] *= np.exp(shift)
    adata = ad.AnnData(
        sp.csr_matrix(rng.poisson(rate).astype(np.float32)),
        obs=pd.DataFrame(index=[f"spot{i}" for i in range(120)]),
        var=pd.DataFrame(index=[f"gene{i}" for i in range(n_genes)]),
    )
    adata.obs["array_row"], adata.obs["array_col"] = places.T
    adata.obsm["spatial"] = places[:, ::-1] * [50.0, 50.0 * 3**0.5]
    adata.uns["mmsrl"] = {"sample": name, "platform": "visium", "pitch_px": 100.0}
    if image:
        adata.obsm["X_image"] = rng.standard_normal((120, image)).astype(np.float32) + right[:, None]
    return adata


def half(adata: ad.AnnData) -> np.ndarray:
    return adata.obs["array_col"].to_numpy() > 9
