"""Sums over the sections of each replicate. Arrays only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl import _design
from mmsrl.compare.shared import SharedDomains

Float = NDArray[np.float64]


class ReplicateSums(NamedTuple):
    """Sums over the sections of R replicates."""

    replicates: list[_design.Replicate]
    spots: Float
    """(R, D): NaN if the domain has no counterpart."""
    total: Float
    molecules: Float | None
    """(R, D, G)."""

    @classmethod
    def of(cls, replicates: list[_design.Replicate], samples: Sequence[str], shared: SharedDomains) -> ReplicateSums:
        """Sum the sections of ``samples`` by replicate."""
        member = np.array(
            [[sample in replicate.samples for sample in samples] for replicate in replicates], dtype=np.float64
        )

        def summed(values: Float) -> Float:
            known = np.isfinite(values)
            sums = np.tensordot(member, np.where(known, values, 0.0), axes=1)
            # A partial sum would underestimate the domain in replicates with sections that lack it.
            return np.where(np.tensordot(member, ~known, axes=1) > 0, np.nan, sums)

        molecules = None if shared.molecules is None else summed(shared.molecules)
        return cls(replicates, summed(shared.spots), member @ shared.total, molecules)
