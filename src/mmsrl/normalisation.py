"""Normalisation of expression, highly variable genes and principal components. Arrays only."""

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
"""Standardised values are clipped at this many standard deviations above the mean of the gene."""

MIN_SPOTS = 3
"""Minimum number of spots in which a modelled gene is detected, as published."""

SPANS = (0.3, 0.6, 1.0)
"""Loess spans of the mean-variance trend, as fractions of the genes. The next span is tried if a window has too few
distinct means."""


LINEAR_REACH = 10.0
"""Minimum ratio of the 99.9th percentile to the median of non-zero values on a linear scale. In six imaging and ST
sections, linear values have 17 to 49 and log1p of values per 10,000 counts has 1.5 to 4.8. log1p of values far below 1
also has more, but is then as good as linear."""

LARGEST_LOGARITHM = 25.0
"""Maximum of values on a logarithmic scale: log2 of 30 million, and more than the natural logarithm of any count."""

SAME_TOTALS = 0.05
"""Coefficient of variation of the totals of spots below which scaling to equal totals is omitted."""


class Stabilised(NamedTuple):
    """Normalised values on a scale that suits principal component analysis."""

    values: sp.csr_matrix
    """(n, m) float32."""
    scaled: sp.csr_matrix | None
    """The same for values scaled to equal totals. ``None`` if all totals are alike or values are standardised."""
    scale: str
    """Detected scale of the input: ``linear``, ``logarithmic`` or ``standardised``."""


class VariableGenes(NamedTuple):
    """Highly variable genes."""

    columns: NDArray[np.int64]
    """Column indices, ascending. All detected genes if there are no more than requested."""
    n_seen: int
    """Number of genes detected in at least :data:`MIN_SPOTS` spots."""
    span: float
    """Loess span of :data:`SPANS` that was used."""


def variable_genes(counts: sp.csr_matrix, n_top: int, section: NDArray[np.integer[Any]] | None = None) -> VariableGenes:
    """Select highly variable genes (``seurat_v3``) with the section as batch key.

    Source: Stuart et al., Cell 177, 1888 (2019), as implemented by :func:`scanpy.pp.highly_variable_genes`.

    Parameters
    ----------
    counts
        Raw counts, (n, m).
    n_top
        Number of genes.
    section
        Batch key: index of the section of each spot, (n,), ascending from 0. ``None`` uses no batch key.

    Raises
    ------
    ValueError
        No mean-variance trend can be fitted.
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
                selected = sc.pp.highly_variable_genes(
                    joint, flavor="seurat_v3", n_top_genes=n_top, span=span, batch_key=batch, inplace=False
                )
            return VariableGenes(seen[selected["highly_variable"].to_numpy()], len(seen), span)
        except ValueError as error:  # loess has too few distinct means in a window
            reason = str(error)
    raise ValueError(reason)


@contextmanager
def _torch_threads() -> Iterator[None]:
    """Restore PyTorch's number of threads: when numba in scanpy first starts, OpenMP takes all cores."""
    torch = sys.modules.get("torch")
    threads = torch.get_num_threads() if torch else None
    try:
        yield
    finally:
        if torch:
            torch.set_num_threads(threads)


def scale_of_values(values: NDArray[np.floating[Any]]) -> str:
    """Return the scale of normalised values of any shape.

    ``standardised`` if any value is negative, else ``linear`` or ``logarithmic`` by :data:`LINEAR_REACH` and
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
    """Transform normalised values of any origin to a scale that suits principal component analysis.

    Linear values become log1p of multiples of the median of the positive values. Logarithms are undone first, because
    log1p of values per 10,000 counts saturates if there are few genes. Standardised values are kept. For non-negative
    values the result also contains values scaled to equal totals, since volume normalisation retains the sequencing
    depth of a cell.

    Parameters
    ----------
    values
        Normalised values, (n, m), finite.
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
    """Return log1p of values divided by the median of the positive values."""
    result = linear.copy()
    result.data = np.log1p(linear.data / np.median(linear.data[linear.data > 0]))
    return result


def most_varying(values: sp.csr_matrix, n_top: int) -> VariableGenes:
    """Select the genes with the highest dispersion (variance / mean), or variance if values are standardised.

    Parameters
    ----------
    values
        Values from :func:`stabilise`, (n, m).
    n_top
        Number of genes.
    """
    seen = np.flatnonzero(values.getnnz(axis=0) >= MIN_SPOTS)
    if len(seen) <= n_top:
        return VariableGenes(seen, len(seen), SPANS[0])
    mean, variance = mean_variance_axis(sp.csr_matrix(values[:, seen]), axis=0)
    spread = variance if mean.min() < 0 else variance / np.maximum(mean, 1e-12)
    return VariableGenes(seen[np.sort(np.argsort(-spread, kind="stable")[:n_top])], len(seen), SPANS[0])


def log_normalised(counts: sp.csr_matrix, library: NDArray[np.floating[Any]]) -> sp.csr_matrix:
    """Return log1p of counts, (n, m) CSR, scaled to the median of the library sizes ``library``, (n,)."""
    factor = (np.median(library[library > 0]) / np.maximum(library, 1.0)).astype(np.float32)
    values = np.repeat(factor, np.diff(counts.indptr))
    np.log1p(np.multiply(values, counts.data, out=values), out=values)
    return sp.csr_matrix((values, counts.indices, counts.indptr), shape=counts.shape)


def standard_components(
    expression: sp.csr_matrix, section: NDArray[np.integer[Any]], k: int, seed: int
) -> tuple[FloatArray, float]:
    """Compute principal components of genes that are standardised within each section.

    Without unit variance, the few genes with the highest expression determine the axes, but domains differ in many
    weakly expressed genes. Standardising within sections removes differences in mean and variance between them. Values
    above :data:`CLIP` standard deviations are clipped. The matrix stays sparse: means are subtracted inside the matrix
    products.

    Parameters
    ----------
    expression
        Log-normalised expression, (n, m), non-negative.
    section
        Index of the section of each spot, (n,), ascending from 0. All 0 standardises over all spots.
    k
        Number of components, at most min(n, m) - 1.
    seed
        Random seed of the starting vector.

    Returns
    -------
    Scores, (n, k) float32, and the fraction of the variance that they explain.
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
    vectors, lengths, axes = svds(centred, min(k, shortest - 1), v0=start_vector)
    vectors, _ = svd_flip(vectors[:, ::-1], axes[::-1])
    return vectors * lengths[::-1], float((lengths.astype(np.float64) ** 2).sum() / total)
