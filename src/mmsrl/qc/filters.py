"""Filters on spots: each says which spots it removes, and together they say what is left. Arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl._errors import InputError


@dataclass(frozen=True)
class Filter:
    """A bound on one metric."""

    parameter: str
    """The parameter that sets it; empty where none does."""
    value: float | None
    """The parameter's value."""
    metric: str
    side: Literal["below", "above"]
    """Which spots are removed."""
    threshold: float

    @property
    def option(self) -> str:
        """The filter as a user asks for it."""
        return f"--{self.parameter} {self.value:g}" if self.value is not None else "the in-tissue filter"

    def removes(self, metrics: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Return the spots it removes, (n_spots,) bool; NaN is never removed."""
        values = metrics[self.metric]
        return values < self.threshold if self.side == "below" else values > self.threshold


class Removal(NamedTuple):
    """What one filter removed."""

    filter: Filter
    removed: int
    """Spots removed in its turn."""
    removed_alone: int
    """Spots it would remove were it the only one."""


def apply_filters(
    filters: Sequence[Filter], metrics: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.bool_], list[Removal]]:
    """Apply filters one after the other.

    Parameters
    ----------
    filters
        In the order in which they are applied.
    metrics
        (n_spots,) values by name.

    Returns
    -------
    keep, removals
        (n_spots,) bool, and what each filter removed.

    Raises
    ------
    InputError
        Nothing is left: names the filter that took the last spots, its value and the range of the data.
    """
    n_spots = len(next(iter(metrics.values())))
    keep = np.ones(n_spots, dtype=bool)
    removals: list[Removal] = []
    for current in filters:
        bad = current.removes(metrics)
        removals.append(Removal(current, int((keep & bad).sum()), int(bad.sum())))
        if not (keep & ~bad).any():
            raise InputError(_nothing_left(removals, metrics[current.metric][keep], n_spots))
        keep &= ~bad
    return keep, removals


def _nothing_left(removals: Sequence[Removal], values: NDArray[np.float64], n_spots: int) -> str:
    *before, last = removals
    earlier = [f"{removal.filter.option} removes {removal.removed}" for removal in before if removal.removed]
    then = f"of {n_spots} spots {', '.join(earlier)}; " if earlier else ""
    metric, threshold = last.filter.metric, last.filter.threshold
    bound = "" if last.filter.value in (None, threshold) else f", {metric} {last.filter.side} {threshold:g},"
    return (
        f"no spot is left: {then}{last.filter.option}{bound} removes all {last.removed} spots"
        f"{' that were left' if earlier else ''} "
        f"(their {metric}: median {np.median(values):g}, from {values.min():g} to {values.max():g}); "
        f"{'relax it' if last.filter.parameter else 'check in_tissue of the positions'}"
    )


def mad_filters(nmads: float, metrics: Mapping[str, NDArray[np.float64]]) -> tuple[list[Filter], list[str]]:
    """Return bounds ``nmads`` median absolute deviations off the median: log counts and genes below, mito % above.

    The deviation is taken as it is, not scaled to a standard deviation (Heumos et al., Nat. Rev. Genet. 2023).

    Parameters
    ----------
    nmads
        Width in median absolute deviations.
    metrics
        (n_spots,) values by name, of the spots that the bounds are to be taken from.

    Returns
    -------
    filters, without
        The bounds, in the metrics' own units, and the metrics that have none as more than half of the values are equal.
    """
    filters, without = [], []
    for metric, side in (("total_counts", "below"), ("n_genes_by_counts", "below"), ("pct_counts_mt", "above")):
        values = metrics[metric]
        values = values[np.isfinite(values)]
        values = np.log1p(values) if side == "below" else values
        median = np.median(values)
        deviation = np.median(np.abs(values - median))
        if deviation == 0:
            without.append(metric)
        elif side == "below":
            filters.append(Filter("nmads", nmads, metric, "below", float(np.expm1(median - nmads * deviation))))
        else:
            filters.append(Filter("nmads", nmads, metric, "above", float(median + nmads * deviation)))
    return filters, without


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)


def quantiles(metrics: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    """Return :data:`QUANTILES` of every metric, over the finite values."""
    return {
        name: [float(value) for value in np.quantile(finite, QUANTILES)]
        for name, values in metrics.items()
        if len(finite := values[np.isfinite(values)])
    }
