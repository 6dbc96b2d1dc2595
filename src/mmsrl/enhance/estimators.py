"""Estimates of each spot's expression, and a mixture of them for every gene. A block of genes at a time.

Shapes: n spots, B genes of a block. A *share* is the part of a spot's molecules that are of a gene.
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
"""What is mixed: the decoder of the embedding, the pooled counts of the neighbourhood, the spot's own, and all."""

ROUNDS = 50
"""Of expectation and maximisation; weights move by less than a hundredth after half of them."""

PRIOR_MOLECULES = 5.0
"""Molecules of a gene that are taken to be from its mean before any is looked at: of few, no pattern is believed."""

UNSEEN = 0.5
"""Added to the molecules of a gene in all of the section: none seen does not mean that there are none."""

SHRINKAGE = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9)
"""Shares of the gene's mean that are tried in estimates compared with, which would else predict exactly 0."""


VALUES, MOST_GENES = 8_000_000, 256
"""Values of an array of spots × genes, and genes, that are looked at at a time."""

LOWEST = 0.1
"""Of the gene's mean: shares that a linear decoder puts below, even below 0, are raised to it."""


class Decoder(NamedTuple):
    """Shares that are linear in the embedding: those least wrong in squares, a spot counting by its molecules.

    Counts of variance proportional to library · mean make that the efficient linear fit, and it is in closed form. A
    negative binomial decoder with a softmax, trained by descent, predicts molecules held out no better
    (docs/accuracy.md).
    """

    design: Float
    """(n, d + 1): a constant, and the embedding in units of its deviations."""
    coefficients: Float
    """(d + 1, G)."""

    @classmethod
    def fit(cls, z: Float, counts: sp.csr_matrix) -> Decoder:
        """Fit the shares of ``counts``, (n, G), to the embedding of the same spots, (n, d)."""
        library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        scaled = (z - z.mean(axis=0)) / np.maximum(z.std(axis=0), 1e-9)
        design = np.column_stack([np.ones(len(z)), scaled]).astype(np.float64)
        moments = np.asarray(counts.T @ design, dtype=np.float64).T
        return cls(design, np.linalg.lstsq(design.T @ (library[:, None] * design), moments, rcond=None)[0])

    def at(self, spots: NDArray[np.int64]) -> Decoder:
        """Return the decoder of some spots alone."""
        return self._replace(design=self.design[spots])

    def share(self, genes: Genes) -> Float:
        """Return the shares of some genes, (n, B): none below :data:`LOWEST` of the gene's mean."""
        shares = self.design @ self.coefficients[:, genes]
        return np.asarray(np.maximum(shares, LOWEST * np.maximum(self.coefficients[0, genes], 1e-12)))


class Source(NamedTuple):
    """Counts that the estimates of m spots are made from: their own, and those of all n spots around them."""

    counts: sp.csc_matrix
    """(n, G)."""
    own: sp.csc_matrix
    """(m, G)."""
    graph: Graph
    """(m, n), rows sum to 1."""
    library: Float
    """(m,): the molecules of each spot in all modelled genes."""
    pooled: Float
    """(m,): those of its neighbourhood."""

    @classmethod
    def of(cls, counts: sp.csr_matrix, graph: Graph, spots: NDArray[np.int64] | None = None) -> Source:
        """Return the source of estimates of ``spots``, (m,), of all if not given; ``graph``: (n, n)."""
        every = sp.csc_matrix(counts)
        library = np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
        if spots is None:
            return cls(every, every, graph, library, np.asarray(graph @ library))
        rows = rows_of(graph, spots)
        return cls(every, every[spots], rows, library[spots], np.asarray(rows @ library))


def gene_blocks(n_spots: int, n_genes: int) -> Iterator[slice]:
    """Yield all genes, so many at a time that an array of spots × genes has :data:`VALUES` values."""
    step = int(np.clip(VALUES // max(n_spots, 1), 1, MOST_GENES))
    for start in range(0, n_genes, step):
        yield slice(start, min(start + step, n_genes))


def components(decoder: Decoder, source: Source, genes: Genes) -> list[Float]:
    """Return the shares by each of :data:`COMPONENTS`, (m, B) each.

    All are scaled to the gene's total in the spots' counts, and :data:`UNSEEN` molecules more.

    Parameters
    ----------
    decoder, source
        Of the same m spots.
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
    """Return the weights, (k, B) and summing to 1 by gene, with which the mixture makes counts the likeliest.

    The last of the shares has :data:`PRIOR_MOLECULES` from the start.

    Counts ~ Poisson(library · Σ weight · share): molecules choose a component, so that expectation maximisation has a
    closed form and no weight can be negative (stacking: Breiman, Machine Learning 24, 49-64, 1996). The counts must not
    be those that the shares were made from.
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
    """Return the mixture, (n, B)."""
    result: Float = weights[0] * shares[0]
    for weight, share in zip(weights[1:], shares[1:], strict=True):
        result = result + weight * share
    return result


def deviance(counts: sp.csc_matrix, expected: Float, blocks: sp.csr_matrix) -> Float:
    """Return the Poisson deviance of each gene in each block of tissue, (K, B): 0 is a perfect prediction.

    Parameters
    ----------
    counts, expected
        (n, B).
    blocks
        (K, n), 1 where a spot is in a block (:func:`mmsrl.enhance.verdict.tissue_blocks`).
    """
    entries = sp.coo_matrix(counts)
    value = entries.data.astype(np.float64)
    near = np.maximum(expected[entries.row, entries.col].astype(np.float64), 1e-12)
    terms = sp.csr_matrix((xlogy(value, value / near) - value, (entries.row, entries.col)), shape=counts.shape)
    return np.asarray(2 * ((blocks @ terms).toarray() + blocks @ expected))


def shrunk_deviances(counts: sp.csc_matrix, expected: Float, mean: Float, blocks: sp.csr_matrix) -> Float:
    """Return :func:`deviance` of (1 - a) ``expected`` + a ``mean`` for each a of :data:`SHRINKAGE`, (S, K, B).

    Of the mixtures only the entries of the counts are made: what is expected in a block is linear in the two.
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
    """Return Pearson's correlation of each column of (n, B) and (n, B), (B,); 0 where one is constant."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    length = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray(np.divide((a * b).sum(axis=0), length, out=np.zeros(a.shape[1]), where=length > 1e-12))
