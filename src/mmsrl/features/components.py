"""Principal components of image descriptors."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

FIT_SPOTS = 50_000
"""Maximum number of spots to fit components to. Larger sections are subsampled evenly."""


class Components(NamedTuple):
    """Principal components of standardised columns."""

    mean: npt.NDArray[np.float64]
    """(d,)."""
    axes: npt.NDArray[np.float64]
    """(d, k): axes for centred columns. Rows of constant columns are 0."""
    explained: npt.NDArray[np.float64]
    """(k,): fraction of the variance of the standardised columns."""

    def scores(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return the scores of spots, (n, k) float32, from their values, (n, d)."""
        return np.asarray((values - self.mean) @ self.axes, dtype=np.float32)


def fit_components(
    values: npt.NDArray[np.float32],
    n_components: int,
    *,
    variance: float = 1.0,
    blocks: npt.NDArray[np.integer] | None = None,
) -> Components:
    """Standardise columns and fit the leading principal components.

    Parameters
    ----------
    values
        Descriptors, (n, d). Constant columns are ignored.
    n_components
        Maximum number of components. It is lower if the rank is lower, and 0 if all columns are constant.
    variance
        Fraction of the variance after which no more components are kept.
    blocks
        Descriptor of each column, (d,). All descriptors then have the same variance, whatever their number of columns.
    """
    from sklearn.decomposition import PCA

    deviation = values.std(axis=0, dtype=np.float64)
    # Rounding errors of constant columns, or of columns negligible beside the others, are no variance.
    rounding = np.maximum(1e-6 * np.abs(values).max(axis=0), 1e-7 * deviation.max())
    varies = deviation > rounding
    if not varies.any():
        return Components(np.zeros(values.shape[1]), np.zeros((values.shape[1], 0)), np.zeros(0))
    mean = values.mean(axis=0, dtype=np.float64)
    scale = 1.0 / deviation[varies]
    if blocks is not None:
        _, block, sizes = np.unique(blocks[varies], return_inverse=True, return_counts=True)
        scale *= np.sqrt(len(block) / (len(sizes) * sizes))[block]
    standard = (values[:, varies] - mean[varies]) * scale
    # Both solvers are exact and need no seed. The eigendecomposition is faster for many spots.
    solver = "covariance_eigh" if standard.shape[0] > standard.shape[1] else "full"
    pca = PCA(n_components=min(n_components, *standard.shape), svd_solver=solver).fit(standard)
    explained = pca.explained_variance_ratio_
    before = np.concatenate([[0.0], np.cumsum(explained)[:-1]])
    kept = (explained > 1e-10) & (before < variance)
    axes = np.zeros((values.shape[1], int(kept.sum())))
    axes[varies] = scale[:, None] * pca.components_[kept].T
    return Components(mean, axes, explained[kept])


def between_sections(values: npt.NDArray[np.float32], section: npt.NDArray[np.integer]) -> float:
    """Return the fraction of the variance of standardised columns, (n, d), between the means of sections, (n,).

    0: sections have equal means. 1: all variance lies between sections. Constant columns are ignored.
    """
    deviation = values.std(axis=0, dtype=np.float64)
    varies = deviation > 1e-6 * np.maximum(np.abs(values).max(axis=0), 1e-30)
    if not varies.any():
        return 0.0
    standard = (values[:, varies] - values[:, varies].mean(axis=0, dtype=np.float64)) / deviation[varies]
    sections, sizes = np.unique(section, return_counts=True)
    means = np.stack([standard[section == s].mean(axis=0) for s in sections])
    return float((sizes @ means**2 / len(values)).mean())
