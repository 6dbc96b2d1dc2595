"""Alignment files: transformation of spots to an image other than that of their coordinates."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl._errors import InputError
from mmsrl._files import read_json

FloatArray = NDArray[np.float64]

KINDS = (
    "a 3 x 3 matrix (CSV of three lines, or JSON) from the spots' coordinates to pixels of the image, or the alignment "
    "JSON of Loupe Browser"
)
FEWEST_SPOTS = 3


class Alignment(NamedTuple):
    """Content of an alignment file: a transformation, or positions by array row and column."""

    matrix: FloatArray | None
    """(3, 3): takes (x, y, 1) of the spots' coordinates to pixels of the image."""
    spots: dict[tuple[int, int], tuple[float, float]]
    """Pixel of the image, x and y, by row and column on the array."""


def read_alignment(path: Path) -> Alignment:
    """Read an alignment file.

    A plain 3 x 3 matrix, as CSV or as JSON (``[[…], […], […]]``, or an object with it under ``matrix``), takes the
    spots' coordinates to pixels of the image. Of the alignment JSON of Loupe Browser, the spots' own places on the
    image are taken where it has them (``oligo`` with ``imageX`` and ``imageY``), else the inverse of the matrix from
    the microscope's image to that of the CytAssist (``cytAssistInfo.transformImages``).

    Raises
    ------
    InputError
        The file is neither, or its matrix is singular.
    """
    if path.suffix.lower() == ".json":
        content = read_json(path)
        if isinstance(content, dict) and ("oligo" in content or "cytAssistInfo" in content):
            return _loupe(content)
        return Alignment(_matrix(content.get("matrix") if isinstance(content, dict) else content), {})
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if any(row)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"neither text nor JSON; give {KINDS}") from error
    return Alignment(_matrix(rows), {})


def _loupe(content: dict[str, Any]) -> Alignment:
    spots = content.get("oligo") or []
    if isinstance(spots, list):
        placed = [spot for spot in spots if isinstance(spot, dict) and {"row", "col", "imageX", "imageY"} <= set(spot)]
        if len(placed) >= FEWEST_SPOTS:
            try:
                places = {(int(s["row"]), int(s["col"])): (float(s["imageX"]), float(s["imageY"])) for s in placed}
            except (TypeError, ValueError, OverflowError):
                places = {}
            if not places or not np.isfinite(list(places.values())).all():
                raise InputError("a spot's row, col, imageX or imageY is no number; export the alignment again")
            return Alignment(None, places)
    info = content.get("cytAssistInfo")
    to_cytassist = info.get("transformImages") if isinstance(info, dict) else None
    if to_cytassist is None:
        raise InputError(
            "alignment of Loupe Browser with neither the spots' places on the image (oligo: imageX, imageY) nor a "
            "matrix between images (cytAssistInfo: transformImages); finish the alignment there and export it again"
        )
    back: FloatArray = np.linalg.inv(_matrix(to_cytassist)).astype(np.float64)
    return Alignment(back, {})


def _matrix(rows: Any) -> FloatArray:
    try:
        matrix = np.array(rows, dtype=np.float64)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (3, 3) or not np.isfinite(matrix).all():
        raise InputError(f"no alignment; give {KINDS}")
    if abs(np.linalg.det(matrix[:2, :2])) < 1e-9 or abs(np.linalg.det(matrix)) < 1e-9:
        raise InputError("the matrix takes all spots to one line or point; give the one that was exported")
    return matrix


def fit_matrix(source: FloatArray, target: FloatArray) -> tuple[FloatArray, float]:
    """Fit an affine map between two sets of points, (n, 2) each, by least squares.

    Returns the matrix, (3, 3), and the root mean square error.
    """
    points = np.column_stack([source, np.ones(len(source))])
    solution = np.linalg.lstsq(points, target, rcond=None)[0]  # (3, 2)
    error = points @ solution - target
    matrix = np.vstack([solution.T, [0.0, 0.0, 1.0]])
    return matrix, float(np.sqrt((error**2).sum(axis=1).mean()))


def apply(matrix: FloatArray, points: FloatArray) -> FloatArray:
    """Apply an affine matrix, (3, 3), to points, (n, 2)."""
    moved = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    result: FloatArray = moved[:, :2] / moved[:, 2:]
    return result


def magnification(matrix: FloatArray, points: FloatArray) -> float:
    """Return the length scale at the mean of points, (n, 2)."""
    middle = points.mean(axis=0)
    step = max(float(np.ptp(points, axis=0).max()), 1.0) * 1e-3
    corner, right, down = apply(matrix, middle + step * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
    return float(np.sqrt(abs(np.linalg.det(np.stack([right - corner, down - corner])))) / step)
