"""Measure how often the confidence interval of an effect excludes 0 for genes that are independent of the domain.

Genes are normalised values: smooth random fields on a square section of 40 × 40 spots in sixteen blocks. Half of their
variance is independent noise of each spot. The width (σ) of a field is given as a fraction of the side of a block.
"""

from __future__ import annotations

import argparse

import numpy as np
import scipy.sparse as sp
from scipy.ndimage import gaussian_filter

from mmsrl.markers.values import LEAST_EFFECT, effects

SIDE, BLOCK = 40, 10
DOMAINS = {"half": (20, 40), "a fifth": (32, 40), "one block": (10, 10)}
"""Left border and height of the domain, in spots."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--genes", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    y, x = (index.ravel() for index in np.indices((SIDE, SIDE)))
    blocks, section = SIDE // BLOCK * (y // BLOCK) + x // BLOCK, np.zeros(SIDE**2, dtype=np.int64)
    print("width / side of a block | domain | intervals estimated | of these without 0 | markers")
    for share in (0.15, 0.3, 0.6):
        field = gaussian_filter(rng.normal(size=(arguments.genes, SIDE, SIDE)), (0, share * BLOCK, share * BLOCK))
        values = (field / field.std() + rng.normal(size=field.shape)).reshape(arguments.genes, -1).T
        for name, (left, height) in DOMAINS.items():
            domain = ((x >= left) & (y < height) & ((name != "one block") | (x < left + BLOCK))).astype(np.int64)
            effect = effects(sp.csr_matrix(values), section, domain, 2, blocks)
            low, high = effect.low[1], effect.high[1]
            estimated = np.isfinite(low)
            without_zero = f"{((low > 0) | (high < 0))[estimated].mean():.3f}" if estimated.any() else "–"
            print(
                share, name, f"{estimated.mean():.2f}", without_zero, f"{(low >= LEAST_EFFECT).mean():.4f}", sep=" | "
            )


if __name__ == "__main__":
    main()
