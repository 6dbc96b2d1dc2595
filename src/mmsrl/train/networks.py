"""The networks of the published presets: built on a unit, and trained. Only this side of training needs PyTorch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from mmsrl import graph
from mmsrl._device import choose_device
from mmsrl._errors import InputError
from mmsrl.train.fit import Row, fit, memory_errors
from mmsrl.train.presets import Published
from mmsrl.train.published import Inputs, PublishedModel
from mmsrl.train.sections import harmonise, principal_components
from mmsrl.train.unit import FloatArray, Unit, correct_image, info


class Trained(NamedTuple):
    """A trained network."""

    embedding: FloatArray
    """(N, d) float32, principal components of the latent representation."""
    latent: FloatArray
    """(N, h) float32."""
    history: list[Row]
    """Losses by epoch."""
    weights: dict[str, NDArray[Any]]
    """By name."""
    facts: dict[str, Any]


def train_published(
    unit: Unit,
    settings: Published,
    *,
    device: str,
    block_size: int | None,
    show_progress: bool,
) -> Trained:
    """Build and train the network of a published preset; arguments as :func:`mmsrl.train.api.train` takes them.

    Raises
    ------
    NonFiniteLossError
        If training diverged.
    OutOfMemoryError
        If the device has not enough memory for this block size.
    """
    place = torch.device(choose_device(device))
    block = block_size or (4096 if place.type == "cuda" else 512)
    with memory_errors(block):
        model, facts = build_published(unit, settings, block=block, device=place)
        history = fit(
            model,
            epochs=settings.epochs,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            show_progress=show_progress,
        )
        latent = model.embedding().float().cpu().numpy()
    embedding, _, facts["variance_kept"] = principal_components(latent, settings.components, settings.seed)
    facts |= {
        "block_size": block,
        "n_weights": sum(weight.numel() for weight in model.parameters()),
        "device": place.type,
        "threads": torch.get_num_threads(),
        "gpu_peak_bytes": torch.cuda.max_memory_allocated() if place.type == "cuda" else None,
    }
    weights = {name: value.cpu().numpy() for name, value in model.state_dict().items()}
    return Trained(np.asarray(embedding), latent, history, weights, facts)


def build_published(
    unit: Unit,
    settings: Published,
    *,
    block: int,
    device: torch.device,
) -> tuple[PublishedModel, dict[str, Any]]:
    """Return the untrained network of a published preset with its data, and the facts of both.

    Parameters
    ----------
    block
        Spots of a block where pairs of spots are visited.
    device
        Where the network is.

    Raises
    ------
    InputError
        If masked reconstruction would compare hidden values with another number of genes.
    """
    seed = settings.seed
    correct, image = correct_image(unit, "Harmony", seed, settings.batch_correction)
    torch.manual_seed(seed)
    n_genes = len(unit.genes)
    if not settings.can_mask(n_genes):
        raise InputError(
            f"masked reconstruction compares {settings.hidden_dim} hidden values with {n_genes} genes: "
            "leave hidden_dim empty, or set masked_weight to 0"
        )
    if unit.array_coordinates is None:
        unit.messages.append(info("no array coordinates: the graph is built on positions in spot pitches"))
    if image is None:
        unit.messages.append(
            info("the published models have no path for a missing image: here the image branch contributes nothing")
        )
    width = settings.kernel_width or (1.0 if unit.fine_bins else 2.0)
    adjacency = graph.block_diagonal(
        [graph.gaussian_graph(places, width) for places in unit.array_coordinates or unit.coordinates]
    )
    expression = unit.expression
    smooth = graph.smooth(adjacency, expression, 2)
    if correct:
        # Harmony moves spots along principal axes; moved by as much in gene space, Â²X stays what the encoder takes.
        scores, axes, _ = principal_components(expression, 50, seed)
        smooth += graph.smooth(adjacency, harmonise(scores, unit.section, seed) - scores, 2) @ axes
    smooth_image = None if image is None else torch.as_tensor(graph.smooth(adjacency, image, 2))
    inputs = Inputs(expression, torch.as_tensor(smooth), smooth_image, adjacency)
    model = PublishedModel(inputs, settings, block=block, device=device)
    hidden = settings.hidden_dim or n_genes
    facts = {"kernel_width": width, "graph_entries_per_spot": graph.entries(adjacency), "hidden_dim": hidden}
    return model, facts
