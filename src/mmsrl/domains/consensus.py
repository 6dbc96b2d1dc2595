"""Consensus of the members of an ensemble, with a confidence for each spot. Arrays only."""

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
    """Consensus domains of one unit."""

    labels: Labels
    """(n,), from 1, the largest domain."""
    confidence: npt.NDArray[np.float32]
    """(n,), 0 to 1."""
    facts: dict[str, Any]
    """Summary of the consensus."""
    messages: list[dict[str, str]]
    """Warnings and notes for the user: ``level`` and ``text``."""


def consensus(posteriors: Sequence[Posterior], places: npt.NDArray[Any], section: npt.NDArray[Any]) -> Consensus:
    """Average the members of an ensemble into one labelling, and compute the confidence of each spot.

    Labels are not refined by a vote of neighbours. Members are smoothed already, and a vote removes layers that are one
    spot wide (docs/accuracy.md).

    Parameters
    ----------
    posteriors
        (n, K) of each member, rows sum to 1.
    places
        (n, 2), coordinates. Coordinates of different sections are not compared.
    section
        (n,), name of the section of each spot.
    """
    agreement = average.agreement(posteriors)
    mean = average.consensus(posteriors, agreement)
    labels = mean.argmax(axis=1)
    messages: list[dict[str, str]] = []
    certainty = confidence(mean, labels, neighbourhood(places, section, CONFIDENCE_SPOTS))
    domain = by_size(labels)
    numbers, requested = range(1, int(domain.max()) + 1), mean.shape[1]
    if len(numbers) < requested:
        text = f"{requested} domains were requested; only {len(numbers)} have spots in the consensus"
        messages.append({"level": "warning", "text": text})
    facts = {
        "n_domains": len(numbers),
        "members": len(posteriors),
        "agreement": agreement,
        "mean_agreement": average.mean_agreement(agreement),
        "confidence_spots": CONFIDENCE_SPOTS,
        "confidence": {str(k): float(certainty[domain == k].mean()) for k in numbers},
        "spots": {
            str(name): {str(k): int((domain[section == name] == k).sum()) for k in numbers}
            for name in dict.fromkeys(section)
        },
    }
    return Consensus(domain, certainty, facts, messages)
