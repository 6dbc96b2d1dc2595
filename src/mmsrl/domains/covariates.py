"""Association of domains with technical covariates: sequencing depth and section. Arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats.contingency import association

from mmsrl.domains.average import Labels

FOLLOW_SECTIONS = 0.8
"""Cramér's V of domain and section from which a warning is given. V is 1 if no domain is in two sections. It is .71 if
each of two sections shares half of its spots with the other."""

FOLLOW_DEPTH = 0.5
"""Fraction of the variance of log depth between domains from which a warning is given."""


def depth_explained(total: npt.NDArray[Any], labels: Labels) -> float:
    """Return the fraction of the variance of log total counts, (n,), between domains (η²)."""
    depth = np.log(np.maximum(np.asarray(total, dtype=np.float64), 1.0))
    means = np.bincount(labels, weights=depth) / np.maximum(np.bincount(labels), 1)
    return float(means[labels].var() / max(depth.var(), 1e-30))


def section_association(labels: Labels, section: npt.NDArray[Any]) -> float:
    """Return Cramér's V of domain and section, both (n,), from 0 to 1.

    V is 0 if all sections have the same composition, and for one domain or one section.
    """
    table = pd.crosstab(labels, section).to_numpy()
    return float(association(table, method="cramer")) if min(table.shape) > 1 else 0.0


def covariates(labels: Labels, section: npt.NDArray[Any], total: Any | None) -> tuple[dict[str, Any], list[Any]]:
    """Return the association of domains with sections and depth, as a summary and messages.

    Parameters
    ----------
    labels, section
        (n,), domain from 1, and name of the section.
    total
        (n,), library size, or ``None``.
    """
    facts: dict[str, Any] = {}
    messages = []
    if total is not None:
        share = facts["depth_explained"] = depth_explained(total, labels)
        text = f"domains explain {share:.0%} of the variance of log depth"
        if share >= FOLLOW_DEPTH:
            text += ": the cause is a difference in cellularity or a technical gradient; inspect total_counts"
        messages.append({"level": "warning" if share >= FOLLOW_DEPTH else "info", "text": text})
    if len(np.unique(section)) > 1:
        v = facts["section_association"] = section_association(labels, section)
        text = f"domains and sections: Cramér's V is {v:.2f}"
        if v >= FOLLOW_SECTIONS:
            text += ", so domains follow the sections; if the tissue is alike, the cause is technical: train them apart"
        messages.append({"level": "warning" if v >= FOLLOW_SECTIONS else "info", "text": text})
    return facts, messages
