"""Normalised expression and its principal components. Arrays only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.sparse.linalg import LinearOperator, svds
from sklearn.utils.extmath import svd_flip
from sklearn.utils.sparsefuncs import mean_variance_axis

FloatArray = NDArray[np.floating[Any]]

CLIP = 10.0
"""Standard deviations from the mean at which a standardised value is cut."""

MIN_SPOTS = 3
"""Genes seen in fewer spots are not modelled, as published."""

SPANS = (0.3, 0.6, 1.0)
"""Shares of the genes that the trend of variance is fitted to at a time: the next where one has too few means."""


LINEAR_REACH = 10.0
"""How many times the median of the values that are not 0 their 99.9th percentile is at least where they are no
logarithms. Of six imaging and ST sections linear values have 17 to 49, log1p of totals of 10,000 1.5 to 4.8; log1p of
values far below 1, which has more, is as good as linear."""

LARGEST_LOGARITHM = 25.0
"""Above this no value is a logarithm: it is log2 of 30 million, and more than the natural one of any count."""

SAME_TOTALS = 0.05
"""Coefficient of variation of the spots' totals below which scaling to them changes nothing."""


class Stabilised(NamedTuple):
    """Normalised values as components are taken from them."""

    values: sp.csr_matrix
    """(n, m) float32."""
    scaled: sp.csr_matrix | None
    """The same of values scaled to equal totals; ``None`` where that would change nothing, or there are no totals."""
    scale: str
    """``linear``, ``logarithmic`` or ``standardised``: what the values were taken for."""


class VariableGenes(NamedTuple):
    """Which genes are most variable."""

    columns: NDArray[np.int64]
    """Ascending; all that are seen where these are no more than asked for."""
    n_seen: int
    """Genes seen in :data:`MIN_SPOTS` spots or more."""
    span: float
    """That of :data:`SPANS` the trend was found with."""


def variable_genes(counts: sp.csr_matrix, n_top: int, section: NDArray[np.integer[Any]] | None = None) -> VariableGenes:
    """Find highly variable genes (``seurat_v3``), in each section where there are several.

    Parameters
    ----------
    counts
        (n, m), raw.
    n_top
        Genes to find.
    section
        (n,), ascending from 0.

    Raises
    ------
    ValueError
        If no trend of the variance with the mean can be fitted.
    """
    seen = np.flatnonzero(counts.getnnz(axis=0) >= MIN_SPOTS)
    if len(seen) <= n_top:
        return VariableGenes(seen, len(seen), SPANS[0])
    import anndata as ad
    import pandas as pd
    import scanpy as sc  # takes seconds

    joint = ad.AnnData(counts if len(seen) == counts.shape[1] else sp.csr_matrix(counts[:, seen]))
    batch = None
    if section is not None and section[-1] > 0:
        batch = "section"
        joint.obs[batch] = pd.Categorical(section.astype(str))
    for span in SPANS:
        try:
            with _torch_threads():
                found = sc.pp.highly_variable_genes(
                    joint, flavor="seurat_v3", n_top_genes=n_top, span=span, batch_key=batch, inplace=False
                )
            return VariableGenes(seen[found["highly_variable"].to_numpy()], len(seen), span)
        except ValueError as error:  # loess finds too few distinct means in its window
            reason = str(error)
    raise ValueError(reason)


@contextmanager
def _torch_threads() -> Iterator[None]:
    """Keep PyTorch's number of threads: scanpy's numba, when it first starts, makes OpenMP take all cores."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)


def scale_of_values(values: NDArray[np.floating[Any]]) -> str:
    """Tell what normalised values, of any shape, are.

    ``standardised`` where some are negative, else ``linear`` or ``logarithmic`` by :data:`LINEAR_REACH` and
    :data:`LARGEST_LOGARITHM`.
    """
    if values.size and values.min() < 0:
        return "standardised"
    present = values[values > 0]
    if not present.size or present.max() > LARGEST_LOGARITHM:
        return "linear"
    reach = np.quantile(present, 0.999) / np.median(present)
    return "linear" if reach >= LINEAR_REACH else "logarithmic"


def stabilise(values: sp.csr_matrix) -> Stabilised:
    """Bring normalised values to a scale on which components can be taken, whatever somebody did to them before.

    Linear values become log1p of multiples of their median, those above 0 alone; so do logarithms, once undone, since
    log1p of values scaled to 10,000 saturates where genes are few. Standardised values stay. What is not negative is
    also given scaled to the spots' totals, as volume-normalised values keep what depends on the depth of a cell.

    Parameters
    ----------
    values
        (n, m), finite.
    """
    scale = scale_of_values(values.data)
    if scale == "standardised":
        return Stabilised(sp.csr_matrix(values, dtype=np.float32), None, scale)
    linear = sp.csr_matrix(values, dtype=np.float32, copy=True)
    if scale == "logarithmic":
        linear.data = np.expm1(linear.data)
    total = np.asarray(linear.sum(axis=1), dtype=np.float64).ravel()
    scaled = None
    if total.std() > SAME_TOTALS * total.mean():
        factor = np.median(total[total > 0]) / np.where(total > 0, total, 1.0)
        scaled = _log_of_multiples(sp.csr_matrix(sp.diags(factor.astype(np.float32)) @ linear))
    return Stabilised(_log_of_multiples(linear), scaled, scale)


def _log_of_multiples(linear: sp.csr_matrix) -> sp.csr_matrix:
    """Return log1p of values over the median of those above 0."""
    result = linear.copy()
    result.data = np.log1p(linear.data / np.median(linear.data[linear.data > 0]))
    return result


def most_varying(values: sp.csr_matrix, n_top: int) -> VariableGenes:
    """Find the genes of the highest variance over mean (of standardised values, variance), over all spots.

    Parameters
    ----------
    values
        (n, m), from :func:`stabilise`.
    """
    seen = np.flatnonzero(values.getnnz(axis=0) >= MIN_SPOTS)
    if len(seen) <= n_top:
        return VariableGenes(seen, len(seen), SPANS[0])
    mean, variance = mean_variance_axis(sp.csr_matrix(values[:, seen]), axis=0)
    spread = variance if mean.min() < 0 else variance / np.maximum(mean, 1e-12)
    return VariableGenes(seen[np.sort(np.argsort(-spread, kind="stable")[:n_top])], len(seen), SPANS[0])


def log_normalised(counts: sp.csr_matrix, library: NDArray[np.floating[Any]]) -> sp.csr_matrix:
    """Return log1p of counts, (n, m) CSR, scaled to the median of ``library``, (n,): the spots' total counts."""
    factor = (np.median(library[library > 0]) / np.maximum(library, 1.0)).astype(np.float32)
    values = np.repeat(factor, np.diff(counts.indptr))
    np.log1p(np.multiply(values, counts.data, out=values), out=values)
    return sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def standard_components(
    expression: sp.csr_matrix, section: NDArray[np.integer[Any]], k: int, seed: int
) -> tuple[FloatArray, float]:
    """Return principal component scores (n, k), and the variance they keep, of genes standardised in each section.

    Without unit variance the axes go to the few genes of highest expression; domains are told by many weak ones.
    Standardised in its own section, a gene's level and spread no longer tell sections apart. Values more than 10
    standard deviations above a gene's mean are cut to that. The matrix stays sparse: the means are taken off inside
    the products, and a zero is never that far below its mean.

    Parameters
    ----------
    expression
        (n, m), log-normalised, non-negative.
    section
        (n,), ascending from 0; all 0 standardises over all spots alike.
    k
        Cut to what there is.
    """
    bounds = np.searchsorted(section, np.arange(section[-1] + 2)).tolist()
    parts, means, total = [], [], 0.0
    for start, stop in pairwise(bounds):
        part = sp.csr_matrix(expression[start:stop], dtype=np.float32)
        mean, variance = mean_variance_axis(part, axis=0)
        deviation = np.sqrt(variance * ((stop - start) / max(stop - start - 1, 1)))
        inverse = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=deviation > 1e-8)
        part.data = np.minimum(part.data, (mean + CLIP * deviation)[part.indices]) * inverse[part.indices]
        mean, variance = mean_variance_axis(part, axis=0)
        parts.append(part)
        means.append(mean)
        total += float(variance.sum()) * (stop - start)

    def forward(v: FloatArray) -> FloatArray:
        return np.concatenate([part @ v.ravel() - mean @ v.ravel() for part, mean in zip(parts, means, strict=True)])

    def transposed(u: FloatArray) -> FloatArray:
        pieces = np.split(u.ravel(), bounds[1:-1])
        sums = [part.T @ piece - piece.sum() * mean for part, mean, piece in zip(parts, means, pieces, strict=True)]
        return np.asarray(sum(sums))

    centred = LinearOperator(expression.shape, matvec=forward, rmatvec=transposed, dtype=np.float32)
    shortest = min(expression.shape)
    start_vector = np.random.default_rng(seed).uniform(-1.0, 1.0, shortest).astype(np.float32)
    left, lengths, axes = svds(centred, min(k, shortest - 1), v0=start_vector)
    left, _ = svd_flip(left[:, ::-1], axes[::-1])
    return left * lengths[::-1], float((lengths.astype(np.float64) ** 2).sum() / total)
