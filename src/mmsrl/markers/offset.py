"""Genes of domains under a count model whose offset is the library, section by section. Linear in the stored counts.

Counts of gene g at spot i of section s are negative binomial with mean p_sg·libraryᵢ^γ_sg, γ near 1, and variance
μ + φ_g·μ²: the null hypothesis is that both are the same in all domains of a section. Spots may differ in depth, genes
in how they grow with it, and sections in the gene's level, however domains share them.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.stats import pearson3

from mmsrl.markers.domain_means import membership

Float = NDArray[np.float64]

BLOCK_SPOTS = 20_000
"""Spots whose counts are looked at at a time, which bounds memory."""

LEAST_EXPECTED = 2.0
"""Molecules expected in a domain below which a gene is not tested there."""

LEAST_EXPECTED_ELSEWHERE = 8.0
"""The same in all other domains of its sections: with fewer, no number of molecules would be significant."""

LEAST_VARIANCE = 1.0
"""Variance of Poisson counts in a domain below which a gene is not tested there: less is left than what those make at
least where depth tells nothing of the domain."""


class Sums(NamedTuple):
    """What the test takes of the counts of S sections, K domains and G genes."""

    molecules: Float
    """(S, K, G): counts of each gene."""
    by_depth: Float
    """(S, G): counts of each gene times the log of the library."""
    library: Float
    """(3, S, K): sums over spots of the library, of its square and of its cube."""
    coefficients: Float
    """(2, S, K): constant and slope of the domain on the log of the library, by least squares weighted by it."""
    squares: Float
    """(2, S, K): sums over spots of the library and its square times the square of what that leaves of the domain."""
    cubes: Float
    """(3, S, K): the same of library, square and cube, with the cube of what is left."""
    dispersion: Float
    """(G,): φ of the negative binomial, 0 or more, within sections and domains."""


class Test(NamedTuple):
    """Each domain against the others, gene by gene; all (K, G)."""

    z: Float
    """Molecules in the domain less those expected of its depth, in standard deviations under the null hypothesis; NaN
    as below."""
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
    log_library = np.log(np.maximum(library, 1.0))
    of_section = membership(section, n_sections)
    molecules, crossed = np.zeros((2, member.shape[0], counts.shape[1]))
    by_depth = np.zeros((n_sections, counts.shape[1]))
    squares_of_counts = np.zeros(counts.shape[1])
    for start in range(0, len(library), BLOCK_SPOTS):
        rows = slice(start, start + BLOCK_SPOTS)
        x = sp.csr_matrix(counts[rows], dtype=np.float64)
        molecules += (member[:, rows] @ x).toarray()
        crossed += (member[:, rows] @ sp.diags(library[rows]) @ x).toarray()
        by_depth += (of_section[:, rows] @ sp.diags(log_library[rows]) @ x).toarray()
        squares_of_counts += np.bincount(x.indices, x.data**2, counts.shape[1])
    rate = molecules / first
    residual = squares_of_counts + (rate**2 * second - 2.0 * rate * crossed).sum(axis=0)
    of_poisson, of_excess = expected_squares(first, second, third)
    poisson = (molecules * of_poisson).sum(axis=0)
    squares = molecules * np.maximum(molecules - 1.0, 0.0) / first**2
    slope = (squares * of_excess).sum(axis=0)
    dispersion = np.divide(residual - poisson, slope, out=np.zeros_like(slope), where=slope > 1e-12)
    shape = (n_sections, n_domains)
    return Sums(
        molecules.reshape(*shape, -1),
        by_depth,
        powers.reshape(3, *shape),
        *_beyond_depth(library, log_library, section, domain, shape),
        np.maximum(dispersion, 0.0),
    )


def expected_squares(first: Any, second: Any, third: Any) -> tuple[Any, Any]:
    """Return what squared residuals of negative binomial counts add up to, with the rate estimated from the same spots.

    Parameters
    ----------
    first, second, third
        Sums over the spots of the library, its square and its cube; of any shape.

    Returns
    -------
    The factors of the molecules (Poisson), and of φ times the squared rate (excess).
    """
    return 1.0 - second / first**2, second - 2.0 * third / first + second**2 / first**2


def _beyond_depth(
    library: Float, log_library: Float, section: NDArray[np.int64], domain: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[Float, Float, Float]:
    """Return the last three of :class:`Sums` but the dispersion: what depth does not tell of a domain."""
    coefficients, squares, cubes = np.zeros((2, *shape)), np.zeros((2, *shape)), np.zeros((3, *shape))
    for s in range(shape[0]):
        rows = section == s
        weight, depth = library[rows], log_library[rows]
        member = np.equal.outer(domain[rows], np.arange(shape[1])).astype(np.float64)
        middle = np.average(depth, weights=weight)
        spread = weight @ (depth - middle) ** 2
        slope = (weight * (depth - middle)) @ member / spread if spread > 1e-9 * weight.sum() else np.zeros(shape[1])
        constant = weight @ member / weight.sum() - slope * middle
        left = member - constant - np.outer(depth, slope)
        coefficients[:, s] = constant, slope
        squares[:, s] = [weight**power @ left**2 for power in (1, 2)]
        cubes[:, s] = [weight**power @ left**3 for power in (1, 2, 3)]
    return coefficients, squares, cubes


def enrichment(found: Sums) -> Test:
    """Test whether a domain has more molecules of a gene than its share of the library of its section.

    The score statistic is that of the domain beyond what depth tells of it: observed molecules less those expected of
    spots of these libraries, summed over sections. A gene that grows with depth out of proportion moves both alike.
    Its variance and third cumulant are those of the negative binomial with the section's rate estimated; the p-value is
    of the Pearson III distribution (a shifted gamma) with these moments, which for few molecules is close to the mid-p
    of the exact test. Sections in one domain say nothing.
    """
    shape = found.molecules.shape[1:]
    excess, expected, elsewhere, poisson, variance, third = (np.zeros(shape) for _ in range(6))
    phi = found.dispersion
    for s, molecules in enumerate(found.molecules):
        own = found.library[0, s]
        whole = own.sum()
        beside = ((own > 0) & (own < whole))[:, None]
        if not beside.any():
            continue
        constant, slope = found.coefficients[:, s, :, None]
        squares, cubes = found.squares[:, s, :, None], found.cubes[:, s, :, None]
        total = molecules.sum(axis=0)
        rate = total / whole
        pairs = rate * np.maximum(total - 1.0, 0.0) / whole
        triples = pairs * np.maximum(total - 2.0, 0.0) / whole
        share = (own / whole)[:, None]
        parts = (
            (excess, molecules - constant * total - slope * found.by_depth[s]),
            (expected, total * share),
            (elsewhere, total * (1.0 - share)),
            (poisson, rate * squares[0]),
            (variance, rate * squares[0] + phi * pairs * squares[1]),
            (third, rate * cubes[0] + 3.0 * phi * pairs * cubes[1] + 2.0 * phi**2 * triples * cubes[2]),
        )
        for all_sections, part in parts:
            all_sections += np.where(beside, part, 0.0)
    told = (poisson >= LEAST_VARIANCE) & (expected >= LEAST_EXPECTED) & (elsewhere >= LEAST_EXPECTED_ELSEWHERE)
    root = np.sqrt(variance, where=told, out=np.full(shape, np.nan))
    z = excess / root
    p = np.where(told, pearson3.sf(z, np.divide(third, root**3, where=told, out=np.zeros(shape))), np.nan)
    return Test(z, p)
