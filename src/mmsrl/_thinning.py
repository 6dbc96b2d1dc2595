"""Count splitting: counts divided at random into parts that are as if each had been sequenced on its own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp


def split_counts(counts: sp.csr_matrix, shares: Sequence[float], seed: int) -> list[sp.csr_matrix]:
    """Give every molecule to one of several parts, at random and independently of all others.

    Parts of Poisson counts are independent of one another, so that what was fitted to one can be judged on another
    (Neufeld et al., Biostatistics 25, 270-287, 2024). Where counts vary more than Poisson ones, from spot to spot in a
    way that nothing measured explains, the parts share that excess.

    Parameters
    ----------
    counts
        (n, G), whole numbers.
    shares
        Expected share of the molecules in each part; they sum to 1.
    seed
        Same counts and seed give the same parts.

    Returns
    -------
    For each share a float32 CSR matrix, (n, G); their sum is ``counts``.
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
