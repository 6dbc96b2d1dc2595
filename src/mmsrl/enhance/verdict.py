"""Significance of differences in held-out deviance, by standard errors over blocks of tissue. Arrays only.

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
"""Approximate minimum and maximum number of blocks of tissue in a unit."""

MIN_BLOCKS = 10
"""Minimum number of blocks with held-out molecules of a gene for a valid standard error."""

MIN_HELD_OUT = 50
"""Minimum number of held-out molecules of a gene for a verdict."""

LEVEL = 0.025
"""Significance level of the one-sided tests."""

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


class Saved(NamedTuple):
    """Fraction of the deviance of one estimate that another estimate removes."""

    share: Float
    """(G,), negative if the deviance increases."""
    error: Float
    """(G,), standard error over blocks of tissue."""


def tissue_blocks(coordinates: Sequence[Float]) -> sp.csr_matrix:
    """Return square blocks of tissue as an indicator matrix, (K, n).

    A block has about the number of spots of a square with side :data:`mmsrl.heldout.BLOCK_SIDE` on a lattice. Blocks
    are smaller in small sections and larger in large ones, to get :data:`FEWEST_BLOCKS` to :data:`MOST_BLOCKS` blocks.

    Parameters
    ----------
    coordinates
        Coordinates of each section, (n_s, 2), in spot pitches.
    """
    n = sum(map(len, coordinates))
    blocks = spatial_blocks(coordinates, float(np.sqrt(np.clip(BLOCK_SIDE**2, n / MOST_BLOCKS, n / FEWEST_BLOCKS))))
    return sp.csr_matrix((np.ones(len(blocks)), (blocks, np.arange(len(blocks)))))


def saved(deviance: Float, other: Float) -> Saved:
    """Return the fraction of the deviance ``other`` that ``deviance`` removes, both (K, G).

    The standard error is the delete-one jackknife over blocks, linearised for a ratio of sums. Blocks account for
    dependence within them (Künsch, Annals of Statistics 17, 1217-1241, 1989).
    """
    blocks = len(deviance)
    total = np.maximum(other.sum(axis=0), 1e-12)
    ratio = deviance.sum(axis=0) / total
    residual = deviance - ratio * other
    error = np.sqrt(blocks / max(blocks - 1, 1) * (residual**2).sum(axis=0)) / total
    return Saved(1.0 - ratio, error)


def enough(counts: sp.csc_matrix, blocks: sp.csr_matrix) -> NDArray[np.bool_]:
    """Return which genes, (G,), have enough held-out molecules in enough blocks for a verdict."""
    by_block = sp.csc_matrix(blocks @ counts)
    return np.asarray(
        (np.asarray(counts.sum(axis=0)).ravel() >= MIN_HELD_OUT) & (np.diff(by_block.indptr) >= MIN_BLOCKS)
    )


def verdicts(against: Sequence[Saved], blocks: int, judged: NDArray[np.bool_]) -> NDArray[np.str_]:
    """Return the verdict on an estimate for each gene, (G,): better, worse or undecided.

    - *better*: the deviance is lower than with **every** compared estimate, each by a one-sided t-test over blocks at
      :data:`LEVEL`. All tests must be significant. At most a fraction :data:`LEVEL` of the genes without a gain over
      one estimate are therefore called better, and the strongest estimate need not be selected.
    - *worse*: the deviance is higher than with **any** compared estimate, at :data:`LEVEL` divided by their number.

    Parameters
    ----------
    against
        :func:`saved` against each compared estimate.
    blocks
        Number of blocks K.
    judged
        (G,), whether a gene can have a verdict. All others are undecided.
    """
    t = np.stack([one.share / np.maximum(one.error, 1e-12) for one in against])
    degrees = max(blocks - 1, 1)
    better = (t > stats.t.isf(LEVEL, degrees)).all(axis=0)
    worse = (t < stats.t.ppf(LEVEL / len(t), degrees)).any(axis=0)
    return np.select([~judged, better, worse], [UNDECIDED, BETTER, WORSE], UNDECIDED)
