"""Arrays in, model out: what each preset makes of the sections of a unit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from mmsrl.train.members import Fitted, Member, build_members
from mmsrl.train.presets import Default, Published, Settings
from mmsrl.train.sections import correct_rows

if TYPE_CHECKING:
    import torch

    from mmsrl.train.published import PublishedModel

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
    :func:`mmsrl.expression.stabilise`."""
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
    """A model with its data, and what is worth telling of them."""

    model: PublishedModel | None
    """``None`` where there is nothing to train: the default's embedding is in closed form."""
    facts: dict[str, Any]
    settings: Settings
    """Those of the model."""
    members: list[Member]
    """The default's ensemble; a published model has none before it is trained."""
    fitted: dict[str, Fitted]
    """What takes other spots to its components, by normalisation; of counts alone."""


def build(
    unit: Unit,
    settings: Settings,
    *,
    seed: int,
    correct: bool,
    ensemble: bool = True,
    block: int = 512,
    device: torch.device | None = None,
) -> Built:
    """Make the model of a preset for ``unit``, or the embeddings of the default, which has none.

    ``correct``: for the section, where there are several; ``ensemble``: all members of the default, not the first
    alone; ``block`` and ``device`` (the CPU): of a model.
    """
    correct = correct and len(unit.samples) > 1
    if correct:
        how = "Harmony" if isinstance(settings, Published) else "mutual nearest neighbours; images: Harmony"
        unit.messages.append(info(f"expression and image features are corrected for the section ({how})"))
    image = unit.image
    if image is not None and correct:
        image = correct_rows(image, unit.section, np.any(image != 0, axis=1), seed)
    if isinstance(settings, Published):
        # PyTorch is imported for the published presets alone; the image of the default has none.
        from mmsrl.train.networks import build_published

        model, facts = build_published(unit, settings, image, seed=seed, correct=correct, block=block, device=device)
        return Built(model, facts, settings, [], {})
    return _default(unit, settings, image, seed, correct, ensemble)


def _default(
    unit: Unit, settings: Default, image: FloatArray | None, seed: int, correct: bool, ensemble: bool
) -> Built:
    members, fitted, facts = build_members(unit, settings, image, seed, correct, first_only=not ensemble)
    first = members[0]
    if image is not None:
        unit.messages.append(info(_told(first.facts["image"])))
    listed = [{"name": member.name, **member.facts} for member in members]
    return Built(None, facts | first.facts | {"members": listed}, settings, members, fitted)


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
