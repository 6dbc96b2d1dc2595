"""Metrics of agreement with labels and of spatial continuity."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Groups = npt.NDArray[np.int64]

PAS_NEIGHBOURS = 10
SILHOUETTE_SPOTS = 10_000
"""Maximum number of spots for the silhouette, which is quadratic in spots. Larger sections are subsampled."""


def agreement(labels: Groups, domains: Groups) -> dict[str, float]:
    """Compare two groupings of the same spots.

    Parameters
    ----------
    labels
        Ground truth, (n,).
    domains
        Scored grouping, (n,).

    Returns
    -------
    dict
        Adjusted Rand index ``ARI``; mutual information ``MI`` (nats), normalised by the arithmetic mean ``NMI``, and
        adjusted for chance ``AMI``; ``homogeneity``, ``completeness`` and their harmonic mean ``V``; ``FMI`` (Fowlkes
        and Mallows), ``Jaccard`` and ``Dice`` (F1) over pairs of spots; ``purity``, the fraction of spots with the most
        frequent label of their domain.
    """
    from sklearn import metrics
    from sklearn.metrics.cluster import contingency_matrix, pair_confusion_matrix

    (_, false_joined), (false_split, joined) = pair_confusion_matrix(labels, domains).astype(np.float64)
    homogeneity, completeness, v = metrics.homogeneity_completeness_v_measure(labels, domains)
    pairs = joined + false_joined + false_split
    return {
        "ARI": float(metrics.adjusted_rand_score(labels, domains)),
        "NMI": float(metrics.normalized_mutual_info_score(labels, domains)),
        "AMI": float(metrics.adjusted_mutual_info_score(labels, domains)),
        "MI": float(metrics.mutual_info_score(labels, domains)),
        "homogeneity": float(homogeneity),
        "completeness": float(completeness),
        "V": float(v),
        "FMI": float(metrics.fowlkes_mallows_score(labels, domains)),
        "Jaccard": float(joined / pairs) if pairs else 1.0,
        "Dice": float(2 * joined / (joined + pairs)) if pairs else 1.0,
        "purity": float(contingency_matrix(labels, domains).max(axis=0).sum() / len(labels)),
    }


def confusion(labels: Groups, domains: Groups, n_labels: int, n_domains: int) -> npt.NDArray[np.int64]:
    """Count spots by domain (row) and label (column). Both groupings are numbered from 0."""
    return np.bincount(domains * n_labels + labels, minlength=n_domains * n_labels).reshape(n_domains, n_labels)


def match(table: npt.NDArray[np.int64]) -> list[tuple[int, int]]:
    """Match domains (rows) and labels (columns) one to one for most agreeing spots (Hungarian method)."""
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(table, maximize=True)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if table[row, column] > 0]


def pas(domains: Groups, coordinates: npt.NDArray[np.float64]) -> float:
    """Return the fraction of abnormal spots: more than half of the 10 nearest neighbours belong to other domains.

    PAS of Shang and Zhou, Nat. Commun. 2022 (SpatialPCA). Lower is smoother. NaN for a single spot.
    """
    from scipy.spatial import cKDTree

    k = min(PAS_NEIGHBOURS, len(domains) - 1)
    if k < 1:
        return float("nan")
    nearest = cKDTree(coordinates).query(coordinates, k=k + 1)[1]
    itself = np.arange(len(domains))[:, None]
    # Exclude a spot by its index, because coinciding spots may precede it in its itself neighbours.
    other = (domains[nearest] != domains[:, None]) & (nearest != itself)
    return float(np.mean(other.sum(axis=1) > k / 2))


def chaos(domains: Groups, coordinates: npt.NDArray[np.float64]) -> float:
    """Return the mean distance to the nearest spot of the same domain, in standardised coordinates.

    CHAOS of Guo et al. 2019, as used for SpatialPCA (Shang and Zhou 2022): domains of one or two spots contribute 0,
    and the sum is divided by the number of all spots. Lower is more continuous.
    """
    from scipy.spatial import cKDTree

    deviation = coordinates.std(axis=0)
    standard = coordinates / np.where(deviation > 0, deviation, 1.0)
    total = 0.0
    for domain in np.unique(domains):
        members = standard[domains == domain]
        if len(members) > 2:
            distances, _ = cKDTree(members).query(members, k=[2])
            total += float(np.sum(distances))
    return total / len(domains)


def spatial_silhouette(domains: Groups, coordinates: npt.NDArray[np.float64]) -> float:
    """Return the average silhouette width of domains in the coordinates. Higher is more compact. NaN if undefined.

    Sections of more than :data:`SILHOUETTE_SPOTS` spots are subsampled with a fixed seed.
    """
    from sklearn.metrics import silhouette_score

    if len(domains) > SILHOUETTE_SPOTS:
        chosen = np.random.default_rng(0).choice(len(domains), SILHOUETTE_SPOTS, replace=False)
        domains, coordinates = domains[chosen], coordinates[chosen]
    if not 2 <= len(np.unique(domains)) < len(domains):
        return float("nan")
    return float(silhouette_score(coordinates, domains))
