"""Domains found from a part of the counts, so that genes can be tested on the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl.domains.average import matching
from mmsrl.domains.readouts import one_hot, read_out, reduce
from mmsrl.expression import log_normalised
from mmsrl.graph import edge_preserving_graph, smooth
from mmsrl.train.sections import corrected_components

WIDTH, COMPONENTS = 1.0, 30
"""Width of the graph in pitches, and components of expression, of the first member of the default ensemble."""


def domains_of(
    counts: sp.csr_matrix,
    variable: NDArray[np.int64],
    places: Sequence[NDArray[np.float64]],
    section: NDArray[np.int64],
    reference: NDArray[np.int64],
    n_domains: int,
    seed: int,
    *,
    batch_correction: bool = True,
) -> NDArray[np.int64]:
    """Find domains in a part of the counts as one member of the default ensemble does, without the image.

    Parameters
    ----------
    counts
        (N, G), a part of the raw counts.
    variable
        Columns of the highly variable genes.
    places
        Of each section, (n, 2), from :func:`mmsrl._sections.graph_places`.
    section
        (N,), ascending from 0.
    reference
        (N,) domains of all counts, from 0: the new ones are numbered so that most spots agree with these.
    n_domains
        K.
    batch_correction
        As in training.

    Returns
    -------
    (N,) from 0 to K - 1.
    """
    values = log_normalised(
        sp.csr_matrix(counts[:, variable]), np.asarray(counts.sum(axis=1), dtype=np.float64).ravel()
    )
    together = section if batch_correction else np.zeros_like(section)
    scores, _ = corrected_components(values, together, COMPONENTS, seed)
    graph = edge_preserving_graph(places, scores, WIDTH)
    found = read_out(reduce(smooth(graph, scores, 1)), n_domains, "gmm", seed)
    pairing: NDArray[Any] = np.empty(n_domains, dtype=np.int64)
    pairing[matching(one_hot(reference, n_domains), found)] = np.arange(n_domains)
    return np.asarray(pairing[found.argmax(axis=1)], dtype=np.int64)


def recovered(reference: NDArray[np.int64], found: NDArray[np.int64], n_domains: int) -> list[float]:
    """Return how much of each domain is found again: spots in both over spots in either (Jaccard index)."""
    shares = []
    for k in range(n_domains):
        one, other = reference == k, found == k
        shares.append(float((one & other).sum() / max((one | other).sum(), 1)))
    return shares
