"""Enhanced expression of the published models. NumPy only, so that the enhance stage needs no PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl.train.presets import MEAN_RANGE

SPOTS_PER_BLOCK = 2_000
"""Number of spots that are decoded together, to bound memory."""

NORM_EPSILON = 1e-5
"""Constant that batch normalisation adds to the variance (the default of ``torch.nn.BatchNorm1d``)."""


def relative_mean(model: Mapping[str, Any], latent: NDArray[np.float32], genes: Sequence[str]) -> NDArray[np.float32]:
    """Return the mean of the ZINB decoder, divided by its maximum over all modelled genes of the spot.

    Parameters
    ----------
    model
        :attr:`mmsrl.train.api.Training.model` of a published preset.
    latent
        (N, h), the latent representation of the spots.
    genes
        W of the modelled genes.

    Returns
    -------
    numpy.ndarray
        (N, W) float32, from 0 to 1.
    """
    state = model["state"]
    columns = pd.Index(model["genes"]).get_indexer(pd.Index(genes))
    scale = state["norm.weight"] / np.sqrt(state["norm.running_var"] + NORM_EPSILON)
    shift = state["norm.bias"] - scale * state["norm.running_mean"]
    lowest, highest = np.log(MEAN_RANGE)
    relative = np.empty((len(latent), len(genes)), dtype=np.float32)
    for start in range(0, len(latent), SPOTS_PER_BLOCK):
        rows = slice(start, start + SPOTS_PER_BLOCK)
        linear = latent[rows] @ state["decoder.weight"].T + state["decoder.bias"]
        hidden = np.maximum(linear * scale + shift, 0.0)
        mean = np.exp(np.clip(hidden @ state["mu.weight"].T + state["mu.bias"], lowest, highest))
        relative[rows] = mean[:, columns] / mean.max(axis=1, keepdims=True)
    return relative
