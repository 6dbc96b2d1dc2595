"""Genes of domains tested over sections: molecules summed by section, in the domain and beside it. Arrays only."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl.linear_models import moderated_effect, voom
from mmsrl.markers.offset import Sums

Float = NDArray[np.float64]

LEAST_SECTIONS = 3
"""Sections with the domain and something beside it below which its genes are not tested over them."""

LEAST_MOLECULES = 10.0
"""Of a gene, in these sections together, below which it is not tested."""

LEAST_GENES = 50
"""Genes with so many molecules below which none is tested: they tell together how variance goes with the mean."""


class Pseudobulk(NamedTuple):
    """Each domain against the others, over sections."""

    n_sections: NDArray[np.int64]
    """(K,): sections with the domain and something beside it."""
    log2: Float
    """(K, G): log2 fold change; NaN as below."""
    p_value: Float
    """(K, G): one-sided, as much more or more; NaN where sections, molecules or genes are too few."""


def over_sections(found: Sums, again: NDArray[np.bool_]) -> Pseudobulk:
    """Test whether domains have more molecules of a gene in one section after the other.

    Parameters
    ----------
    found
        Counts by section and domain; all are molecules of spots, whole numbers.
    again
        (K,): the domains to test.
    """
    shape = found.molecules.shape[1:]
    log2, p = np.full((2, *shape), np.nan)
    own = found.library[0]
    whole = own.sum(axis=1)
    both = (own > 0) & (own < whole[:, None])
    for k in np.flatnonzero(again & (both.sum(axis=0) >= LEAST_SECTIONS)):
        sections = np.flatnonzero(both[:, k])
        inside = found.molecules[sections, k]
        counts = np.stack([found.molecules[sections].sum(axis=1) - inside, inside], axis=1)
        library = np.stack([whole[sections] - own[sections, k], own[sections, k]], axis=1)
        enough = counts.sum(axis=(0, 1)) >= LEAST_MOLECULES
        if enough.sum() >= LEAST_GENES:
            log2[k, enough], p[k, enough] = paired_test(counts[:, :, enough], library)
    return Pseudobulk(both.sum(axis=0), log2, p)


def paired_test(counts: Float, library: Float) -> tuple[Float, Float]:
    """Return log2 fold changes and one-sided p-values, (G,), of a moderated t test of the model ~ section + domain.

    Libraries are taken as they are, as in the test over spots: medians of ratios are of the genes that all pseudobulks
    have, and of a domain of few spots these are the genes that chance gave a molecule.

    Parameters
    ----------
    counts
        (S, 2, G): elsewhere, and in the domain.
    library
        (S, 2), molecules of all genes.
    """
    n = len(counts)
    design = np.column_stack([np.repeat(np.eye(n), 2, axis=0), np.tile([0.0, 1.0], n)])
    values, weights = voom(counts.reshape(2 * n, -1), library.ravel(), design)
    found = moderated_effect(values, design, np.eye(n + 1)[-1], weights)
    return found.estimate, found.p_greater
