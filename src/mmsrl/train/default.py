"""The default model: an embedding in closed form, and a negative binomial decoder of the counts from it.

Shapes: N spots, G genes, B spots of a mini-batch, d embedding dimensions.

The embedding is principal components of standardised expression (the optimum of a linear autoencoder), and of the
image, smoothed on a graph whose weights stop at borders. What is trained is the decoder that predicts every spot's
counts from the embedding, given its library size: de-noised expression.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from mmsrl.train.autograd import with_gradient
from mmsrl.train.fit import Row, Trainable
from mmsrl.train.presets import Default


class DefaultInputs(NamedTuple):
    """What sections come to for the default model."""

    counts: sp.csr_matrix
    """(N, G), raw."""
    embedding: Tensor
    """(N, d)."""


class ClosedForm(Trainable):
    """An embedding that is already there, (N, d), and nothing to train."""

    def __init__(self, z: Tensor) -> None:
        super().__init__()
        self.z = z

    def fixed(self) -> list[NDArray[Any]]:
        """Return the arrays that identify the data."""
        return [self.z.cpu().numpy()]

    def steps(self) -> Iterator[dict[str, Tensor]]:
        """Yield nothing."""
        yield from ()

    def converged(self, history: list[Row]) -> bool:
        """Return True."""
        return True

    def embedding(self) -> Tensor:
        """Return z, (N, d)."""
        return self.z


class DefaultModel(ClosedForm):
    """Counts of spot n and gene g ~ NB(mean libraryₙ·softmax(zₙV + c)_g, dispersion θ_g).

    V starts at 0, c at the genes' shares of all counts and θ at 1: training starts from the best constant prediction.
    """

    matmul_precision = "high"  # the embedding is not trained, and the loss is sampled more coarsely than that

    def __init__(self, inputs: DefaultInputs, settings: Default, *, device: torch.device | str = "cpu") -> None:
        super().__init__(inputs.embedding.to(device))
        n_genes = inputs.counts.shape[1]
        self.settings, self.counts = settings, inputs.counts
        self.decoder = nn.Linear(inputs.embedding.shape[1], n_genes)
        share = torch.as_tensor(np.asarray(inputs.counts.sum(axis=0)).ravel() + 0.5)
        with torch.no_grad():
            self.decoder.weight.zero_()
            self.decoder.bias.copy_((share / share.sum()).log())
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        # The decoder takes z in units of its deviations over all spots of the unit: they belong to the weights.
        self.scale: Tensor
        self.register_buffer("scale", inputs.embedding.std(dim=0).clamp(min=1e-6))
        self.to(device)
        self.unit_z = self.z / self.scale
        library = torch.as_tensor(np.asarray(inputs.counts.sum(axis=1)).ravel())  # (N,), of the modelled genes
        self.log_library = library.clamp(min=1.0).log().to(device)

    def fixed(self) -> list[NDArray[Any]]:
        """Return the arrays that identify the data."""
        return [self.counts.indices, self.counts.data, *super().fixed()]

    def steps(self) -> Iterator[dict[str, Tensor]]:
        """Yield the loss of each mini-batch of one pass over all spots, or over a random choice of many."""
        visited = torch.randperm(len(self.z))[: self.settings.epoch_spots]
        for rows in torch.split(visited, self.settings.batch_spots):
            x = torch.as_tensor(self.counts[rows.numpy()].toarray(), device=self.z.device)  # (B, G)
            yield {"total": negative_binomial(x, self.log_mean(rows.to(self.z.device)), self.log_dispersion)}

    def log_mean(self, rows: Tensor) -> Tensor:
        """Return log μ of some spots, (B, G)."""
        return self.log_library[rows, None] + F.log_softmax(self.decoder(self.unit_z[rows]), dim=1)

    def converged(self, history: list[Row]) -> bool:
        """Tell whether the loss fell by less than ``settings.tolerance`` of itself over the last three epochs."""
        if len(history) < 4:
            return False
        before, now = history[-4]["total"], history[-1]["total"]
        return before - now < self.settings.tolerance * abs(now)


def negative_binomial(x: Tensor, log_mu: Tensor, log_theta: Tensor) -> Tensor:
    """Return the mean negative log likelihood of counts, with its gradient taken at once.

    -log NB = θ·log(1 + μ/θ) + x·(log(1 + μ/θ) + log θ - log μ) + lnΓ(θ) - lnΓ(x+θ) + lnΓ(x+1), of which all but the
    first is 0 where x = 0 and only taken elsewhere. With m = (x - μ)/(1 + μ/θ) the derivatives are -m by log μ and
    Σ (θ·log(1 + μ/θ) + m) by log θ, plus θ·(ψ(θ) - ψ(x+θ)) where x > 0: half the passes that autograd would make.

    Parameters
    ----------
    x, log_mu
        (B, G).
    log_theta
        (G,).
    """
    value, gradients = _likelihood(x, log_mu, log_theta)
    return with_gradient(value, gradients, [log_mu, log_theta])


@torch.no_grad()
def _likelihood(x: Tensor, log_mu: Tensor, log_theta: Tensor) -> tuple[Tensor, list[Tensor]]:
    theta, mu = log_theta.exp(), log_mu.exp()
    ratio = mu / theta
    log_ratio = ratio.log1p()
    miss = (x - mu).div_(ratio.add_(1.0))
    by_gene = theta * log_ratio.sum(dim=0)
    row, gene = x.nonzero(as_tuple=True)
    value, shape = x[row, gene], theta[gene]
    stored = value * (log_ratio[row, gene] + log_theta[gene] - log_mu[row, gene])
    stored += torch.lgamma(shape) - torch.lgamma(value + shape) + torch.lgamma(value + 1.0)
    d_theta = by_gene + miss.sum(dim=0)
    d_theta.index_add_(0, gene, shape * (torch.digamma(shape) - torch.digamma(value + shape)))
    each = 1.0 / x.numel()
    return (by_gene.sum() + stored.sum()) * each, [miss.mul_(-each), d_theta.mul_(each)]
