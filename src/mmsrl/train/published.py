"""The published models MMSRL and stMMR, in exact forms that need no N×N matrix.

Shapes: N spots, G genes, D image features, h hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmsrl.train import losses
from mmsrl.train.attention import self_attention
from mmsrl.train.autograd import relu_dropout_
from mmsrl.train.fit import Row, Trainable
from mmsrl.train.losses import PairEntries
from mmsrl.train.presets import Published
from mmsrl.train.zinb import Entries, zinb_loss


class Inputs(NamedTuple):
    """Stacked input matrices of all sections of a unit."""

    expression: sp.csr_matrix
    """X, (N, G), log-normalised expression: the target of the reconstruction."""
    smooth_expression: Tensor
    """Â²X, (N, G)."""
    smooth_image: Tensor | None
    """Â²I, (N, D). ``None`` without image features."""
    graph: sp.csr_matrix
    """Â, (N, N), the row-normalised adjacency matrix."""


class Views(NamedTuple):
    """Output of the encoder, (N, h) each."""

    q_x: Tensor
    """Projection of expression."""
    q_i: Tensor | None
    """Projection of the image. ``None`` without image features."""
    z: Tensor
    """Fused latent representation."""


class GraphConvolutions(nn.Module):
    """Two linear graph convolutions, E = Â(Â X W₁ + b₁) W₂ + b₂, as one product.

    Â²X is constant and the rows of Â sum to one. Therefore E = (Â²X) W₁W₂ + b₁W₂ + b₂, exactly.
    """

    def __init__(self, n_in: int, hidden: int) -> None:
        super().__init__()
        bound = 1.0 / math.sqrt(hidden)
        self.w1 = nn.Parameter(torch.empty(n_in, hidden).uniform_(-bound, bound))
        self.b1 = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))
        self.w2 = nn.Parameter(torch.empty(hidden, hidden).uniform_(-bound, bound))
        self.b2 = nn.Parameter(torch.empty(hidden).uniform_(-bound, bound))

    def constant(self) -> Tensor:
        """Return b₁W₂ + b₂, (h,)."""
        return self.b1 @ self.w2 + self.b2

    def forward(self, smooth: Tensor) -> Tensor:
        """Return E, (N, h), of Â²X, (N, n_in). The cheaper order of the products is used."""
        if len(smooth) >= len(self.b1):
            return torch.addmm(self.constant(), smooth, self.w1 @ self.w2)
        return torch.addmm(self.constant(), smooth @ self.w1, self.w2)


class PublishedModel(Trainable):
    """Networks of MMSRL and stMMR with their data, losses and embedding."""

    large_products = True

    def __init__(self, inputs: Inputs, settings: Published, *, block: int, device: torch.device | str = "cpu") -> None:
        super().__init__()
        n_genes = inputs.expression.shape[1]
        hidden = settings.hidden_dim or n_genes
        self.settings, self.block = settings, block
        self.expression_encoder = GraphConvolutions(n_genes, hidden)
        self.image_encoder = None
        if inputs.smooth_image is not None:
            self.image_encoder = GraphConvolutions(inputs.smooth_image.shape[1], hidden)
        self.projection = nn.Linear(hidden, hidden)
        self.consensus = nn.Linear(2 * hidden, hidden)
        self.decoder = nn.Linear(hidden, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.pi, self.theta, self.mu = (nn.Linear(hidden, n_genes) for _ in range(3))
        self.token = nn.Parameter(torch.zeros(n_genes)) if settings.mask_fraction else None

        dtype = inputs.smooth_expression.dtype
        self.to(device=device, dtype=dtype)
        self.expression = inputs.expression
        self.smooth_expression = inputs.smooth_expression.to(device)
        self.smooth_image = None
        if inputs.smooth_image is not None:
            ones = inputs.smooth_image.new_ones(len(inputs.smooth_image), 1)
            self.smooth_image = torch.cat([inputs.smooth_image, ones], dim=1).to(device)  # T = [Â²I, 1], (N, D+1)
        self.entries = Entries.of(inputs.expression, dtype, device)
        self.pairs = PairEntries.of(inputs.graph, block, dtype, device)
        # The mask changes only Â²m, a sparse product on the host.
        self.graph = inputs.graph

    def draw_mask(self) -> Tensor | None:
        """Draw the masked spots of an epoch: indices, (⌊mask_fraction·N⌋,), on the host. ``None`` without masking."""
        n = len(self.smooth_expression)
        count = int(self.settings.mask_fraction * n)
        return torch.randperm(n)[:count].sort().values if self.token is not None else None

    def encode(self, masked: Tensor | None = None) -> Views:
        """Encode all spots.

        The token t is added to the rows of masked spots, X̃ = X + m tᵀ, which adds (Â²m)(t W₁W₂) to E.
        The image has E_i = T M with T = [Â²I, 1] and M = [V₁V₂; c₁V₂ + c₂]. Its attention and projection therefore
        need D + 1 columns instead of h.

        Parameters
        ----------
        masked
            Indices of the masked spots. ``None``: no masking, as for the embedding.
        """
        s = self.settings
        dropout, mlp_dropout = (s.attention_dropout, s.mlp_dropout) if self.training else (0.0, 0.0)
        encoder = self.expression_encoder
        e_x = encoder(self.smooth_expression)
        if masked is not None and self.token is not None:
            e_x = e_x + torch.outer(self._smooth_mask(masked), self.token @ encoder.w1 @ encoder.w2)
        scale = 1.0 / math.sqrt(e_x.shape[1])
        attended_x = self_attention(e_x, block=self.block, scale=scale, dropout=dropout, seed=_draw_seed())
        q_x = relu_dropout_(self.projection(e_x), mlp_dropout)
        weight_x, weight_i = self.consensus.weight.chunk(2, dim=1)
        consensus = F.linear(q_x, weight_x, self.consensus.bias)
        q_i = None
        z = s.fuse_expression * attended_x
        if self.image_encoder is not None and self.smooth_image is not None:
            t = self.smooth_image
            m = torch.cat([self.image_encoder.w1 @ self.image_encoder.w2, self.image_encoder.constant()[None]])
            if len(m) < m.shape[1]:
                attended_t = self_attention(
                    t, block=self.block, metric=m @ m.T * scale, dropout=dropout, seed=_draw_seed()
                )
                attended_i = attended_t @ m
                q_i = torch.addmm(self.projection.bias, t, m @ self.projection.weight.T)
            else:
                e_i = t @ m
                attended_i = self_attention(e_i, block=self.block, scale=scale, dropout=dropout, seed=_draw_seed())
                q_i = self.projection(e_i)
            q_i = relu_dropout_(q_i, mlp_dropout)
            consensus = consensus.add_(F.linear(q_i, weight_i))
            z = z.add_(attended_i, alpha=s.fuse_image)
        z = z.add_(consensus, alpha=s.fuse_consistency)
        return Views(q_x, q_i, z)

    def decode(self, z: Tensor) -> Tensor:
        """Return r = ReLU(BatchNorm(Linear(z))), (N, h)."""
        return F.relu(self.norm(self.decoder(z)))

    def steps(self) -> Iterator[dict[str, Tensor]]:
        """Yield the loss terms of one epoch, which is one step over all spots."""
        yield self.losses()

    def converged(self, history: list[Row]) -> bool:
        """Return ``False``: the number of epochs is fixed."""
        return False

    def losses(self) -> dict[str, Tensor]:
        """Return the unweighted loss terms under a fresh mask, and their weighted sum ``total``."""
        s, masked = self.settings, self.draw_mask()
        q_x, q_i, z = self.encode(masked)
        # The three heads of the decoder come last, because they and their gradients need the most memory.
        terms: dict[str, Tensor] = {}
        if q_i is not None:
            if s.consistency_loss == "contrastive":
                terms["consistency"] = losses.contrastive_loss(q_x, q_i)
            else:
                terms["consistency"] = losses.consistency_loss(q_x, q_i, block=self.block)
        terms["regularisation"] = losses.regularisation_loss(z, self.pairs)
        r = self.decode(z)
        heads = (self.pi, self.theta, self.mu)
        weights, biases = [head.weight for head in heads], [head.bias for head in heads]
        terms["zinb"] = zinb_loss(r, weights, biases, self.entries, ridge=s.ridge, block=self.block)
        if masked is not None and self.token is not None and s.masked_weight:
            terms["masked"] = losses.masked_loss(r, masked.to(r.device), self.entries, self.token)
        weights_of_terms = {
            "zinb": s.reconstruction_weight,
            "regularisation": s.regularisation_weight,
            "consistency": s.consistency_weight,
            "masked": s.masked_weight,
        }
        terms = {name: terms[name] for name in weights_of_terms if name in terms}
        total = torch.stack([weights_of_terms[name] * term for name, term in terms.items()]).sum()
        return {"total": total, **terms}

    @torch.no_grad()
    def embedding(self) -> Tensor:
        """Return z, (N, h), in evaluation mode: without masking and dropout."""
        self.eval()
        return self.encode().z

    def _smooth_mask(self, masked: Tensor) -> Tensor:
        """Return Â²m, (N,)."""
        mask = torch.zeros(len(self.smooth_expression), dtype=torch.float64)
        mask[masked] = 1.0
        smoothed = self.graph @ (self.graph @ mask.numpy())
        return torch.as_tensor(smoothed, dtype=self.smooth_expression.dtype, device=self.smooth_expression.device)


def _draw_seed() -> int:
    """Draw a random seed from the global generator on the host."""
    return int(torch.randint(2**40, ()))
