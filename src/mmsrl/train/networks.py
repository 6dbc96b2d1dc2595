"""Build and train the networks of the published presets. Only this side of training needs PyTorch."""

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
    """(N, h) float32, latent representation in evaluation mode."""
    history: list[Row]
    """Losses of each epoch."""
    weights: dict[str, NDArray[Any]]
    """Weights by name."""
    facts: dict[str, Any]
    """Summary of network and training."""


def train_published(
    unit: Unit,
    settings: Published,
    *,
    device: str,
    block_size: int | None,
    show_progress: bool,
) -> Trained:
    """Build and train the network of a published preset. :func:`mmsrl.train.api.train` describes the arguments.

    Raises
    ------
    NonFiniteLossError
        If training diverges.
    OutOfMemoryError
        If the device has too little memory for this block size.
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
    """Build the untrained network of a published preset on its data.

    Parameters
    ----------
    block
        Number of spots per block in computations over pairs of spots.
    device
        Device of the network.

    Returns
    -------
    The network, and a summary of its graph and width.

    Raises
    ------
    InputError
        If masked reconstruction is on, and the hidden width differs from the number of genes.
    """
    seed = settings.seed
    correct, image = correct_image(unit, "Harmony", seed, settings.batch_correction)
    torch.manual_seed(seed)
    n_genes = len(unit.genes)
    if not settings.can_mask(n_genes):
        raise InputError(
            f"masked reconstruction compares {settings.hidden_dim} hidden values with {n_genes} genes: omit "
            "hidden_dim, or set masked_weight to 0"
        )
    if unit.array_coordinates is None:
        unit.messages.append(info("no array coordinates: the graph is built from coordinates in spot pitches"))
    if image is None:
        unit.messages.append(
            info("the published models require an image: without it, the image branch contributes nothing")
        )
    width = settings.kernel_width or (1.0 if unit.fine_bins else 2.0)
    adjacency = graph.block_diagonal(
        [graph.gaussian_graph(places, width) for places in unit.array_coordinates or unit.coordinates]
    )
    expression = unit.expression
    smooth = graph.smooth(adjacency, expression, 2)
    if correct:
        # Harmony shifts spots along principal axes. The same shift in gene space corrects Â²X, which is encoded.
        scores, axes, _ = principal_components(expression, 50, seed)
        smooth += graph.smooth(adjacency, harmonise(scores, unit.section, seed) - scores, 2) @ axes
    smooth_image = None if image is None else torch.as_tensor(graph.smooth(adjacency, image, 2))
    inputs = Inputs(expression, torch.as_tensor(smooth), smooth_image, adjacency)
    model = PublishedModel(inputs, settings, block=block, device=device)
    hidden = settings.hidden_dim or n_genes
    facts = {"kernel_width": width, "graph_entries_per_spot": graph.entries(adjacency), "hidden_dim": hidden}
    return model, facts
