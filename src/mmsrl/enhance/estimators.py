"""Estimates of expression, and their mixture for each gene, in blocks of genes.

Shapes: n spots, B genes of a block. A *share* is the fraction of the molecules of a spot that belong to a gene.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import xlogy

from mmsrl.graph import Graph, rows_of

Float = NDArray[np.floating[Any]]
Genes = slice | NDArray[np.int64]

COMPONENTS = ("decoder", "smoothed", "own", "mean")
"""Estimates in the mixture: decoder of the embedding, pooled counts, counts of the spot, mean of the gene."""

ROUNDS = 50
"""Number of EM iterations. Weights change by less than 0.01 in the second half."""

PRIOR_MOLECULES = 5.0
"""Pseudocount of molecules from the mean of the gene, which shrinks genes with few molecules to their mean."""

UNSEEN = 0.5
"""Pseudocount of the total of a gene, for genes without molecules in a part."""

SHRINKAGE = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Candidate weights of the mean of the gene in the compared estimates, which would otherwise predict exactly 0."""

VALUES, MOST_GENES = 8_000_000, 256
"""Maximum number of values (spots × genes) and of genes per block."""

LOWEST = 0.1
"""Lower limit of the decoder, as a fraction of the mean of the gene. A linear decoder can fall below 0."""


class Decoder(NamedTuple):
    """Linear decoder of shares from the embedding, by weighted least squares with the library size as weight.

    The fit is in closed form. It is efficient if the variance of counts is proportional to library size · mean. A
    negative binomial decoder with a softmax, trained by gradient descent, predicts held-out molecules no better
    (docs/accuracy.md).
    """

    design: Float
    """(n, d + 1), a constant and the standardised embedding."""
    coefficients: Float
    """(d + 1, G)."""

    @classmethod
    def fit(cls, z: Float, counts: sp.csr_matrix) -> Decoder:
        """Fit the decoder to ``counts``, (n, G), and the embedding ``z``, (n, d), of the same spots."""
        library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        scaled = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-9)
        design = np.column_stack([np.ones(len(z)), scaled]).astype(np.float64)
        moments = np.asarray(counts.T @ design, dtype=np.float64).T
        return cls(design, np.linalg.lstsq(design.T @ (library[:, None] * design), moments, rcond=None)[0])

    def at(self, spots: NDArray[np.int64]) -> Decoder:
        """Return the decoder of a subset of spots."""
        return self._replace(design=self.design[spots])

    def share(self, genes: Genes) -> Float:
        """Return the shares of some genes, (n, B), at least :data:`LOWEST` times the mean of the gene."""
        shares = self.design @ self.coefficients[:, genes]
        return np.asarray(np.maximum(shares, LOWEST * np.maximum(self.coefficients[0, genes], 1e-12)))


class Source(NamedTuple):
    """Counts from which estimates of m spots are computed, with the counts of all n spots around them."""

    counts: sp.csc_matrix
    """(n, G)."""
    own: sp.csc_matrix
    """(m, G), counts of the m spots."""
    graph: Graph
    """(m, n), row-normalised."""
    library: Float
    """(m,), molecules of all modelled genes of each spot."""
    pooled: Float
    """(m,), mean library size in the neighbourhood."""

    @classmethod
    def of(cls, counts: sp.csr_matrix, graph: Graph, spots: NDArray[np.int64] | None = None) -> Source:
        """Return the source for ``spots``, (m,), or for all spots. ``graph`` is (n, n)."""
        every = sp.csc_matrix(counts)
        library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        if spots is None:
            return cls(every, every, graph, library, np.asarray(graph @ library))
        rows = rows_of(graph, spots)
        return cls(every, every[spots], rows, library[spots], np.asarray(rows @ library))


def gene_blocks(n_spots: int, n_genes: int) -> Iterator[slice]:
    """Yield blocks of genes in which an array of spots × genes has at most :data:`VALUES` values."""
    step = int(np.clip(VALUES // max(n_spots, 1), 1, MOST_GENES))
    for start in range(0, n_genes, step):
        yield slice(start, min(start + step, n_genes))


def components(decoder: Decoder, source: Source, genes: Genes) -> list[Float]:
    """Return the estimate of the shares by each of :data:`COMPONENTS`, (m, B) each.

    All are scaled to the total of the gene in the m spots, plus :data:`UNSEEN` molecules.

    Parameters
    ----------
    decoder, source
        Decoder and counts of the same m spots.
    genes
        Block of genes.
    """
    own = source.own[:, genes].toarray().astype(np.float64)
    total = own.sum(axis=0) + UNSEEN
    library = source.library
    pooled = np.asarray(source.graph @ source.counts[:, genes].toarray(), dtype=np.float64)
    pooled /= np.maximum(source.pooled, 1e-9)[:, None]
    own /= np.maximum(library, 1.0)[:, None]
    shares = [decoder.share(genes), pooled, own]
    for share in shares:
        share *= total / np.maximum(library @ share, 1e-12)
    return [*shares, np.broadcast_to(total / max(library.sum(), 1e-12), own.shape)]


def mixing_weights(shares: Sequence[Float], counts: sp.csc_matrix, library: Float) -> Float:
    """Return the maximum-likelihood weights of the mixture, (k, B), which sum to 1 for each gene.

    The model is counts ~ Poisson(library · Σ weight · share). Each molecule belongs to one component, so the EM steps
    have a closed form and weights are not negative (stacking: Breiman, Machine Learning 24, 49-64, 1996). The last
    component gets :data:`PRIOR_MOLECULES` as a prior.

    Parameters
    ----------
    shares
        k estimates, (n, B) each.
    counts
        (n, B), counts that were not used for the estimates.
    library
        (n,), library size of ``counts``.
    """
    entries = sp.coo_matrix(counts)
    row, gene, value = entries.row, entries.col, entries.data.astype(np.float64)
    total = np.bincount(gene, weights=value, minlength=counts.shape[1])
    parts = np.stack([share[row, gene] / np.maximum(library @ share, 1e-12)[gene] for share in shares])
    weights = np.full((len(shares), counts.shape[1]), 1.0 / len(shares))
    for _ in range(ROUNDS):
        responsible = weights[:, gene] * parts
        responsible *= value / np.maximum(responsible.sum(axis=0), 1e-300)
        for k, own in enumerate(responsible):
            weights[k] = np.bincount(gene, weights=own, minlength=counts.shape[1])
        weights[-1] += PRIOR_MOLECULES
        weights /= total + PRIOR_MOLECULES
    return weights


def mixed(shares: Sequence[Float], weights: Float) -> Float:
    """Return the mixture of ``shares``, (n, B)."""
    result: Float = weights[0] * shares[0]
    for weight, share in zip(weights[1:], shares[1:], strict=True):
        result = result + weight * share
    return result


def deviance(counts: sp.csc_matrix, expected: Float, blocks: sp.csr_matrix) -> Float:
    """Return the Poisson deviance of each gene in each block of tissue, (K, B). 0 is a perfect prediction.

    Parameters
    ----------
    counts, expected
        (n, B).
    blocks
        (K, n), 1 if a spot is in a block (:func:`mmsrl.enhance.verdict.tissue_blocks`).
    """
    entries = sp.coo_matrix(counts)
    value = entries.data.astype(np.float64)
    near = np.maximum(expected[entries.row, entries.col].astype(np.float64), 1e-12)
    terms = sp.csr_matrix((xlogy(value, value / near) - value, (entries.row, entries.col)), shape=counts.shape)
    return np.asarray(2 * ((blocks @ terms).toarray() + blocks @ expected))


def shrunk_deviances(counts: sp.csc_matrix, expected: Float, mean: Float, blocks: sp.csr_matrix) -> Float:
    """Return :func:`deviance` of (1 − a) ``expected`` + a ``mean`` for each a of :data:`SHRINKAGE`, (S, K, B).

    The mixtures are computed only at non-zero counts, because the expectation in a block is linear in both parts.
    """
    entries = sp.coo_matrix(counts)
    value = entries.data.astype(np.float64)
    one, other = (array[entries.row, entries.col] for array in (expected, mean))
    in_blocks, of_mean = blocks @ expected, blocks @ mean
    result = np.empty((len(SHRINKAGE), *in_blocks.shape))
    for s, a in enumerate(SHRINKAGE):
        near = np.maximum((1 - a) * one + a * other, 1e-12)
        terms = sp.csr_matrix((xlogy(value, value / near) - value, (entries.row, entries.col)), shape=counts.shape)
        result[s] = 2 * ((blocks @ terms).toarray() + (1 - a) * in_blocks + a * of_mean)
    return result


def correlation(one: Float, other: Float) -> Float:
    """Return the Pearson correlation of each pair of columns of (n, B) and (n, B): (B,), or 0 for constant columns."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    length = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray(np.divide((a * b).sum(axis=0), length, out=np.zeros(a.shape[1]), where=length > 1e-12))
