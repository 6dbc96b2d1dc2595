"""Every number of every preset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

ConsistencyLoss = Literal["consistency", "contrastive"]


@dataclass(frozen=True)
class Published:
    """MMSRL and stMMR as published.

    The values of the tutorials that differ from these are reached by parameters: chicken heart ``learning_rate=5e-5``;
    breast cancer ``learning_rate=1e-7, kernel_width=0.63``; Visium HD ``hidden_dim=1000, epochs=50,
    learning_rate=1e-5, kernel_width=1``; several slices jointly ``epochs=300, reconstruction_weight=100``.
    """

    mask_fraction: float
    """Share of spots masked in an epoch; 0: no masking and no masked reconstruction."""
    hidden_dim: int | None
    """h, of both graph convolutions and everything after them; ``None``: as many as genes, which masking needs."""
    n_top_genes: int = 3000
    """G, highly variable genes (``seurat_v3`` on raw counts)."""
    kernel_width: float | None = None
    """l in array coordinates; ``None``: 1 for Visium HD, else 2."""
    epochs: int = 200
    learning_rate: float = 1e-4
    weight_decay: float = 1e-4
    attention_dropout: float = 0.1
    mlp_dropout: float = 0.1
    fuse_expression: float = 20.0
    fuse_image: float = 1.0
    fuse_consistency: float = 10.0
    reconstruction_weight: float = 10.0
    """a, of the ZINB term."""
    ridge: float = 1.0
    """Of π² in the ZINB term."""
    consistency_weight: float = 1.0
    """b."""
    consistency_loss: ConsistencyLoss = "consistency"
    masked_weight: float = 1.0
    """w."""
    regularisation_weight: float = 10.0
    """c."""
    components: int = 20
    """Principal components of z that are the embedding (the published ``emb_pca``)."""

    def can_mask(self, n_genes: int) -> bool:
        """Tell whether masked reconstruction, where there is one, has a hidden value to compare with each gene."""
        return not (self.mask_fraction and self.masked_weight) or self.hidden_dim in (None, n_genes)


PUBLISHED: dict[str, Published] = {
    "mmsrl": Published(mask_fraction=0.8, hidden_dim=None),
    "stmmr": Published(mask_fraction=0.0, hidden_dim=3000, masked_weight=0.0),
}


SPOT_SHARES = (0.5, 0.35, 0.71)
"""Bandwidths of the members where a spot averages several cells, in units of the cross-validated one: the spot's own
value says much of its domain, which the cross-validation, that leaves it out, does not see."""

CELL_SHARES = (1.0, 0.71, 1.41)
"""The same where spots are cells or small bins, whose own value says their type rather than their domain."""


@dataclass(frozen=True)
class Default:
    """The light preset: no weights to train, linear in the number of spots.

    Its embedding is in closed form. What nothing in the data decides is not chosen: the members of its ensemble are
    all combinations of two normalisations, two graphs and three bandwidths (:mod:`mmsrl.train.members`), and their
    consensus averages over them.
    """

    n_top_genes: int = 8000
    """Highly variable genes (``seurat_v3`` on raw counts). Each counts as much as any other: genes that are nothing but
    noise must stay out."""
    kernel_width: float | None = None
    """Bandwidth of the graph of every member in spot pitches; ``None``: by cross-validation, see
    :func:`mmsrl.train.bandwidth.choose_bandwidth`."""
    components: int = 30
    """Principal components that are computed; those that are not spatial are left out."""


Settings = Published | Default
PRESETS: dict[str, Settings] = {"default": Default(), **PUBLISHED}
