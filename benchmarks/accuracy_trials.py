"""What was tried on the way to the default: rows of ``bench_accuracy.py --trials``, the default but for one thing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp
from accuracy_rows import Row, constants, default_member, gaussian_member, over_gaussian
from sklearn.decomposition import PCA

from mmsrl import graph
from mmsrl._thinning import split_counts
from mmsrl.domains import mixture
from mmsrl.domains.readouts import ordered, subset
from mmsrl.expression import log_normalised, standard_components, variable_genes
from mmsrl.train.unit import Unit

Array = npt.NDArray[Any]

NOISE_GENES, NOISE_MOLECULES = 15_000, 3_000
"""Genes that follow nothing but the spot's depth, and what they add to a spot of median depth."""

WIDTHS = (0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 1.5)
"""Of a Gaussian, in the unit of the default's, that prediction of the other half of the molecules can choose."""

SHALLOW = 0.03
"""Share of the molecules that is left of shallow counts."""

SAMPLES, SHARE = 8, 0.8
"""Fits that are averaged, and the share of the spots in each."""


def normalised(counts: sp.csr_matrix) -> sp.csr_matrix:
    """Return counts as training normalises them, by their own totals."""
    return log_normalised(counts, np.asarray(counts.sum(axis=1)).ravel())


def likeliest_of(starts: int) -> Callable[[Array, int, int], Array]:
    """Return the read-out that takes the mixture of the highest likelihood, in place of an average."""

    def read(points: Array, n_domains: int, seed: int) -> Array:
        return ordered(mixture.likeliest(mixture.optima(points, n_domains, seed, starts)).posterior(points))

    return read


def of_samples(points: Array, n_domains: int, seed: int) -> Array:
    """Average the likeliest mixtures of random samples of the spots."""
    found = []
    for i in range(SAMPLES):
        drawn = points[subset(len(points), SAMPLES * seed + i, SHARE)]
        found.append(mixture.likeliest(mixture.optima(drawn, n_domains, SAMPLES * seed + i, 2)))
    return ordered(mixture.averaged(found, points, points))


def with_graph(**constants: float) -> Callable[[Unit, int], Array]:
    """Return the default's embedding with other constants of its graph."""

    def embed(unit: Unit, seed: int) -> Array:
        with mock.patch.multiple(graph, **constants):
            return default_member(unit, seed)

    return embed


def whole_pitch(unit: Unit, seed: int) -> Array:
    """Widths in pitches, also where these are of more than 100 µm."""
    return default_member(unit._replace(graph_coordinates=unit.coordinates), seed)


def predicted_width(unit: Unit, seed: int) -> Array:
    """Smooth over the Gaussian by which components of half of the molecules best predict those of the other half."""
    components = constants(seed)["components"]
    one, other = (
        standard_components(normalised(half), unit.section, components, 0)[0]
        for half in split_counts(unit.counts, (0.5, 0.5), 0)
    )
    left = []
    for width in WIDTHS:
        smoothed = over_gaussian(unit, one, width)
        left.append(np.square(other - smoothed @ np.linalg.lstsq(smoothed, other, rcond=None)[0]).sum())
    chosen = WIDTHS[int(np.argmin(left))]
    print(f"{', '.join(unit.samples)}: seed {seed}: the other half is best predicted with a width of {chosen}")
    return gaussian_member(unit, seed, width=chosen)


def not_standardised(unit: Unit, seed: int) -> Array:
    """Components of genes that vary as much as they do, without the image."""
    own = constants(seed)
    scores = PCA(own["components"], svd_solver="arpack", random_state=seed).fit_transform(unit.expression)
    return graph.smooth(graph.edge_preserving_graph(unit.graph_coordinates, scores, own["kernel_width"]), scores, 1)


def some_genes(unit: Unit, seed: int) -> Array:
    """Let each member see 63 % of the genes, as many as a bootstrap would."""
    drawn = np.random.default_rng(seed).random(len(unit.genes)) < 1 - np.exp(-1)
    return default_member(unit._replace(expression=sp.csr_matrix(unit.expression[:, drawn])), seed)


def with_noise(n_top_genes: int) -> Callable[[Unit, int], Array]:
    """Return the default's embedding after genes of pure noise were added, of as many variable genes."""

    def embed(unit: Unit, seed: int) -> Array:
        random = np.random.default_rng(0)
        library = np.asarray(unit.counts.sum(axis=1)).ravel()
        rate = random.lognormal(0.0, 1.0, NOISE_GENES)
        depth = NOISE_MOLECULES * library / np.median(library)
        noise = [sp.csr_matrix(random.poisson(spot * rate / rate.sum()).astype(np.float32)) for spot in depth]
        counts = sp.hstack([unit.counts, sp.vstack(noise)], format="csr")
        kept = variable_genes(counts, n_top_genes).columns
        return default_member(unit._replace(expression=sp.csr_matrix(normalised(counts)[:, kept])), seed)

    return embed


def shallow(image: bool) -> Callable[[Unit, int], Array]:
    """Return the default's embedding of few molecules, with and without the image."""

    def embed(unit: Unit, seed: int) -> Array:
        few = split_counts(unit.counts, (SHALLOW, 1.0 - SHALLOW), 0)[0]
        return default_member(unit._replace(expression=normalised(few)), seed, image=image)

    return embed


def trials() -> list[Row]:
    """Return the rows, in the order of the chapter that tells of them."""
    every = NOISE_GENES + 10**6
    return [
        Row("likeliest of 16 starts", default_member, likeliest_of(16), "trial"),
        Row("likeliest of 48 starts", default_member, likeliest_of(48), "trial"),
        Row("average of 8 samples of the spots", default_member, of_samples, "trial"),
        Row("one pass", with_graph(PASSES=1), kind="trial"),
        Row("three passes", with_graph(PASSES=3), kind="trial"),
        Row("reach of 1 width", with_graph(REACH=1.0), kind="trial"),
        Row("reach of 3 widths", with_graph(REACH=3.0), kind="trial"),
        Row("scale of all pairs in reach", with_graph(SCALE_REACH=10.0), kind="trial", number=True),
        Row("widths in whole pitches", whole_pitch, kind="trial"),
        Row("Gaussian of the width that predicts", predicted_width, kind="trial"),
        Row("genes not standardised", not_standardised, kind="trial"),
        Row("3,000 genes", default_member, kind="trial", n_top_genes=3_000, number=True),
        Row("5,000 genes", default_member, kind="trial", n_top_genes=5_000, number=True),
        Row("noise genes, all taken", with_noise(every), kind="trial", n_top_genes=every),
        Row("noise genes, 8,000 taken", with_noise(8_000), kind="trial", n_top_genes=every),
        Row("noise genes, 5,000 taken", with_noise(5_000), kind="trial", n_top_genes=every),
        Row("3 % of the molecules", shallow(image=True), kind="trial"),
        Row("3 % of the molecules, no image", shallow(image=False), kind="trial"),
        Row("members of 63 % of the genes", some_genes, kind="trial"),
    ]
