"""Read-outs: groups of spots from an embedding, by mixture, k-means or Leiden. Linear in memory."""

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
"""Principal components of an embedding that are used, at most."""

SPOTS_PER_COMPONENT = 10
"""Spots there must be for each of them: a covariance in more dimensions is not to be had from few spots."""

FULL_COMPONENTS = 20
"""The same, at most, where every domain has a covariance of its own."""

FIT_SPOTS = 20_000
"""Spots to fit on; with more, a random choice of so many is fitted and the others join by what was fitted."""

EXACT = 1000
"""Side up to which decompositions are exact; beyond, the leading components come from random projections."""

INITIALISATIONS = 10
NEIGHBOURS = 15
SEARCH_STEPS = 30


def reduce(embedding: npt.NDArray[Any]) -> Points:
    """Rotate an embedding, (n, d), to its principal axes, and cut it to what can be fitted.

    Kept are the leading :data:`COMPONENTS` at most, one for every :data:`SPOTS_PER_COMPONENT` spots at most (but
    three), and no more than the rank of the embedding; on one common scale: mean square = 1.

    Raises
    ------
    InputError
        If the embedding has values that are not finite, or no two spots differ.
    """
    from sklearn.decomposition import PCA

    values = np.asarray(embedding, dtype=np.float32)
    if not np.isfinite(values).all():
        raise InputError("the embedding has values that are not finite: training diverged, train again")
    n, d = values.shape
    if n < 2 or not (values != values[0]).any():
        raise InputError(f"the embedding is the same at all {n} spots, nothing can be told apart")
    wanted = min(COMPONENTS, max(3, n // SPOTS_PER_COMPONENT), n - 1, d)
    solver = "randomized" if min(n, d) > EXACT else "full" if n <= d else "covariance_eigh"
    pca = PCA(n_components=wanted, svd_solver=solver, iterated_power=7, random_state=0)
    scores = pca.fit_transform(values).astype(np.float64)
    kept = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
    scores = scores[:, kept]
    return np.asarray(scores / np.sqrt(np.mean(scores**2)))


def read_out(points: Points, n_domains: int, method: Readout, seed: int) -> Posterior:
    """Group spots into domains.

    Parameters
    ----------
    points
        (n, k), from :func:`reduce`.
    n_domains
        K, the number of domains wanted. The result may have fewer where the mixture leaves a component without spots,
        or where Leiden has no resolution that yields so many.
    method
        ``gmm``: Gaussian mixtures with one covariance for all domains (mclust's EEE), from many starts and averaged,
        see :func:`mmsrl.domains.mixture.averaged`; ``gmm_full``: with a covariance for each (VVV), on the leading
        :data:`FULL_COMPONENTS`; ``kmeans``; ``leiden``: modularity on the graph of nearest neighbours, with the
        resolution found by bisection.
    seed
        Seed of everything random.

    Returns
    -------
    numpy.ndarray
        (n, K) float32: probability of each domain, from the largest domain to the smallest, those of one size in the
        order of their first spots. Ones and zeros where the method gives no probabilities.

    Raises
    ------
    InputError
        If there are fewer different spots than domains.
    """
    different = len(np.unique(points, axis=0))
    if n_domains > different:
        raise InputError(f"{n_domains} domains were asked for, but there are only {different} different spots")
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
    """Return memberships, (n, K) float32, of labels from 0 to K - 1."""
    return np.asarray(np.eye(n_domains, dtype=np.float32)[labels])


def ordered(posterior: npt.NDArray[Any]) -> Posterior:
    """Put the columns of a posterior, (n, K), into the order of :func:`by_size`, empty domains last."""
    labels = posterior.argmax(axis=1)
    present, first = np.unique(labels, return_index=True)
    number = by_size(labels)[first] - 1
    empty = np.setdiff1d(np.arange(posterior.shape[1]), present)
    return np.asarray(posterior[:, np.concatenate([present[np.argsort(number)], empty])], dtype=np.float32)


def by_size(labels: npt.NDArray[Any]) -> Labels:
    """Number groups 1, 2, … from the largest to the smallest; those of one size in the order of their first spots."""
    _, first, inverse, size = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    number = np.empty(len(size), dtype=np.int64)
    number[np.lexsort((first, -size))] = np.arange(1, len(size) + 1)
    return number[inverse]


def neighbour_graph(points: Points) -> Any:
    """Return the undirected igraph graph that joins each point to its :data:`NEIGHBOURS` nearest."""
    import igraph
    from sklearn.neighbors import NearestNeighbors

    k = min(NEIGHBOURS, len(points) - 1)
    neighbours = NearestNeighbors(n_neighbors=k).fit(points).kneighbors(return_distance=False)
    edges = np.column_stack([np.repeat(np.arange(len(points)), k), neighbours.ravel()])
    edges = np.unique(np.sort(edges, axis=1), axis=0)
    return igraph.Graph(n=len(points), edges=edges)


def leiden(graph: Any, resolution: float, seed: int) -> Labels:
    """Return the communities, from 0, that maximise modularity at a resolution (Traag et al., Sci. Rep. 2019)."""
    import igraph

    igraph.set_random_number_generator(random.Random(seed))
    try:
        found = graph.community_leiden(objective_function="modularity", resolution=resolution, n_iterations=10)
    finally:
        igraph.set_random_number_generator(random)
    return np.asarray(found.membership, dtype=np.int64)


def leiden_with_n(graph: Any, n_domains: int, seed: int) -> Labels:
    """Find by bisection a resolution that yields ``n_domains`` communities; the next lower number if there is none."""
    low, high = 1e-3, 10.0
    best, missed = np.zeros(graph.vcount(), dtype=np.int64), n_domains - 1
    for _ in range(SEARCH_STEPS):
        resolution = float(np.sqrt(low * high))
        labels = leiden(graph, resolution, seed)
        found = int(labels.max()) + 1
        if 0 <= n_domains - found < missed:
            best, missed = labels, n_domains - found
        if found == n_domains:
            break
        low, high = (resolution, high) if found < n_domains else (low, resolution)
    return best


def subset(n: int, seed: int, share: float = 1.0) -> Labels:
    """Return the indices of the spots to fit on, in order: a share of all, at most :data:`FIT_SPOTS`, at random."""
    return at_random(n, min(FIT_SPOTS, round(share * n)), seed)


def _extend(points: Points, fitted: Labels, labels: Labels) -> Labels:
    """Give the spots that were not fitted the commonest label of their nearest fitted ones."""
    from sklearn.neighbors import KNeighborsClassifier

    everywhere = np.empty(len(points), dtype=np.int64)
    everywhere[fitted] = labels
    rest = np.setdiff1d(np.arange(len(points)), fitted)
    if rest.size:
        everywhere[rest] = KNeighborsClassifier(NEIGHBOURS).fit(points[fitted], labels).predict(points[rest])
    return everywhere


def _full_mixture(points: Points, n_domains: int, seed: int) -> Any:
    from sklearn.mixture import GaussianMixture

    fitted = GaussianMixture(
        n_domains, n_init=INITIALISATIONS, tol=mixture.TOLERANCE, max_iter=mixture.ITERATIONS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # says that a start has not converged: the likeliest is taken all the same
        return fitted.fit(points)


def _kmeans(points: Points, n_domains: int, seed: int) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(n_domains, n_init=INITIALISATIONS, random_state=seed).fit(points)
