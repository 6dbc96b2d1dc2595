"""Principal components, batch correction by Harmony, and mixing of sections. Arrays only."""

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
"""Maximum number of spots in the score of mixing. A random subset is used beyond."""


def principal_components(values: sp.csr_matrix | FloatArray, k: int, seed: int) -> tuple[FloatArray, FloatArray, float]:
    """Compute principal components of ``values``, (n, m).

    Sparse values are centred implicitly and stay sparse. k is reduced if the matrix has fewer components.

    Returns
    -------
    Scores (n, k), axes (k, m) and the fraction of the variance that they explain.
    """
    pca = PCA(min(k, min(values.shape) - 1), svd_solver="arpack", random_state=seed)
    scores = pca.fit_transform(values)
    return scores, pca.components_, float(pca.explained_variance_ratio_.sum())


def harmonise(values: FloatArray, section: NDArray[np.integer[Any]], seed: int) -> FloatArray:
    """Correct ``values`` (n, k) for the batch key ``section`` (n,) by Harmony (Korsunsky et al. 2019)."""
    import harmonypy

    meta = pd.DataFrame({"section": section.astype(str)})
    clusters = max(1, min(round(len(values) / 30), 100))  # default of Harmony, but at least one
    # One thread, so that the order of sums, and with it the result, does not depend on the machine.
    result = harmonypy.run_harmony(
        values.astype(np.float64), meta, "section", random_state=seed, verbose=False, ncores=1, nclust=clusters
    )
    return np.asarray(result.Z_corr, dtype=values.dtype)


def corrected_components(
    expression: sp.csr_matrix, section: NDArray[np.integer[Any]], k: int, seed: int
) -> tuple[FloatArray, float]:
    """Return :func:`mmsrl.normalisation.standard_components`, corrected by Harmony if there are several sections."""
    scores, kept = standard_components(expression, section, k, seed)
    return (harmonise(scores, section, seed) if section[-1] > 0 else scores), kept


def correct_rows(
    values: FloatArray, section: NDArray[np.integer[Any]], rows: NDArray[np.bool_], seed: int
) -> FloatArray:
    """Correct the selected ``rows`` of ``values`` by Harmony if they belong to two or more sections."""
    if np.unique(section[rows]).size < 2:
        return values
    corrected = values.copy()
    corrected[rows] = harmonise(values[rows], section[rows], seed)
    return corrected


def section_mixing(embedding: FloatArray, section: NDArray[np.integer[Any]], neighbours: int = 30) -> dict[str, float]:
    """Score the mixing of sections in the embedding, without labels.

    ``ilisi`` is the mean inverse Simpson index of the sections among the nearest neighbours of each spot (Korsunsky et
    al. 2019, with equal weights). It is the effective number of sections around a spot, from 1 to the number of
    sections. ``ilisi_scaled`` is scaled from 0 (separate) to 1 (as mixed as the sizes of the sections allow). Beyond
    20,000 spots, a random subset is scored.

    Parameters
    ----------
    embedding
        (N, d).
    section
        (N,), index of the section.
    neighbours
        Number of nearest neighbours.
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
