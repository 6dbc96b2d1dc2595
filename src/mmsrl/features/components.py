"""Principal components of image descriptors."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def principal_components(
    values: npt.NDArray[np.float32], n_components: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """Standardise columns and keep the leading principal components.

    Parameters
    ----------
    values
        (n, d). Constant columns tell nothing and are left out.
    n_components
        Components to keep; fewer are kept where the rank is lower.

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
    # Both solvers are exact and need no seed; the eigendecomposition is the fast one for many spots.
    solver = "covariance_eigh" if standard.shape[0] > standard.shape[1] else "full"
    pca = PCA(n_components=min(n_components, *standard.shape), svd_solver=solver)
    scores = pca.fit_transform(standard)
    kept = pca.explained_variance_ratio_ > 1e-10
    return scores[:, kept].astype(np.float32), pca.explained_variance_ratio_[kept]
