"""Root of a trajectory, and pseudotime from it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mmsrl._errors import InputError

KINDS = ("domain", "gene", "spot")


class Root(NamedTuple):
    """Parsed root: ``kind`` of :data:`KINDS` and its name."""

    kind: str
    name: str


def parse(text: str | None) -> Root | None:
    """Parse ``domain:3``, ``gene:MBP`` or ``spot:AAAC-1``. An empty text means no root.

    Raises
    ------
    InputError
        The text has another form.
    """
    if not text:
        return None
    kind, _, name = text.partition(":")
    if kind not in KINDS or not name.strip():
        raise InputError(
            f"root '{text}': write domain:NAME, gene:NAME or spot:BARCODE, or leave it empty for an unknown direction"
        )
    return Root(kind, name.strip())


def tip(points: NDArray[Any], candidates: NDArray[np.bool_]) -> int:
    """Return the index of the candidate with the largest squared distance from the mean of all other points.

    Parameters
    ----------
    points
        Scaled diffusion components, (n, d).
    candidates
        Mask of candidates, (n,), at least one. If all points are candidates, the mean is over all points.
    """
    others = ~candidates if not candidates.all() else candidates
    distance = ((points - points[others].mean(axis=0)) ** 2).sum(axis=1)
    return int(np.where(candidates, distance, -np.inf).argmax())


def ends(points: NDArray[Any]) -> tuple[int, int]:
    """Return the point furthest from the mean and its furthest point: the ends of the longest diffusion distance."""
    one = tip(points, np.ones(len(points), dtype=bool))
    other = int(((points - points[one]) ** 2).sum(axis=1).argmax())
    return one, other


def scaled_components(vectors: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Scale diffusion components, (n, d), so that their distance is that of diffusion pseudotime.

    Each component except the first, which is constant, is multiplied by λ / (1 - λ), the sum over walks of any length
    (Haghverdi et al., Nature Methods 13, 845-848, 2016). λ has single precision, and is limited to 1 - 1e-6.
    """
    weights = np.minimum(np.asarray(values[1:], dtype=np.float64), 1 - 1e-6)
    scaled: NDArray[np.float64] = np.asarray(vectors[:, 1:], dtype=np.float64) * (weights / (1 - weights))
    return scaled


def pseudotime(points: NDArray[np.float64], root: int) -> NDArray[np.float64]:
    """Return the diffusion distance of all points, (n, d), to the root: (n,), from 0 to 1.

    scanpy's ``tl.dpt`` gives components with an eigenvalue of .9994 or more the weight 1 instead of λ / (1 - λ), which
    is 1,666 or more. It thereby omits the longest distances of large, smooth tissue.
    """
    distance: NDArray[np.float64] = np.linalg.norm(points - points[root], axis=1)
    distance /= distance.max()
    return distance


def ranks(time: NDArray[Any]) -> NDArray[np.float64]:
    """Return ranks of pseudotime, (n,) finite, scaled to 0 to 1.

    Diffusion distance is large across abrupt changes of expression. One border then takes most of the scale, and all
    spots beyond have almost the same pseudotime.
    """
    order: NDArray[np.float64] = (rankdata(time) - 1.0) / max(len(time) - 1, 1)
    return order
