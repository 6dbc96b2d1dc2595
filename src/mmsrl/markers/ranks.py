"""Wilcoxon's rank sum test of every gene in every domain, without making sparse values dense."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import norm

from mmsrl.markers.expression import membership

Float = NDArray[np.float64]


def rank_sums(values: sp.csr_matrix, domain: NDArray[np.int64], n_domains: int) -> tuple[Float, Float]:
    """Compare each domain with all other spots, gene by gene.

    Zeros are one tie at the bottom, so only stored values are sorted: the cost is that of sorting them once for all
    domains. Normal approximation with correction for ties, as ``scanpy.tl.rank_genes_groups`` has it.

    Parameters
    ----------
    values
        (n, G), no negative ones.
    domain
        (n,), from 0 to ``n_domains`` - 1.

    Returns
    -------
    z and its two-sided p-value, each (K, G); 0 and 1 where a domain is empty or holds all spots, or a gene is the same
    everywhere.
    """
    columns = sp.csc_matrix(values)
    columns.eliminate_zeros()
    n, n_genes = columns.shape
    stored = np.diff(columns.indptr)
    gene = np.repeat(np.arange(n_genes), stored)
    order = np.lexsort((columns.data, gene))
    row, value = columns.indices[order], columns.data[order]
    new = np.ones(len(value), dtype=bool)
    new[1:] = (value[1:] != value[:-1]) | (gene[1:] != gene[:-1])
    start = np.flatnonzero(new)
    length = np.diff(np.append(start, len(value))).astype(np.float64)
    zeros = (n - stored).astype(np.float64)
    # Mean rank of each run of equal values: zeros below, then what comes before it in its gene.
    first = start - columns.indptr[gene[start]]
    rank = np.repeat(zeros[gene[start]] + first + (length + 1) / 2, length.astype(np.int64))

    member = membership(domain, n_domains)
    ranked = sp.csc_matrix((rank, row, columns.indptr), shape=columns.shape)
    present = sp.csc_matrix((np.ones(len(row)), row, columns.indptr), shape=columns.shape)
    spots = np.bincount(domain, minlength=n_domains).astype(np.float64)[:, None]
    absent = spots - (member @ present).toarray()
    total = (member @ ranked).toarray() + absent * (zeros + 1) / 2

    ties = np.bincount(gene[start], weights=length**3 - length, minlength=n_genes) + zeros**3 - zeros
    spread = (1 - ties / (float(n) ** 3 - n)) * spots * (n - spots) * (n + 1) / 12
    miss = total - spots * (n + 1) / 2
    z = np.divide(miss, np.sqrt(spread), out=np.zeros_like(miss), where=spread > 0)
    return z, 2 * norm.sf(np.abs(z))
