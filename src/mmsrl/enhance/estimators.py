"""Estimates of each spot's expression, and a mixture of them for every gene. A block of genes at a time.

Shapes: n spots, B genes of a block. A *share* is the part of a spot's molecules that are of a gene.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.special import xlogy

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

    def share(self, genes: Genes) -> Float:
        """Return the shares of some genes, (n, B): none below :data:`LOWEST` of the gene's mean."""
        shares = self.design @ self.coefficients[:, genes]
        return np.asarray(np.maximum(shares, LOWEST * np.maximum(self.coefficients[0, genes], 1e-12)))


def components(
    decoder: Decoder, counts: sp.csc_matrix, graph: sp.csr_matrix, library: Float, genes: Genes
) -> list[Float]:
    """Return the shares by each of :data:`COMPONENTS`, (n, B) each.

    All are scaled to the gene's total in these counts, and :data:`UNSEEN` molecules more.

    Parameters
    ----------
    counts
        (n, G), what the estimates are made from.
    graph
        (n, n), rows sum to 1.
    library
        (n,): the molecules of each spot in all modelled genes.
    """
    block = counts[:, genes]
    total = np.asarray(block.sum(axis=0), dtype=np.float64).ravel() + UNSEEN
    pooled = np.asarray((graph @ block).todense()) / np.maximum(graph @ library, 1e-9)[:, None]
    everywhere = np.broadcast_to(total / library.sum(), pooled.shape)
    own = np.asarray(block.todense(), dtype=np.float64) / np.maximum(library, 1.0)[:, None]
    shares = [decoder.share(genes), pooled, own, everywhere]
    return [share * (total / np.maximum(library @ share, 1e-12)) for share in shares]


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


def correlation(one: Float, other: Float) -> Float:
    """Return Pearson's correlation of each column of (n, B) and (n, B), (B,); 0 where one is constant."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    length = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray(np.divide((a * b).sum(axis=0), length, out=np.zeros(a.shape[1]), where=length > 1e-12))
