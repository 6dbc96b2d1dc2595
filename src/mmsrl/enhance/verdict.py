"""Whether a difference on held-out molecules is more than chance: standard errors over blocks of tissue. Arrays only.

Shapes: n spots, K blocks, G genes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy import stats

from mmsrl.heldout import BLOCK_SIDE, spatial_blocks

Float = NDArray[np.floating[Any]]

FEWEST_BLOCKS, MOST_BLOCKS = 25, 100
"""Blocks of tissue of a unit, about."""

MIN_BLOCKS = 10
"""Blocks that must have molecules of a gene held out, for its standard error to be one."""

MIN_HELD_OUT = 50
"""Molecules of a gene that must be held out for a verdict."""

LEVEL = 0.025
"""Of the one-sided tests."""

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


class Saved(NamedTuple):
    """How much of the deviance of one estimate another does not leave."""

    share: Float
    """(G,); below 0 where it leaves more."""
    error: Float
    """(G,): its standard error over blocks of tissue."""


def tissue_blocks(coordinates: Sequence[Float]) -> sp.csr_matrix:
    """Return squares of tissue as an indicator matrix, (K, n): 1 where a spot is in a block.

    They have about as many spots as a square of :data:`mmsrl.heldout.BLOCK_SIDE` has on a lattice, fewer in small
    sections and more in large ones, for :data:`FEWEST_BLOCKS` to :data:`MOST_BLOCKS` of them.

    Parameters
    ----------
    coordinates
        Of each section, (n_s, 2), in spot pitches.
    """
    n = sum(map(len, coordinates))
    blocks = spatial_blocks(coordinates, float(np.sqrt(np.clip(BLOCK_SIDE**2, n / MOST_BLOCKS, n / FEWEST_BLOCKS))))
    return sp.csr_matrix((np.ones(len(blocks)), (blocks, np.arange(len(blocks)))))


def saved(deviance: Float, other: Float) -> Saved:
    """Return what ``deviance`` saves of ``other``, both (K, G).

    The standard error is that of the delete-one jackknife over blocks, linearised for a ratio of sums (Künsch, Annals
    of Statistics 17, 1217-1241, 1989, for data that hang together within blocks).
    """
    blocks = len(deviance)
    total = np.maximum(other.sum(axis=0), 1e-12)
    ratio = deviance.sum(axis=0) / total
    left = deviance - ratio * other
    error = np.sqrt(blocks / max(blocks - 1, 1) * (left**2).sum(axis=0)) / total
    return Saved(1.0 - ratio, error)


def enough(counts: sp.csc_matrix, blocks: sp.csr_matrix) -> NDArray[np.bool_]:
    """Tell of which genes enough molecules in enough blocks were held out for a verdict, (G,)."""
    by_block = sp.csc_matrix(blocks @ counts)
    return np.asarray(
        (np.asarray(counts.sum(axis=0)).ravel() >= MIN_HELD_OUT) & (np.diff(by_block.indptr) >= MIN_BLOCKS)
    )


def verdicts(against: Sequence[Saved], blocks: int, judged: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Say of each gene whether an estimate is better, worse or undecided, (G,).

    It is *better* if it saves deviance of **every** estimate it is compared with, each by a one-sided t-test over
    blocks at :data:`LEVEL`: as all must hold, no more than that share of genes without a gain over one of them is
    called better, and which of them is the strongest need not be chosen. It is *worse* if it saves less than nothing of
    **any**, at the level divided by their number.

    Parameters
    ----------
    against
        What it saves of each.
    blocks
        K.
    judged
        (G,): all others are undecided.
    """
    t = np.stack([one.share / np.maximum(one.error, 1e-12) for one in against])
    degrees = max(blocks - 1, 1)
    better = (t > stats.t.isf(LEVEL, degrees)).all(axis=0)
    worse = (t < stats.t.ppf(LEVEL / len(t), degrees)).any(axis=0)
    return np.select([~judged, better, worse], [UNDECIDED, BETTER, WORSE], UNDECIDED)
