"""Where a trajectory starts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mmsrl._errors import InputError

KINDS = ("domain", "gene", "spot")


class Root(NamedTuple):
    """What was asked for: ``kind`` of :data:`KINDS` and its name."""

    kind: str
    name: str


def parse(text: str | None) -> Root | None:
    """Read ``domain:3``, ``gene:MBP`` or ``spot:AAAC-1``; ``None`` and nothing mean that there is no root.

    Raises
    ------
    InputError
        If it is something else.
    """
    if not text:
        return None
    kind, _, name = text.partition(":")
    if kind not in KINDS or not name.strip():
        raise InputError(
            f"root '{text}': write domain:NAME, gene:NAME or spot:BARCODE, or leave it empty: no direction then"
        )
    return Root(kind, name.strip())


def tip(points: NDArray[Any], candidates: NDArray[np.bool_]) -> int:
    """Return the candidate that lies furthest from the middle of all other points, in the sum of squares.

    Parameters
    ----------
    points
        (n, d): diffusion components, each scaled as it counts in diffusion distance.
    candidates
        (n,), at least one; where all are candidates, furthest from the middle of all.
    """
    others = ~candidates if not candidates.all() else candidates
    distance = ((points - points[others].mean(axis=0)) ** 2).sum(axis=1)
    return int(np.where(candidates, distance, -np.inf).argmax())


def ends(points: NDArray[Any]) -> tuple[int, int]:
    """Return the two ends of the longest way: furthest from the middle, and furthest from that; (n, d) points."""
    one = tip(points, np.ones(len(points), dtype=bool))
    other = int(((points - points[one]) ** 2).sum(axis=1).argmax())
    return one, other


def scaled_components(vectors: NDArray[Any], values: NDArray[Any]) -> NDArray[np.float64]:
    """Return diffusion components, (n, d), scaled so that their distance is the one of diffusion pseudotime.

    Each but the first, which is constant, by λ / (1 - λ) (Haghverdi et al., Nature Methods 13, 845-848, 2016), the sum
    over walks of any length. λ comes in single precision, and is taken to be no nearer to 1 than that tells.
    """
    weights = np.minimum(np.asarray(values[1:], dtype=np.float64), 1 - 1e-6)
    scaled: NDArray[np.float64] = np.asarray(vectors[:, 1:], dtype=np.float64) * (weights / (1 - weights))
    return scaled


def pseudotime(points: NDArray[np.float64], root: int) -> NDArray[np.float64]:
    """Return the diffusion distance of all points, (n, d), to the root: (n,), 0 at the root and 1 furthest from it.

    This is not scanpy's ``tl.dpt``: that gives components of an eigenvalue of .9994 or more the weight 1 in place of
    λ / (1 - λ) of 1,666 and more, and so leaves out the longest ways of large, smooth tissue.
    """
    distance: NDArray[np.float64] = np.linalg.norm(points - points[root], axis=1)
    distance /= distance.max()
    return distance


def ranks(time: NDArray[Any]) -> NDArray[np.float64]:
    """Return the ranks of pseudotime, (n,) finite, from 0 to 1: evenly many spots lie in parts of equal length.

    Diffusion distance is long where expression changes abruptly: its scale is spent on one border, and what lies beyond
    comes out as one value.
    """
    order: NDArray[np.float64] = (rankdata(time) - 1.0) / max(len(time) - 1, 1)
    return order
