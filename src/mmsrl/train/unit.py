"""The sections of a unit as arrays, and what the preset ``default`` makes of them."""

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
    """Sections that are trained together, stacked. N spots; G genes, the highly variable ones of those in common."""

    samples: list[str]
    section: NDArray[np.int64]
    """(N,): position of each spot's section in ``samples``."""
    barcodes: list[str]
    genes: list[str]
    """(G,)."""
    expression: sp.csr_matrix
    """(N, G) float32: log1p of counts scaled to the median library of all genes; of normalised values
    :func:`mmsrl.normalisation.stabilise`."""
    counts: sp.csr_matrix
    """(N, G) float32, raw."""
    library: FloatArray
    """(N,): counts of all genes of each spot."""
    coordinates: list[FloatArray]
    """Of each section, (n, 2), in spot pitches."""
    cells: bool
    """Whether spots are cells or bins of that size, see :func:`mmsrl._sections.of_cell_size`."""
    image_coordinates: list[FloatArray]
    """The same in the unit of tissue held out, see :func:`mmsrl._sections.image_places`."""
    array_coordinates: list[FloatArray] | None
    """Of each section, (n, 2), array row and column, where all sections have them."""
    image: FloatArray | None
    """(N, D) float32; rows of sections without image are 0, the mean. ``None`` where no section has one."""
    fine_bins: bool
    """Whether the sections are Visium HD."""
    messages: list[Message]
    counted: bool = True
    """Whether the sections have counts; if not, ``counts`` is what they have, normalised by somebody, and ``library``
    is 1."""
    scaled: sp.csr_matrix | None = None
    """(N, G) float32: normalised values scaled to equal totals; ``None`` where they are so, and for counts."""


class Built(NamedTuple):
    """The embeddings of the preset ``default``, and what is worth telling of them."""

    facts: dict[str, Any]
    members: list[Member]
    """Its ensemble; the first is the unit's embedding."""
    fitted: dict[str, Fitted]
    """What takes other spots to its components, by normalisation; of counts alone."""


def build(unit: Unit, settings: Default, *, seed: int, correct: bool, ensemble: bool = True) -> Built:
    """Make the embeddings of the preset ``default``, which are in closed form.

    ``correct``: for the section, where there are several; ``ensemble``: all members, not the first alone.
    """
    correct, image = correct_image(unit, "mutual nearest neighbours; images: Harmony", seed, correct)
    members, fitted, facts = build_members(unit, settings, image, seed, correct, first_only=not ensemble)
    first = members[0]
    if image is not None:
        unit.messages.append(info(_told(first.facts["image"])))
    listed = [{"name": member.name, **member.facts} for member in members]
    return Built(facts | first.facts | {"members": listed}, members, fitted)


def correct_image(unit: Unit, how: str, seed: int, correct: bool) -> tuple[bool, FloatArray | None]:
    """Say ``how`` the section is corrected for, where that is asked for and there are several.

    Returns
    -------
    Whether it is, and the image features, (N, D), corrected; ``None`` where no section has any.
    """
    correct = correct and len(unit.samples) > 1
    if correct:
        unit.messages.append(info(f"expression and image features are corrected for the section ({how})"))
    image = unit.image
    if image is not None and correct:
        image = correct_rows(image, unit.section, np.any(image != 0, axis=1), seed)
    return correct, image


def _told(image: dict[str, Any]) -> str:
    """Say how far the image counts in the first member."""
    weights = image["weights"]
    counting = int((weights > 0).sum())
    told = f"the image predicts {image['explained']:.0%} of smoothed expression in tissue that it was not fitted to"
    if counting:
        most = f"with a weight of {weights.max():.0%} at most"
        return f"{told}: it counts in {counting} of {len(weights)} components, {most}"
    return f"{told}, no more than chance or than expression itself needs: it does not count"


def info(text: str) -> Message:
    """Return a message for the summary: something done otherwise than a reader might think."""
    return {"level": "info", "text": text}


def warning(text: str) -> Message:
    """Return a message for the summary: something asked for could not be done."""
    return {"level": "warning", "text": text}
