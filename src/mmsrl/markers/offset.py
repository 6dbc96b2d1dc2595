"""Genes of domains under a count model whose offset is the library, section by section. Linear in the stored counts.

Counts of gene g at spot i of section s are negative binomial with mean libraryᵢ·p_sg and variance μ + φ_g·μ²: the null
hypothesis is that p_sg is the same in all domains of a section. Spots may differ in depth, and sections in the gene's
level, however domains share them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import pearson3

from mmsrl.markers.expression import membership

Float = NDArray[np.float64]

BLOCK_SPOTS = 20_000
"""Spots whose counts are looked at at a time, which bounds memory."""

LEAST_EXPECTED = 2.0
"""Molecules expected in a domain below which a gene is not tested there."""

LEAST_EXPECTED_ELSEWHERE = 8.0
"""The same in all other domains of its sections: with fewer, no number of molecules would be significant."""


class Sums(NamedTuple):
    """What the test takes of the counts of S sections, K domains and G genes."""

    molecules: Float
    """(S, K, G): counts of each gene."""
    library: Float
    """(3, S, K): sums over spots of the library, of its square and of its cube."""
    dispersion: Float
    """(G,): φ of the negative binomial, 0 or more, within sections and domains."""


class Test(NamedTuple):
    """Each domain against the others, gene by gene; all (K, G)."""

    z: Float
    """Molecules in the domain less those expected, in standard deviations under the null hypothesis; NaN as below."""
    p_value: Float
    """One-sided: as many molecules or more; NaN where too few are expected, in the domain or elsewhere."""


def sums(
    counts: sp.csr_matrix,
    library: Float,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    n_domains: int,
) -> Sums:
    """Sum counts and libraries over sections and domains, and find each gene's dispersion by moments within these.

    Parameters
    ----------
    counts
        (n, G), raw.
    library
        (n,), molecules of each spot, of all genes.
    section, domain
        (n,), from 0.
    """
    n_sections = int(section.max()) + 1
    member = membership(section * n_domains + domain, n_sections * n_domains)
    powers = np.stack([member @ library**power for power in (1, 2, 3)])
    first, second, third = (power[:, None] for power in powers)
    first = np.where(first > 0, first, 1.0)  # of sections without the domain
    molecules, crossed = np.zeros((2, member.shape[0], counts.shape[1]))
    squares_of_counts = np.zeros(counts.shape[1])
    for start in range(0, len(library), BLOCK_SPOTS):
        rows = slice(start, start + BLOCK_SPOTS)
        x = sp.csr_matrix(counts[rows], dtype=np.float64)
        molecules += (member[:, rows] @ x).toarray()
        crossed += (member[:, rows] @ sp.diags(library[rows]) @ x).toarray()
        squares_of_counts += np.bincount(x.indices, x.data**2, counts.shape[1])
    rate = molecules / first
    residual = squares_of_counts + (rate**2 * second - 2.0 * rate * crossed).sum(axis=0)
    # Expected of a Poisson count, and what φ adds to it, with the mean estimated from the same spots.
    poisson = (molecules * (1.0 - second / first**2)).sum(axis=0)
    squares = molecules * np.maximum(molecules - 1.0, 0.0) / first**2
    slope = (squares * (second - 2.0 * third / first + second**2 / first**2)).sum(axis=0)
    dispersion = np.divide(residual - poisson, slope, out=np.zeros_like(slope), where=slope > 1e-12)
    shape = (n_sections, n_domains)
    return Sums(molecules.reshape(*shape, -1), powers.reshape(3, *shape), np.maximum(dispersion, 0.0))


def enrichment(found: Sums) -> Test:
    """Test whether a domain has more molecules of a gene than its share of the library of its section.

    The score statistic of the domain is observed less expected molecules, summed over sections. Its variance and third
    cumulant are those of the negative binomial with the section's rate estimated; the p-value is of the Pearson III
    distribution (a shifted gamma) with these moments, which for few molecules is close to the mid-p of the exact test.
    Sections in one domain say nothing.
    """
    shape = found.molecules.shape[1:]
    observed, expected, elsewhere, variance, third = (np.zeros(shape) for _ in range(5))
    phi = found.dispersion
    for molecules, own, second, cube in zip(found.molecules, *found.library, strict=True):
        whole = own.sum()
        beside = (own > 0) & (own < whole)
        if not beside.any():
            continue
        share = np.where(beside, own / whole, 0.0)[:, None]
        rest = np.where(beside[:, None], 1.0 - share, 0.0)
        total = molecules.sum(axis=0)
        pairs = total * np.maximum(total - 1.0, 0.0) / whole**2
        triples = pairs * np.maximum(total - 2.0, 0.0) / whole

        def spread(powers: Float, exponent: int, share: Float = share, rest: Float = rest) -> Float:
            inside = powers[:, None]
            return np.asarray(rest**exponent * inside + (-share) ** exponent * (powers.sum() - inside))

        observed += np.where(beside[:, None], molecules, 0.0)
        expected += total * share
        elsewhere += total * rest
        variance += total * share * rest + phi * pairs * spread(second, 2)
        third += total * share * rest * (rest - share)
        third += 3.0 * phi * pairs * spread(second, 3) + 2.0 * phi**2 * triples * spread(cube, 3)
    told = (variance > 0) & (expected >= LEAST_EXPECTED) & (elsewhere >= LEAST_EXPECTED_ELSEWHERE)
    root = np.sqrt(variance, where=told, out=np.full(shape, np.nan))
    z = (observed - expected) / root
    p = np.where(told, pearson3.sf(z, np.divide(third, root**3, where=told, out=np.zeros(shape))), np.nan)
    return Test(z, p)
