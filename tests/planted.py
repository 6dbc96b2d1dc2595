"""Simulated section with known truth: bands with marker genes, and genes that rise across the bands."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import scipy.sparse as sp

from mmsrl._files import write_summary

ROWS, COLUMNS = 24, 20
BANDS = 4
MARKERS = 8
"""Number of marker genes of each band, and of genes that rise from the first band to the last."""
NOISE = 100
"""Number of genes without a pattern."""
RESPONDING = tuple(f"noise_{i}" for i in range(8))
"""Genes that respond to a treatment in the third band."""


def section(
    name: str = "S",
    seed: int = 0,
    depth: float = 1.0,
    *,
    heights: Sequence[int] = (ROWS // BANDS,) * BANDS,
    response: float = 1.0,
) -> ad.AnnData:
    """Simulate raw counts with ``obs['domain']`` (the band), ``obs['depth']`` (0 to 1) and coordinates in pixels.

    Genes are ``B<band>_<i>``, ``rising_<i>`` and ``noise_<i>``. Library sizes of spots differ up to fourfold.
    ``heights`` are the numbers of rows of the bands. ``response`` is the fold change of :data:`RESPONDING`.
    """
    rng = np.random.default_rng(seed)
    row, column = (index.ravel() for index in np.indices((ROWS, COLUMNS)))
    band = np.repeat(np.arange(BANDS), heights)[row]
    across = row / (ROWS - 1)
    n = len(row)
    genes = [f"B{b + 1}_{i}" for b in range(BANDS) for i in range(MARKERS)]
    genes += [f"rising_{i}" for i in range(MARKERS)] + [f"noise_{i}" for i in range(NOISE)]
    rate = np.full((n, len(genes)), 1.0)
    for b in range(BANDS):
        rate[band == b, b * MARKERS : (b + 1) * MARKERS] = 5.0
    rate[:, BANDS * MARKERS : (BANDS + 1) * MARKERS] = 0.5 + 4.0 * across[:, None]
    rate[np.ix_(band == 2, [genes.index(gene) for gene in RESPONDING])] *= response
    library = depth * 2.0 ** rng.uniform(-1, 1, n)
    counts = rng.poisson(rate * library[:, None]).astype(np.float32)
    obs = pd.DataFrame(
        {"array_row": row, "array_col": column, "domain": pd.Categorical((band + 1).astype(str)), "depth": across},
        index=[f"{name}{i}-1" for i in range(n)],
    )
    return ad.AnnData(
        sp.csr_matrix(counts),
        obs=obs,
        var=pd.DataFrame(index=genes),
        obsm={"spatial": np.column_stack([column, row]) * 100.0},
        uns={
            "spatial": {name: {"images": {}, "scalefactors": {}}},
            "mmsrl": {"sample": name, "pitch_px": 100.0, "lattice": "square", "platform": "other"},
        },
    )


def domains_csv(*sections: ad.AnnData) -> str:
    """Return the bands of sections in the format of ``<unit>.domains.csv``."""
    parts = [
        pd.DataFrame(
            {"sample": a.uns["mmsrl"]["sample"], "barcode": a.obs_names, "domain": a.obs["domain"].astype(str)}
        )
        for a in sections
    ]
    return pd.concat(parts).to_csv(index=False)


def configuration(folder: Path, unit: str) -> list[str]:
    """Write summaries of training and domains with their parameters, and return the options that name them."""
    parameters = {
        "train": {"preset": "default", "seed": 0, "batch_correction": True, "kernel_width": None},
        "domains": {"n_domains": BANDS, "readout": "gmm", "seed": 0},
    }
    for stage, settings in parameters.items():
        write_summary(folder, stage, unit, parameters=settings, result={})
    return ["--trained", f"{folder}/{unit}.train.json", "--read-out", f"{folder}/{unit}.domains.json"]
