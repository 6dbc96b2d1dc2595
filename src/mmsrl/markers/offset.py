"""Test the genes of domains under a count model with the library size as offset. Linear in the stored counts.

Counts of gene g at spot i of section s are negative binomial with mean p_sg·libraryᵢ^γ_sg, γ near 1, and variance μ +
φ_g·μ². The null hypothesis is that p and γ are the same in all domains of a section. Spots may differ in library size,
genes in how they scale with it, and sections in the level of a gene, also if sections differ in composition.

scanpy's Wilcoxon test has 6 times as many null p-values below .05 on a depth gradient of 16 times, this test as many as
expected (``docs/calibration.md``).
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
"""Number of spots per block of counts, which bounds memory."""

LEAST_EXPECTED = 2.0
"""Minimum expected count of a gene in a domain to test it."""

LEAST_EXPECTED_ELSEWHERE = 8.0
"""Minimum expected count in all other domains of the same sections. With fewer, no count would be significant."""

LEAST_VARIANCE = 1.0
"""Minimum Poisson variance of the statistic in a domain. It excludes domains that the library size predicts."""


class Sums(NamedTuple):
    """Sufficient statistics of S sections, K domains and G genes."""

    molecules: Float
    """(S, K, G): total counts."""
    by_depth: Float
    """(S, G): sum over spots of counts times log library size."""
    library: Float
    """(3, S, K): sums over spots of the library size, its square and its cube."""
    coefficients: Float
    """(2, S, K): intercept and slope of the domain indicator on the log library size, by least squares weighted by the
    library size."""
    squares: Float
    """(2, S, K): sums over spots of library size and squared library size, times squared residuals of that regression.
    """
    cubes: Float
    """(3, S, K): sums of library size, its square and its cube, times cubed residuals."""
    dispersion: Float
    """(G,): over-dispersion φ of the negative binomial within sections and domains, at least 0."""


class Test(NamedTuple):
    """Score test of each domain against all others: all (K, G)."""

    z: Float
    """Observed minus expected counts in the domain, in standard deviations under the null hypothesis. NaN as
    ``p_value``."""
    p_value: Float
    """One-sided, for higher expression. NaN if too few counts are expected in the domain or elsewhere."""


def sums(
    counts: sp.csr_matrix,
    library: Float,
    section: NDArray[np.int64],
    domain: NDArray[np.int64],
    n_domains: int,
) -> Sums:
    """Compute the sufficient statistics, with the over-dispersion of each gene by moments within sections and domains.

    Parameters
    ----------
    counts
        Raw counts, (n, G).
    library
        Library size of each spot over all genes, (n,).
    section, domain
        Indices of section and domain of each spot, (n,), from 0.
    n_domains
        Number of domains K.
    """
    n_sections = int(section.max()) + 1
    member = membership(section * n_domains + domain, n_sections * n_domains)
    powers = np.stack([member @ library**power for power in (1, 2, 3)])
    first, second, third = (power[:, None] for power in powers)
    first = np.where(first > 0, first, 1.0)  # sections without the domain
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
    """Return the expected sum of squared residuals of negative binomial counts with an estimated rate.

    Parameters
    ----------
    first, second, third
        Sums over spots of the library size, its square and its cube, of any shape.

    Returns
    -------
    Factors of the total count (Poisson part) and of φ times the squared rate (over-dispersion).
    """
    return 1.0 - second / first**2, second - 2.0 * third / first + second**2 / first**2


def _beyond_depth(
    library: Float, log_library: Float, section: NDArray[np.int64], domain: NDArray[np.int64], shape: tuple[int, int]
) -> tuple[Float, Float, Float]:
    """Return coefficients, squares and cubes of :class:`Sums`: the domain indicator beyond the log library size."""
    coefficients, squares, cubes = np.zeros((2, *shape)), np.zeros((2, *shape)), np.zeros((3, *shape))
    for s in range(shape[0]):
        rows = section == s
        weight, depth = library[rows], log_library[rows]
        member = np.equal.outer(domain[rows], np.arange(shape[1])).astype(np.float64)
        middle = np.average(depth, weights=weight)
        spread = weight @ (depth - middle) ** 2
        slope = (weight * (depth - middle)) @ member / spread if spread > 1e-9 * weight.sum() else np.zeros(shape[1])
        constant = weight @ member / weight.sum() - slope * middle
        residual = member - constant - np.outer(depth, slope)
        coefficients[:, s] = constant, slope
        squares[:, s] = [weight**power @ residual**2 for power in (1, 2)]
        cubes[:, s] = [weight**power @ residual**3 for power in (1, 2, 3)]
    return coefficients, squares, cubes


def enrichment(statistics: Sums) -> Test:
    """Test whether a domain has more counts of a gene than its share of the library size of its section.

    The score statistic is the sum over sections of observed minus expected counts, with the domain indicator
    residualised on the log library size. A gene that scales out of proportion with the library size therefore does not
    bias it. Variance and third cumulant are those of the negative binomial with an estimated rate. The p-value is from
    the Pearson III distribution (shifted gamma) with these moments. For low counts it is close to the mid-p of the
    exact test. Sections with one domain do not contribute.
    """
    shape = statistics.molecules.shape[1:]
    excess, expected, elsewhere, poisson, variance, third = (np.zeros(shape) for _ in range(6))
    phi = statistics.dispersion
    for s, molecules in enumerate(statistics.molecules):
        library = statistics.library[0, s]
        whole = library.sum()
        beside = ((library > 0) & (library < whole))[:, None]
        if not beside.any():
            continue
        constant, slope = statistics.coefficients[:, s, :, None]
        squares, cubes = statistics.squares[:, s, :, None], statistics.cubes[:, s, :, None]
        total = molecules.sum(axis=0)
        rate = total / whole
        pairs = rate * np.maximum(total - 1.0, 0.0) / whole
        triples = pairs * np.maximum(total - 2.0, 0.0) / whole
        share = (library / whole)[:, None]
        parts = (
            (excess, molecules - constant * total - slope * statistics.by_depth[s]),
            (expected, total * share),
            (elsewhere, total * (1.0 - share)),
            (poisson, rate * squares[0]),
            (variance, rate * squares[0] + phi * pairs * squares[1]),
            (third, rate * cubes[0] + 3.0 * phi * pairs * cubes[1] + 2.0 * phi**2 * triples * cubes[2]),
        )
        for all_sections, part in parts:
            all_sections += np.where(beside, part, 0.0)
    testable = (poisson >= LEAST_VARIANCE) & (expected >= LEAST_EXPECTED) & (elsewhere >= LEAST_EXPECTED_ELSEWHERE)
    root = np.sqrt(variance, where=testable, out=np.full(shape, np.nan))
    z = excess / root
    p = np.where(testable, pearson3.sf(z, np.divide(third, root**3, where=testable, out=np.zeros(shape))), np.nan)
    return Test(z, p)
