"""Stacked input of a unit, and the embeddings of the preset ``default``."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl.train.members import Fitted, Member, build_members
from mmsrl.train.presets import Default
from mmsrl.train.sections import correct_rows

FloatArray = NDArray[np.floating[Any]]
Message = dict[str, str]


class Unit(NamedTuple):
    """Stacked input of sections that are trained jointly: N spots, G modelled genes, D image features."""

    samples: list[str]
    section: NDArray[np.int64]
    """(N,), index of the section of each spot in ``samples``."""
    barcodes: list[str]
    genes: list[str]
    """(G,)."""
    expression: sp.csr_matrix
    """(N, G) float32, log1p of counts scaled to the median library size. For values that are normalised already, the
    result of :func:`mmsrl.normalisation.stabilise`."""
    counts: sp.csr_matrix
    """(N, G) float32, raw counts."""
    library: FloatArray
    """(N,), library size: counts of all genes of each spot."""
    coordinates: list[FloatArray]
    """Coordinates of each section, (n, 2), in spot pitches (the centre-to-centre distance of neighbouring spots)."""
    cells: bool
    """Whether spots are cells or bins of that size (:func:`mmsrl._sections.of_cell_size`)."""
    image_coordinates: list[FloatArray]
    """Coordinates in the unit of held-out regions (:func:`mmsrl._sections.image_places`)."""
    array_coordinates: list[FloatArray] | None
    """Array row and column of each section, (n, 2). ``None`` unless all sections have them."""
    image: FloatArray | None
    """(N, D) float32, image features. Rows of sections without an image are 0, the mean. ``None`` without any image."""
    fine_bins: bool
    """Whether the sections are Visium HD."""
    messages: list[Message]
    """Warnings and notes for the user."""
    counted: bool = True
    """Whether the sections have raw counts. Otherwise ``counts`` holds the given normalised values, and ``library`` is
    1."""
    scaled: sp.csr_matrix | None = None
    """(N, G) float32, normalised values scaled to equal totals. ``None`` for equal totals, and for counts."""


class Built(NamedTuple):
    """Embeddings of the preset ``default``."""

    facts: dict[str, Any]
    """Summary of the embeddings."""
    members: list[Member]
    """Ensemble. The first member is the embedding of the unit."""
    fitted: dict[str, Fitted]
    """Projection of other spots, by normalisation. Empty without raw counts."""


def build(unit: Unit, settings: Default, *, seed: int, correct: bool, ensemble: bool = True) -> Built:
    """Compute the embeddings of the preset ``default`` in closed form.

    Parameters
    ----------
    seed
        Random seed.
    correct
        Correct for the batch key (the section) if there are several sections.
    ensemble
        Compute all members, instead of the first only.
    """
    correct, image = correct_image(unit, "mutual nearest neighbours; images: Harmony", seed, correct)
    members, fitted, facts = build_members(unit, settings, image, seed, correct, first_only=not ensemble)
    first = members[0]
    if image is not None:
        unit.messages.append(info(_image_weight(first.facts["image"])))
    listed = [{"name": member.name, **member.facts} for member in members]
    return Built(facts | first.facts | {"members": listed}, members, fitted)


def correct_image(unit: Unit, how: str, seed: int, correct: bool) -> tuple[bool, FloatArray | None]:
    """Return whether to correct for the section, and the image features, corrected by Harmony if so.

    Parameters
    ----------
    how
        Method of the correction, for the message to the user.
    correct
        Whether correction is requested. Single sections are not corrected.

    Returns
    -------
    Whether to correct, and (N, D) image features or ``None``.
    """
    correct = correct and len(unit.samples) > 1
    if correct:
        unit.messages.append(info(f"expression and image features are corrected for the section ({how})"))
    image = unit.image
    if image is not None and correct:
        image = correct_rows(image, unit.section, np.any(image != 0, axis=1), seed)
    return correct, image


def _image_weight(image: dict[str, Any]) -> str:
    """Describe the weight of the image in the first member."""
    weights = image["weights"]
    n_used = int((weights > 0).sum())
    text = f"the image predicts {image['explained']:.0%} of the variance of smoothed expression in held-out tissue"
    if n_used:
        return f"{text}: it is used in {n_used} of {len(weights)} components, with a weight up to {weights.max():.0%}"
    return f"{text}: this is too little to improve expression, so the image is not used"


def info(text: str) -> Message:
    """Return a note for the user, about a choice that the data required."""
    return {"level": "info", "text": text}


def warning(text: str) -> Message:
    """Return a warning for the user, about a request that could not be met."""
    return {"level": "warning", "text": text}
