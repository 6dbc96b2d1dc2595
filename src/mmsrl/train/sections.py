"""Components of expression, their correction for the section, and how well sections mix. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from mmsrl._samples import at_random
from mmsrl.normalisation import standard_components

FloatArray = NDArray[np.floating[Any]]

MIXING_SPOTS = 20_000
"""Spots on which the mixing of sections is scored at most."""


def principal_components(values: sp.csr_matrix | FloatArray, k: int, seed: int) -> tuple[FloatArray, FloatArray, float]:
    """Return scores (n, k), axes (k, m) and the share of the variance they keep; k is cut to what there is.

    Sparse values (n, m) are centred implicitly and never made dense.
    """
    pca = PCA(min(k, min(values.shape) - 1), svd_solver="arpack", random_state=seed)
    scores = pca.fit_transform(values)
    return scores, pca.components_, float(pca.explained_variance_ratio_.sum())


def harmonise(values: FloatArray, section: NDArray[np.integer[Any]], seed: int) -> FloatArray:
    """Return ``values`` (n, k) corrected for ``section`` (n,) by Harmony (Korsunsky et al., Nature Methods 2019)."""
    import harmonypy

    meta = pd.DataFrame({"section": section.astype(str)})
    clusters = max(1, min(round(len(values) / 30), 100))  # as Harmony has it, which has none of few spots
    # One thread: the order of its sums, and with it the result, must not depend on the machine.
    result = harmonypy.run_harmony(
        values.astype(np.float64), meta, "section", random_state=seed, verbose=False, ncores=1, nclust=clusters
    )
    return np.asarray(result.Z_corr, dtype=values.dtype)


def corrected_components(
    expression: sp.csr_matrix, section: NDArray[np.integer[Any]], k: int, seed: int
) -> tuple[FloatArray, float]:
    """Return :func:`mmsrl.normalisation.standard_components`, corrected for the section where there are several."""
    scores, kept = standard_components(expression, section, k, seed)
    return (harmonise(scores, section, seed) if section[-1] > 0 else scores), kept


def correct_rows(
    values: FloatArray, section: NDArray[np.integer[Any]], rows: NDArray[np.bool_], seed: int
) -> FloatArray:
    """Return ``values`` with some rows corrected for the section, where these are of two or more sections."""
    if np.unique(section[rows]).size < 2:
        return values
    corrected = values.copy()
    corrected[rows] = harmonise(values[rows], section[rows], seed)
    return corrected


def section_mixing(embedding: FloatArray, section: NDArray[np.integer[Any]], neighbours: int = 30) -> dict[str, float]:
    """Score how well sections mix in the embedding, without labels.

    ``ilisi`` is the mean inverse Simpson index of the sections among each spot's nearest neighbours in the embedding
    (Korsunsky et al. 2019, with equal weights): the effective number of sections around a spot, from 1 to their number.
    ``ilisi_scaled`` is the same from 0 (apart) to 1 (as mixed as their sizes allow). Of more than 20,000 spots, so many
    drawn at random are scored among themselves.
    """
    scored = at_random(len(section), MIXING_SPOTS, 0)
    embedding, section = embedding[scored], section[scored]
    sizes = np.bincount(section) / len(section)
    k = min(neighbours, len(section) - 1)
    near = NearestNeighbors(n_neighbors=k).fit(embedding).kneighbors(return_distance=False)
    shares = np.stack([(section[near] == s).mean(axis=1) for s in range(len(sizes))], axis=1)
    ilisi = float((1.0 / (shares**2).sum(axis=1)).mean())
    best = 1.0 / float((sizes**2).sum())
    return {"ilisi": ilisi, "ilisi_scaled": (ilisi - 1.0) / (best - 1.0)}
