"""Whether domains follow what is no biology: the depth of a spot, and its section. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats.contingency import association

from mmsrl.domains.average import Labels

FOLLOW_SECTIONS = 0.8
"""Cramér's V of domain and section from which a warning is given. It is 1 where no domain is in two sections, and .71
where each of two sections shares half of its spots with the other."""

FOLLOW_DEPTH = 0.5
"""Share of the variance of log depth between domains from which a warning is given."""


def depth_explained(total: npt.NDArray[Any], labels: Labels) -> float:
    """Return the share of the variance of log total counts, (n,), that lies between domains (η²)."""
    depth = np.log(np.maximum(np.asarray(total, dtype=np.float64), 1.0))
    means = np.bincount(labels, weights=depth) / np.maximum(np.bincount(labels), 1)
    return float(means[labels].var() / max(depth.var(), 1e-30))


def section_association(labels: Labels, section: npt.NDArray[Any]) -> float:
    """Return Cramér's V of domain and section, both (n,): 0 where every section has the same composition, 1 at most.

    0 also where there is one domain or one section.
    """
    table = pd.crosstab(labels, section).to_numpy()
    return float(association(table, method="cramer")) if min(table.shape) > 1 else 0.0


def covariates(labels: Labels, section: npt.NDArray[Any], total: Any | None) -> tuple[dict[str, Any], list[Any]]:
    """Return what domains have to do with sections and depth, and messages that say so.

    Parameters
    ----------
    labels, section
        (n,) domain from 1 and name of the section.
    total
        (n,) total counts, or ``None``.
    """
    facts: dict[str, Any] = {}
    messages = []
    if total is not None:
        share = facts["depth_explained"] = depth_explained(total, labels)
        text = f"domains explain {share:.0%} of the variance of log depth"
        if share >= FOLLOW_DEPTH:
            text += ": tissue that differs in cellularity has that, and so has a technical gradient; look at the counts"
        messages.append({"level": "warning" if share >= FOLLOW_DEPTH else "info", "text": text})
    if len(np.unique(section)) > 1:
        v = facts["section_association"] = section_association(labels, section)
        text = f"domains and sections: Cramér's V is {v:.2f}"
        if v >= FOLLOW_SECTIONS:
            text += ", domains follow the sections; if these are alike, what differs is technical: train them apart"
        messages.append({"level": "warning" if v >= FOLLOW_SECTIONS else "info", "text": text})
    return facts, messages
