"""Principal components of image descriptors, and their average over neighbours."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mmsrl.graph import gaussian_graph


def principal_components(
    values: npt.NDArray[np.float32],
    n_components: int,
    *,
    variance: float = 1.0,
    blocks: npt.NDArray[np.integer] | None = None,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Standardise columns and keep the leading principal components.

    Parameters
    ----------
    values
        (n, d). Constant columns tell nothing and are left out.
    n_components
        Components to keep at most; fewer are kept where the rank is lower.
    variance
        Share of the variance after which no more components are kept.
    blocks
        (d,), which descriptor a column is of: descriptors then have the same variance, however many columns they have.

    Returns
    -------
    scores
        (n, k) float32, k = min(n_components, rank); k = 0 if every column is constant.
    explained
        (k,), each component's share of the variance of the standardised columns.
    """
    from sklearn.decomposition import PCA

    deviation = values.std(axis=0, dtype=np.float64)
    # What rounding alone leaves of a constant column, or of one that is nothing beside the others, is no variance.
    rounding = np.maximum(1e-6 * np.abs(values).max(axis=0), 1e-7 * deviation.max())
    varies = deviation > rounding
    if not varies.any():
        return np.zeros((len(values), 0), np.float32), np.zeros(0)
    standard = (values[:, varies] - values[:, varies].mean(axis=0, dtype=np.float64)) / deviation[varies]
    if blocks is not None:
        _, block, sizes = np.unique(blocks[varies], return_inverse=True, return_counts=True)
        standard *= np.sqrt(len(block) / (len(sizes) * sizes))[block]
    # Both solvers are exact and need no seed; the eigendecomposition is the fast one for many spots.
    solver = "covariance_eigh" if standard.shape[0] > standard.shape[1] else "full"
    pca = PCA(n_components=min(n_components, *standard.shape), svd_solver=solver)
    scores = pca.fit_transform(standard)
    explained = pca.explained_variance_ratio_
    before = np.concatenate([[0.0], np.cumsum(explained)[:-1]])
    kept = (explained > 1e-10) & (before < variance)
    return scores[:, kept].astype(np.float32), explained[kept]


def smoothed(values: npt.NDArray[np.float32], places: npt.NDArray[np.float64], width: float) -> npt.NDArray[np.float32]:
    """Average ``values`` (n, d) over neighbouring spots by a Gaussian of ``width``, in the unit of ``places`` (n, 2).

    Spots farther than three widths do not count.
    """
    three_widths = float(np.exp(-4.5))
    return np.asarray(gaussian_graph(places, width, self_weight=1.0, cut=three_widths) @ values, dtype=np.float32)


def between_sections(values: npt.NDArray[np.float32], section: npt.NDArray[np.integer]) -> float:
    """Return the share of the variance of standardised columns, (n, d), that lies between the means of sections, (n,).

    0: sections look alike; 1: they differ in nothing else. Constant columns do not count.
    """
    deviation = values.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * np.maximum(np.abs(values).max(axis=0), 1e-30)
    if not varies.any():
        return 0.0
    standard = (values[:, varies] - values[:, varies].mean(axis=0, dtype=np.float64)) / deviation[varies]
    sections, sizes = np.unique(section, return_counts=True)
    means = np.stack([standard[section == s].mean(axis=0) for s in sections])
    return float((sizes @ means**2 / len(values)).mean())
