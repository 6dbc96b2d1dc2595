"""Read-outs: groups of spots from an embedding, by mixture, k-means or Leiden. Linear in memory."""

from __future__ import annotations

import random
import warnings
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mmsrl._errors import InputError

Points = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Readout = Literal["gmm", "kmeans", "leiden"]

COMPONENTS = 20
"""Principal components an embedding is reduced to (``emb_pca`` of the published models)."""

FIT_SPOTS = 20_000
"""Spots to fit on; with more, a random choice of so many is fitted and the others join by what was fitted."""

EXACT = 1000
"""Side up to which decompositions are exact; beyond, the leading components come from random projections."""

INITIALISATIONS = 10
NEIGHBOURS = 15
SEARCH_STEPS = 30


def reduce(embedding: npt.NDArray[Any]) -> Points:
    """Reduce an embedding, (n, d), to its leading principal components.

    At most :data:`COMPONENTS`, fewer where the embedding has a lower rank, on one common scale: mean squared length of
    a row / number of columns = 1.

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
    solver = "randomized" if min(n, d) > EXACT else "full" if n <= d else "covariance_eigh"
    pca = PCA(n_components=min(COMPONENTS, n - 1, d), svd_solver=solver, iterated_power=7, random_state=0)
    scores = pca.fit_transform(values).astype(np.float64)
    kept = pca.explained_variance_ > 1e-9 * pca.explained_variance_[0]
    scores = scores[:, kept]
    return np.asarray(scores / np.sqrt(np.mean(scores**2)))


def read_out(points: Points, n_domains: int, method: Readout, seed: int) -> Labels:
    """Group spots into domains.

    Parameters
    ----------
    points
        (n, k), from :func:`reduce`.
    n_domains
        Number of domains wanted. The result may have fewer where the mixture leaves a component without spots, or
        another number where Leiden has no resolution that yields it.
    method
        ``gmm``: Gaussian mixture with one full covariance for all components (mclust's EEE), the likeliest of
        :data:`INITIALISATIONS` starts from k-means and as many from random spots; ``kmeans``; ``leiden``: modularity
        on the graph of nearest neighbours, with the resolution found by bisection.
    seed
        Seed of everything random.

    Returns
    -------
    numpy.ndarray
        (n,), domains 1, 2, … from the largest to the smallest, those of one size in the order of their first spots.

    Raises
    ------
    InputError
        If there are fewer different spots than domains.
    """
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    different = len(np.unique(points, axis=0))
    if n_domains > different:
        raise InputError(f"{n_domains} domains were asked for, but there are only {different} different spots")
    fitted = subset(len(points), seed)
    if method == "leiden":
        labels = _extend(points, fitted, leiden_with_n(neighbour_graph(points[fitted]), n_domains, seed))
    else:
        fit = _mixture if method == "gmm" else _kmeans
        # The matrices are small: more threads take no less time, and many times more on a busy machine.
        with threadpool_limits(1):
            labels = fit(points[fitted], n_domains, seed).predict(points)
    return by_size(labels)


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
    """Find by bisection a resolution that yields ``n_domains`` communities; the nearest number if there is none."""
    low, high = 1e-3, 10.0
    best: Labels | None = None
    for _ in range(SEARCH_STEPS):
        resolution = float(np.sqrt(low * high))
        labels = leiden(graph, resolution, seed)
        found = int(labels.max()) + 1
        if best is None or abs(found - n_domains) < abs(int(best.max()) + 1 - n_domains):
            best = labels
        if found == n_domains:
            break
        low, high = (resolution, high) if found < n_domains else (low, resolution)
    assert best is not None
    return best


def subset(n: int, seed: int) -> Labels:
    """Return the indices of the spots to fit on, in order: all, or :data:`FIT_SPOTS` at random."""
    if n <= FIT_SPOTS:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).choice(n, FIT_SPOTS, replace=False))


def _extend(points: Points, fitted: Labels, labels: Labels) -> Labels:
    """Give the spots that were not fitted the commonest label of their nearest fitted ones."""
    from sklearn.neighbors import KNeighborsClassifier

    everywhere = np.empty(len(points), dtype=np.int64)
    everywhere[fitted] = labels
    rest = np.setdiff1d(np.arange(len(points)), fitted)
    if rest.size:
        everywhere[rest] = KNeighborsClassifier(NEIGHBOURS).fit(points[fitted], labels).predict(points[rest])
    return everywhere


def _mixture(points: Points, n_domains: int, seed: int) -> Any:
    """Fit the likeliest mixture of many starts.

    k-means looks for round groups, and where the common covariance is long it starts every time in the same wrong
    place; random spots do not.
    """
    from sklearn.mixture import GaussianMixture

    fits = []
    for start in ("kmeans", "random_from_data"):
        mixture = GaussianMixture(
            n_domains,
            covariance_type="tied",
            n_init=INITIALISATIONS,
            init_params=start,
            max_iter=200,
            random_state=seed,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # says that a start has not converged: the likeliest is taken all the same
            fits.append(mixture.fit(points))
    return max(fits, key=lambda mixture: mixture.lower_bound_)


def _kmeans(points: Points, n_domains: int, seed: int) -> Any:
    from sklearn.cluster import KMeans

    return KMeans(n_domains, n_init=INITIALISATIONS, random_state=seed).fit(points)
