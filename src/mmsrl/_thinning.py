"""Count splitting (thinning) of raw counts into independent parts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def split_counts(counts: sp.csr_matrix, shares: Sequence[float], seed: int) -> list[sp.csr_matrix]:
    """Split counts by assigning every molecule to one part at random.

    Parts of Poisson counts are independent, so that a model fitted to one part can be tested on another (Neufeld et
    al., Biostatistics 25, 270-287, 2024). Parts of over-dispersed counts share the over-dispersion.

    Parameters
    ----------
    counts
        (n_spots, n_genes) whole numbers.
    shares
        Expected share of the molecules in each part. The shares sum to 1.
    seed
        Random seed.

    Returns
    -------
    list of csr_matrix
        (n_spots, n_genes) float32 for each share. The sum of all parts is ``counts``.
    """
    generator = np.random.default_rng(seed)
    left, remaining = counts.data.astype(np.int64), 1.0
    parts = []
    for share in shares[:-1]:
        drawn = generator.binomial(left, min(share / remaining, 1.0))
        parts.append(drawn)
        left, remaining = left - drawn, remaining - share
    return [_with_values(counts, values) for values in [*parts, left]]


def _with_values(pattern: sp.csr_matrix, values: np.ndarray) -> sp.csr_matrix:
    part = sp.csr_matrix((values.astype(np.float32), pattern.indices.copy(), pattern.indptr.copy()), pattern.shape)
    part.eliminate_zeros()
    return part
