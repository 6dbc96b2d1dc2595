"""One labelling of the members of an ensemble, and how sure it is at each spot. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mmsrl.domains import average
from mmsrl.domains.average import Labels, Posterior
from mmsrl.domains.neighbourhood import CONFIDENCE_SPOTS, confidence, neighbourhood
from mmsrl.domains.readouts import by_size


class Consensus(NamedTuple):
    """Domains of the spots of one unit."""

    labels: Labels
    """(n,), from 1 for the largest domain on."""
    confidence: npt.NDArray[np.float32]
    """(n,), 0 to 1."""
    facts: dict[str, Any]
    """How they were found: for the summary."""
    messages: list[dict[str, str]]
    """What the user should be told: ``level`` and ``text``."""


def consensus(posteriors: Sequence[Posterior], places: npt.NDArray[Any], section: npt.NDArray[Any]) -> Consensus:
    """Average the members of an ensemble into one labelling, and say how sure it is at each spot.

    No vote of the neighbours follows: members are smoothed already, and where layers are one spot wide a vote wipes
    them out (docs/accuracy.md).

    Parameters
    ----------
    posteriors
        Of each member, (n, K), rows sum to one.
    places
        (n, 2). Those of different sections have nothing in common.
    section
        (n,), the name of each spot's section.
    """
    agreement = average.agreement(posteriors)
    mean = average.consensus(posteriors, agreement)
    labels = mean.argmax(axis=1)
    messages: list[dict[str, str]] = []
    sure = confidence(mean, labels, neighbourhood(places, section, CONFIDENCE_SPOTS))
    domain = by_size(labels)
    numbers, wanted = range(1, int(domain.max()) + 1), mean.shape[1]
    if len(numbers) < wanted:
        text = f"{wanted} domains were wanted; in the consensus {len(numbers)} have spots"
        messages.append({"level": "warning", "text": text})
    facts = {
        "n_domains": len(numbers),
        "members": len(posteriors),
        "agreement": agreement,
        "mean_agreement": average.mean_agreement(agreement),
        "confidence_spots": CONFIDENCE_SPOTS,
        "confidence": {str(k): float(sure[domain == k].mean()) for k in numbers},
        "spots": {
            str(name): {str(k): int((domain[section == name] == k).sum()) for k in numbers}
            for name in dict.fromkeys(section)
        },
    }
    return Consensus(domain, sure, facts, messages)
