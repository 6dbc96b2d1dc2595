"""Classification of spots into the domains of a reference. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmsrl.domains.average import Posterior
from mmsrl.domains.mixture import RIDGE, Mixture
from mmsrl.domains.readouts import subset
from mmsrl.train.align import shift_between
from mmsrl.train.projections import Smoothing

FloatArray = NDArray[np.floating[Any]]


def mean_posterior(
    reference: Sequence[FloatArray],
    domain: NDArray[np.integer[Any]],
    members: Sequence[FloatArray],
    smoothings: Sequence[Smoothing],
    seed: int,
) -> Posterior:
    """Compute the probability of each domain at each spot, mean over members: (n, K).

    The section is shifted onto the reference by mutual nearest neighbours, once for each normalisation, as in joint
    training. Linear discriminant analysis with equal priors classifies its spots, because a new section may have
    another composition than the reference.

    Parameters
    ----------
    reference
        Members of the reference, (r, d) each.
    domain
        Domain of each reference spot, (r,), from 0 to K - 1.
    members
        The same members of the section, (n, d) each.
    smoothings
        Normalisation, graph and bandwidth of each member.
    seed
        Random seed of the subsamples.
    """
    shifts = {}
    for name in dict.fromkeys(smoothing.normalisation for smoothing in smoothings):
        # The smoothest member has the most reliable pairs.
        widest = max(
            (i for i, smoothing in enumerate(smoothings) if smoothing.normalisation == name),
            key=lambda i: (smoothings[i].graph == "gaussian", smoothings[i].kernel_width),
        )
        shifts[name] = shift_between(members[widest].astype(np.float64), reference[widest].astype(np.float64), seed)
    total = np.zeros((len(members[0]), int(domain.max()) + 1))
    fitted = subset(len(domain), seed)
    for reference_member, member, smoothing in zip(reference, members, smoothings, strict=True):
        classes = discriminant(reference_member[fitted].astype(np.float64), domain[fitted], total.shape[1])
        total += classes.posterior(member + shifts[smoothing.normalisation])
    return total / len(members)


def discriminant(points: FloatArray, domain: NDArray[np.integer[Any]], n_domains: int) -> Mixture:
    """Fit linear discriminant analysis with equal priors to labelled points, (n, d), as a tied-covariance mixture."""
    size = np.bincount(domain, minlength=n_domains)
    means = np.stack([points[domain == k].mean(axis=0) if size[k] else points.mean(axis=0) for k in range(n_domains)])
    within = points - means[domain]
    covariance = within.T @ within / len(points)
    covariance.flat[:: len(covariance) + 1] += RIDGE * np.trace(covariance) / len(covariance)
    weights = np.where(size > 0, 1.0, 1e-12)
    return Mixture(weights / weights.sum(), means, covariance, float("nan"))
