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


class Decoder(NamedTuple):
    """A linear decoder: softmax over genes of ``z @ weight.T + bias``."""

    z: Float
    """(n, d), as the decoder takes it."""
    weight: Float
    """(G, d)."""
    bias: Float
    """(G,)."""
    normaliser: Float
    """(n, 1): log of the softmax's denominator."""

    @classmethod
    def of(cls, z: Float, weight: Float, bias: Float, rows: int = 1024) -> Decoder:
        """Compute the denominators in blocks of spots, so that no (n, G) matrix exists."""
        parts = []
        for start in range(0, len(z), rows):
            logit = z[start : start + rows] @ weight.T + bias
            top = logit.max(axis=1, keepdims=True)
            parts.append(top + np.log(np.exp(logit - top).sum(axis=1, keepdims=True)))
        return cls(z, weight, bias, np.concatenate(parts))

    def share(self, genes: slice) -> Float:
        """Return the shares of some genes, (n, B)."""
        shares: Float = np.exp(self.z @ self.weight[genes].T + self.bias[genes] - self.normaliser)
        return shares


def components(
    decoder: Decoder, counts: sp.csc_matrix, graph: sp.csr_matrix, library: Float, genes: slice
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


def deviance(counts: sp.csc_matrix, expected: Float) -> Float:
    """Return the Poisson deviance of each gene, (B,), given what was expected, (n, B): 0 is a perfect prediction."""
    entries = sp.coo_matrix(counts)
    value = entries.data.astype(np.float64)
    near = np.maximum(expected[entries.row, entries.col].astype(np.float64), 1e-12)
    terms = xlogy(value, value / near) - value
    stored = np.bincount(entries.col, weights=terms, minlength=counts.shape[1])
    return np.asarray(2 * (stored + expected.sum(axis=0)))


def correlation(one: Float, other: Float) -> Float:
    """Return Pearson's correlation of each column of (n, B) and (n, B), (B,); 0 where one is constant."""
    a, b = one - one.mean(axis=0), other - other.mean(axis=0)
    length = np.sqrt((a**2).sum(axis=0) * (b**2).sum(axis=0))
    return np.asarray(np.divide((a * b).sum(axis=0), length, out=np.zeros(a.shape[1]), where=length > 1e-12))
