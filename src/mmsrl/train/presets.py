"""Presets: the two published models and the default, with every setting that distinguishes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

ConsistencyLoss = Literal["consistency", "contrastive"]
Readout = Literal["gmm", "gmm_full", "kmeans", "leiden"]


@dataclass(frozen=True)
class Published:
    """Settings of the published models MMSRL and stMMR.

    Parameters reach the values of the tutorials that differ: chicken heart ``learning_rate=5e-5``; breast cancer
    ``learning_rate=1e-7, kernel_width=0.63, refine=50``; Visium HD ``hidden_dim=1000, epochs=50, learning_rate=1e-5``.
    :data:`JOINT` has the values for several sections.
    """

    mask_fraction: float
    """Fraction of spots that are masked in each epoch. 0: no masking and no masked reconstruction."""
    hidden_dim: int | None
    """Hidden width h of both graph convolutions and of all later layers. ``None``: the number of genes, as masking
    requires."""
    n_top_genes: int = 3000
    """Number of highly variable genes G (``seurat_v3`` on raw counts)."""
    kernel_width: float | None = None
    """Bandwidth of the spatial graph in array coordinates. ``None``: 1 for Visium HD, else 2."""
    epochs: int = 200
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    attention_dropout: float = 0.1
    mlp_dropout: float = 0.1
    fuse_expression: float = 20.0
    fuse_image: float = 1.0
    fuse_consistency: float = 10.0
    reconstruction_weight: float = 10.0
    """Weight a of the ZINB loss."""
    ridge: float = 1.0
    """Weight of the ridge penalty on π in the ZINB loss."""
    consistency_weight: float = 1.0
    """Weight b of the consistency loss."""
    consistency_loss: ConsistencyLoss = "consistency"
    masked_weight: float = 1.0
    """Weight w of the masked reconstruction loss."""
    regularisation_weight: float = 10.0
    """Weight c of the regularisation loss."""
    components: int = 20
    """Number of principal components of the latent representation in the embedding (``emb_pca`` of the publication)."""
    seed: int = 110
    """Random seed, set once before the weights are drawn."""
    batch_correction: bool = False
    """Correct expression and image features for the batch key (the section) by Harmony."""
    by_section: bool = False
    """Select variable genes and standardise image descriptors within each section, instead of over all spots."""
    readout: Readout = "kmeans"
    """Clustering of the whole latent representation."""
    refine: int = 0
    """Number of nearest spots whose majority vote replaces the domain of a spot. 0: no refinement."""

    def can_mask(self, n_genes: int) -> bool:
        """Return whether masked reconstruction is off, or has one hidden value for each gene."""
        return not (self.mask_fraction and self.masked_weight) or self.hidden_dim in (None, n_genes)


PUBLISHED: dict[str, Published] = {
    "mmsrl": Published(mask_fraction=0.8, hidden_dim=None),
    "stmmr": Published(mask_fraction=0.0, hidden_dim=3000, masked_weight=0.0),
}

MEAN_RANGE = (1e-5, 1e6)
"""Lowest and highest mean of the ZINB decoder."""

JOINT: dict[str, Any] = {"epochs": 300, "reconstruction_weight": 100.0}
"""Settings of the published presets for several sections that are trained jointly."""

SPOT_SHARES = (0.5, 0.35, 0.71)
"""Bandwidths of the members for spots that average several cells, relative to the cross-validated bandwidth.
Leave-one-out cross-validation ignores the value of the spot itself, which tells much about its domain."""

CELL_SHARES = (1.0, 0.71, 1.41)
"""The same bandwidths for cells and small bins, whose own value tells the cell type rather than the domain."""


@dataclass(frozen=True)
class Default:
    """Settings of the recommended preset: an ensemble in closed form, without weights to train.

    Time and memory are linear in the number of spots. Choices that the data do not decide are averaged over: the
    members of the ensemble combine two normalisations, two graphs and three bandwidths (:mod:`mmsrl.train.members`).
    """

    n_top_genes: int = 8000
    """Number of highly variable genes (``seurat_v3`` on raw counts). All genes have equal weight, so pure noise must be
    excluded."""
    kernel_width: float | None = None
    """Bandwidth of the graphs of all members in spot pitches. ``None``: by cross-validation
    (:func:`mmsrl.train.bandwidth.choose_bandwidth`)."""
    components: int = 30
    """Number of principal components to compute. Components without spatial structure are then left out."""
    seed: int = 0
    """Random seed."""
    batch_correction: bool = True
    """Correct expression and image features for the batch key (the section)."""
    by_section: bool = True
    """Select variable genes and standardise image descriptors within each section."""
    readout: Readout = "gmm"
    """Clustering of each member of the ensemble."""


Settings = Published | Default
PRESETS: dict[str, Settings] = {"default": Default(), **PUBLISHED}

READOUT_SETTINGS = ("readout", "refine")
"""Settings that only the domains stage reads."""


def with_defaults(preset: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return ``given`` with the preset's value for each ``None``, where the preset has such a setting."""
    settings = PRESETS[preset]
    return {name: getattr(settings, name, None) if value is None else value for name, value in given.items()}
