"""Agreement of pseudotime with a known order of labels. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr


class Order(NamedTuple):
    """Spearman's correlation of pseudotime with the position of the label in the known order."""

    medians: float
    """Of the medians by label: 1 for the known order."""
    spots: float
    """Of all spots."""
    median_by_label: dict[str, float]


def names_in_order(text: str) -> list[str]:
    """Return the names in a text such as ``WM,L6,L5``."""
    return [name.strip() for name in text.split(",") if name.strip()]


def order_agreement(time: NDArray[Any], labels: Sequence[str], order: Sequence[str]) -> Order | None:
    """Compare pseudotime, (n,) finite, with the order of the labels. ``None`` for fewer than three labels."""
    position = np.array([order.index(label) for label in labels], dtype=np.int64)
    present = np.unique(position)
    if len(present) < 3:
        return None
    medians = [float(np.median(time[position == p])) for p in present]
    return Order(
        float(spearmanr(present, medians).statistic),
        float(spearmanr(position, time).statistic),
        {order[p]: median for p, median in zip(present, medians, strict=True)},
    )
