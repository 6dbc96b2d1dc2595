"""Read-outs: clustering of an embedding by Gaussian mixture, k-means or Leiden. Linear in memory."""

from __future__ import annotations

import random
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from mmsrl._errors import InputError
from mmsrl._samples import at_random
from mmsrl.domains import mixture
from mmsrl.train.presets import Readout

Points = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Posterior = npt.NDArray[np.float32]

COMPONENTS = 50
"""Maximum number of principal components of an embedding."""

SPOTS_PER_COMPONENT = 10
"""Minimum number of spots per component, because few spots cannot determine a covariance in many dimensions."""

FULL_COMPONENTS = 20
"""Maximum number of components if every domain has its own covariance."""

FIT_SPOTS = 20_000
"""Maximum number of spots in a fit. A random subset is fitted beyond, and the fit assigns all other spots."""

EXACT = 1000
"""Smaller side of a matrix up to which its decomposition is exact. Beyond, random projections are used."""

INITIALISATIONS = 10
"""Number of starts of k-means and of mixtures with one covariance per domain."""

NEIGHBOURS = 15
"""Number of nearest neighbours in the graph of Leiden."""

SEARCH_STEPS = 30
"""Maximum number of bisection steps for the resolution of Leiden."""


def reduce(embedding: npt.NDArray[Any]) -> Points:
    """Compute the principal components of an embedding, (n, d), that are used in clustering.

    The number of components is at most :data:`COMPONENTS`, at most one per :data:`SPOTS_PER_COMPONENT` spots (but
    three are allowed), and at most the rank of the embedding. All share one scale, with mean square 1.

    Raises
    ------
    InputError
        If the embedding has values that are not finite, or is the same at all spots.
    """
    from sklearn.decomposition import PCA

    values = np.asarray(embedding, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("the embedding has values that are not finite, so training diverged; train again")
    n, d = values.shape
    if n < 2 or not (values != values[0]).any():
        raise InputError(f"the embedding is the same at all {n} spots; check that expression varies between spots")
    n_components = min(COMPONENTS, max(3, n // SPOTS_PER_COMPONENT), n - 1, d)
    solver = "randomized" if min(n, d) > EXACT else "full" if n <= d else "covariance_eigh"
    pca = PCA(n_components=n_components, svd_solver=solver, iterated_power=7, random_state=0)
    scores = pca.fit_transform(values).astype(np.float64)
    kept = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
    scores = scores[:, kept]
    return np.asarray(scores / np.sqrt(np.mean(scores**2)))


def read_out(points: Points, n_domains: int, method: Readout, seed: int) -> Posterior:
    """Cluster spots into domains.

    Parameters
    ----------
    points
        (n, k), from :func:`reduce`, or the latent representation of a published preset.
    n_domains
        Number of domains K. The result has fewer if a mixture leaves a component without spots, or if no resolution of
        Leiden yields K communities.
    method
        - ``gmm``: Gaussian mixtures with tied covariance (EEE of mclust), averaged over many starts
          (:func:`mmsrl.domains.mixture.averaged`)
        - ``gmm_full``: a Gaussian mixture with one covariance per domain (VVV), on :data:`FULL_COMPONENTS` components
        - ``kmeans``: k-means
        - ``leiden``: Leiden on the k-nearest-neighbour graph, with the resolution found by bisection
    seed
        Random seed.

    Returns
    -------
    numpy.ndarray
        (n, K) float32, posterior probability of each domain, from the largest domain to the smallest. Domains of equal
        size are in the order of their first spots. k-means and Leiden give ones and zeros.

    Raises
    ------
    InputError
        If there are fewer different spots than domains.
    """
    different = len(np.unique(points, axis=0))
    if n_domains > different:
        raise InputError(f"n_domains {n_domains}: there are only {different} different spots; give a smaller number")
    fitted = subset(len(points), seed)
    if method == "leiden":
        labels = _extend(points, fitted, leiden_with_n(neighbour_graph(points[fitted]), n_domains, seed))
        posterior: npt.NDArray[Any] = one_hot(labels, n_domains)
    elif method == "kmeans":
        posterior = one_hot(_kmeans(points[fitted], n_domains, seed).predict(points), n_domains)
    elif method == "gmm_full":
        leading = points[:, :FULL_COMPONENTS]
        posterior = _full_mixture(leading[fitted], n_domains, seed).predict_proba(leading)
    else:
        posterior = mixture.averaged(mixture.optima(points[fitted], n_domains, seed), points[fitted], points)
    return ordered(posterior)


def one_hot(labels: npt.NDArray[Any], n_domains: int) -> Posterior:
    """Return indicator memberships, (n, K) float32, of labels from 0 to K − 1."""
    return np.asarray(np.eye(n_domains, dtype=np.float32)[labels])


def ordered(posterior: npt.NDArray[Any]) -> Posterior:
    """Sort the columns of a posterior, (n, K), by the size of the domains (:func:`by_size`), empty domains last."""
    labels = posterior.argmax(axis=1)
    present, first = np.unique(labels, return_index=True)
    number = by_size(labels)[first] - 1
    empty = np.setdiff1d(np.arange(posterior.shape[1]), present)
    return np.asarray(posterior[:, np.concatenate([present[np.argsort(number)], empty])], dtype=np.float32)


def by_size(labels: npt.NDArray[Any]) -> Labels:
    """Number groups 1, 2, … from the largest to the smallest. Equal sizes are in the order of their first spots."""
    _, first, inverse, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(size), dtype=np.int64)
    number[np.lexsort((first, -size))] = np.arange(1, len(size) + 1)
    return number[inverse]


def neighbour_graph(points: Points) -> Any:
    """Return the undirected k-nearest-neighbour graph (igraph) with k = :data:`NEIGHBOURS`."""
    import igraph
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBOURS, len(points) - 1)
    neighbours = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    edges = np.column_stack([np.repeat(np.arange(len(points)), k), neighbours.ravel()])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    return igraph.Graph(n=len(points), edges=edges)


def leiden(graph: Any, resolution: float, seed: int) -> Labels:
    """Return the communities, from 0, of Leiden with modularity at a resolution (Traag et al., Sci. Rep. 2019)."""
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        communities = graph.community_leiden(objective_function="modularity", resolution=resolution, n_iterations=10)
    finally:
        igraph.set_random_number_generator(random)
    return np.asarray(communities.membership, dtype=np.int64)


def leiden_with_n(graph: Any, n_domains: int, seed: int) -> Labels:
    """Find ``n_domains`` communities by bisection of the resolution, or the next smaller number of communities."""
    low, high = 1e-3, 10.0
    best, n_missing = np.zeros(graph.vcount(), dtype=np.int64), n_domains - 1
    for _ in range(SEARCH_STEPS):
        resolution = float(np.sqrt(low * high))
        labels = leiden(graph, resolution, seed)
        n_found = int(labels.max()) + 1
        if 0 <= n_domains - n_found < n_missing:
            best, n_missing = labels, n_domains - n_found
        if n_found == n_domains:
            break
        low, high = (resolution, high) if n_found < n_domains else (low, resolution)
    return best


def subset(n: int, seed: int, share: float = 1.0) -> Labels:
    """Return sorted indices of a random fraction of the spots for a fit, at most :data:`FIT_SPOTS`."""
    return at_random(n, min(FIT_SPOTS, round(share * n)), seed)


def _extend(points: Points, fitted: Labels, labels: Labels) -> Labels:
    """Assign spots outside the fit to the most common label of their nearest fitted spots."""
    from sklearn.neighbors import KNeighborsClassifier

    extended = np.empty(len(points), dtype=np.int64)
    extended[fitted] = labels
    rest = np.setdiff1d(np.arange(len(points)), fitted)
    if rest.size:
        extended[rest] = KNeighborsClassifier(NEIGHBOURS).fit(points[fitted], labels).predict(points[rest])
    return extended


def _full_mixture(points: Points, n_domains: int, seed: int) -> Any:
    """Fit a Gaussian mixture with one covariance per domain."""
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(
        n_domains, n_init=INITIALISATIONS, tol=mixture.TOLERANCE, max_iter=mixture.ITERATIONS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about starts without convergence; the best start is used
        return fitted.fit(points)


def _kmeans(points: Points, n_domains: int, seed: int) -> Any:
    """Fit k-means."""
    from sklearn.cluster import KMeans

    return KMeans(n_domains, n_init=INITIALISATIONS, random_state=seed).fit(points)
