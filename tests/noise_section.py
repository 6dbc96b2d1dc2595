"""Section on an image of noise, for tests of image features."""

from __future__ import annotations

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

rng = np.random.default_rng(0)


def section(n_side: int = 8, pitch: float = 40.0) -> ad.AnnData:
    """Simulate a section on an image of noise, which is finer on the right."""
    x, y = np.meshgrid(np.arange(n_side) * pitch + pitch, np.arange(n_side) * pitch + pitch)
    size = int((n_side + 1) * pitch)
    coarse = np.kron(rng.integers(60, 250, (size // 8 + 1, size // 8 + 1, 3)), np.ones((8, 8, 1), int))[:size, :size]
    fine = rng.integers(60, 250, (size, size, 3))
    image = np.where((np.arange(size) > size / 2)[None, :, None], fine, coarse).astype(np.uint8)
    return ad.AnnData(
        sparse.csr_matrix((n_side**2, 1), dtype=np.float32),
        obs=pd.DataFrame(index=[f"{number}-1" for number in range(n_side**2)]),
        obsm={"spatial": np.column_stack([x.ravel(), y.ravel()]).astype(float)},
        uns={
            "spatial": {"s": {"images": {"hires": image}, "scalefactors": {"tissue_hires_scalef": 1.0}}},
            "mmsrl": {"sample": "s", "pitch_px": pitch, "pitch_um": 100.0},
        },
    )
