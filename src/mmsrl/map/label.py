"""Domains of a reference for the spots of another section. Arrays only."""

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
    """Return the probability of each domain at each spot, the mean over members: (n, K).

    The section is moved onto the reference by the shift of mutual nearest neighbours, one a normalisation, as joint
    training does it, and classified by linear discriminant analysis with equal priors: a new section need not have the
    composition of the reference.

    Parameters
    ----------
    reference
        Members of the reference, (r, d) each.
    domain
        (r,), from 0 to K - 1.
    members
        The same members of the section, (n, d) each.
    smoothings
        How each of them is made.
    seed
        Of the spots that shifts are found on, where there are many.
    """
    shifts = {}
    for name in dict.fromkeys(made.normalisation for made in smoothings):
        # Where spots vary least, pairs are surest.
        widest = max(
            (i for i, made in enumerate(smoothings) if made.normalisation == name),
            key=lambda i: (smoothings[i].graph == "gaussian", smoothings[i].kernel_width),
        )
        shifts[name] = shift_between(members[widest].astype(np.float64), reference[widest].astype(np.float64), seed)
    total = np.zeros((len(members[0]), int(domain.max()) + 1))
    fitted = subset(len(domain), seed)
    for known, new, made in zip(reference, members, smoothings, strict=True):
        classes = discriminant(known[fitted].astype(np.float64), domain[fitted], total.shape[1])
        total += classes.posterior(new + shifts[made.normalisation])
    return total / len(members)


def discriminant(points: FloatArray, domain: NDArray[np.integer[Any]], n_domains: int) -> Mixture:
    """Fit linear discriminant analysis to labelled points, (n, d): a mixture of known members, with equal weights."""
    size = np.bincount(domain, minlength=n_domains)
    means = np.stack([points[domain == k].mean(axis=0) if size[k] else points.mean(axis=0) for k in range(n_domains)])
    within = points - means[domain]
    covariance = within.T @ within / len(points)
    covariance.flat[:: len(covariance) + 1] += RIDGE * np.trace(covariance) / len(covariance)
    weights = np.where(size > 0, 1.0, 1e-12)
    return Mixture(weights / weights.sum(), means, covariance, float("nan"))
