"""Spot filters: bounds on quality metrics, and their combination. Works on arrays only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl._errors import InputError


@dataclass(frozen=True)
class Filter:
    """Bound on one quality metric."""

    parameter: str
    """Pipeline parameter that sets the bound; empty for the in-tissue filter."""
    value: float | None
    """Value of the parameter."""
    metric: str
    """Name of the metric."""
    side: Literal["below", "above"]
    """Side of the threshold on which spots are removed."""
    threshold: float
    """Bound, in the unit of the metric."""

    @property
    def option(self) -> str:
        """Command-line option that sets the filter, for messages."""
        return f"--{self.parameter} {self.value:g}" if self.value is not None else "the in-tissue filter"

    def removes(self, metrics: Mapping[str, NDArray[np.float64]]) -> NDArray[np.bool_]:
        """Return a mask of the spots to remove, (n_spots,) bool. Spots with NaN are kept."""
        values = metrics[self.metric]
        return values < self.threshold if self.side == "below" else values > self.threshold


class Removal(NamedTuple):
    """Numbers of spots removed by one filter."""

    filter: Filter
    removed: int
    """Spots removed after the preceding filters."""
    removed_alone: int
    """Spots that the filter removes on its own."""


def apply_filters(
    filters: Sequence[Filter], metrics: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.bool_], list[Removal]]:
    """Apply filters in sequence.

    Parameters
    ----------
    filters
        Filters, in order of application.
    metrics
        (n_spots,) float64 values by name of the metric.

    Returns
    -------
    keep
        (n_spots,) bool.
    removals
        Numbers of removed spots, one entry a filter.

    Raises
    ------
    InputError
        No spot is left. The message names the last filter, its value and the range of the metric.
    """
    n_spots = len(next(iter(metrics.values())))
    keep = np.ones(n_spots, dtype=bool)
    removals: list[Removal] = []
    for current in filters:
        failing = current.removes(metrics)
        removals.append(Removal(current, int((keep & failing).sum()), int(failing.sum())))
        if not (keep & ~failing).any():
            raise InputError(_no_spot_left(removals, metrics[current.metric][keep], n_spots))
        keep &= ~failing
    return keep, removals


def _no_spot_left(removals: Sequence[Removal], values: NDArray[np.float64], n_spots: int) -> str:
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
    """Return outlier bounds at ``nmads`` median absolute deviations (MAD) from the median.

    Lower bounds apply to log1p total counts and log1p detected genes, an upper bound to the mitochondrial percentage.
    The MAD is not scaled to a standard deviation (Heumos et al., Nat. Rev. Genet. 2023).

    Parameters
    ----------
    nmads
        Number of MADs.
    metrics
        (n_spots,) float64 values by name of the metric.

    Returns
    -------
    filters
        Bounds, in the unit of each metric.
    unbounded
        Metrics without a bound, because their MAD is zero.
    """
    filters, unbounded = [], []
    for metric, side in (("total_counts", "below"), ("n_genes_by_counts", "below"), ("pct_counts_mt", "above")):
        values = metrics[metric]
        values = values[np.isfinite(values)]
        values = np.log1p(values) if side == "below" else values
        median = np.median(values)
        deviation = np.median(np.abs(values - median))
        if deviation == 0:
            unbounded.append(metric)
        elif side == "below":
            filters.append(Filter("nmads", nmads, metric, "below", float(np.expm1(median - nmads * deviation))))
        else:
            filters.append(Filter("nmads", nmads, metric, "above", float(median + nmads * deviation)))
    return filters, unbounded


QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
"""Levels of :func:`quantiles`."""


def quantiles(metrics: Mapping[str, NDArray[np.float64]]) -> dict[str, list[float]]:
    """Return the quantiles of every metric over its finite values, at the levels :data:`QUANTILES`."""
    return {
        name: [float(value) for value in np.quantile(finite, QUANTILES)]
        for name, values in metrics.items()
        if len(finite := values[np.isfinite(values)])
    }
