"""The default model: a linear encoder of smoothed expression and image, a negative binomial decoder of counts.

Shapes: N spots, G genes, B spots of a mini-batch, d embedding dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mmsrl.train.fit import Row
from mmsrl.train.presets import Default


class DefaultInputs(NamedTuple):
    """What sections come to for the default model."""

    counts: sp.csr_matrix
    """(N, G), raw."""
    library: Tensor
    """(N,), total counts of all genes."""
    views: Tensor
    """(N, k): smoothed components of expression and, weighted, of the image."""


class DefaultModel(nn.Module):
    """Encoder z = views·W + b; decoder μ = library·softmax(z·V + c), one dispersion a gene."""

    def __init__(self, inputs: DefaultInputs, settings: Default, *, device: torch.device | str = "cpu") -> None:
        super().__init__()
        n_genes = inputs.counts.shape[1]
        self.settings, self.counts = settings, inputs.counts
        self.encoder = nn.Linear(inputs.views.shape[1], settings.hidden_dim)
        self.decoder = nn.Linear(settings.hidden_dim, n_genes)
        self.log_dispersion = nn.Parameter(torch.zeros(n_genes))
        self.to(device)
        self.views = inputs.views.to(device)
        self.log_library = inputs.library.clamp(min=1.0).log().to(device)

    def fixed(self) -> list[np.ndarray]:
        """Return the arrays that identify the data."""
        return [self.counts.data, self.views.cpu().numpy()]

    def steps(self) -> Iterator[dict[str, Tensor]]:
        """Yield the loss of each mini-batch of one pass over all spots."""
        for rows in torch.randperm(len(self.views)).split(self.settings.batch_spots):
            x = torch.as_tensor(self.counts[rows.numpy()].toarray(), device=self.views.device)  # (B, G)
            rows = rows.to(self.views.device)
            log_mu = self.log_library[rows, None] + F.log_softmax(self.decoder(self.encoder(self.views[rows])), dim=1)
            yield {"total": negative_binomial(x, log_mu, self.log_dispersion)}

    def converged(self, history: list[Row]) -> bool:
        """Tell whether the loss fell by less than 1e-4 of itself over the last five epochs."""
        return len(history) > 5 and history[-6]["total"] - history[-1]["total"] < 1e-4 * abs(history[-1]["total"])

    @torch.no_grad()
    def embedding(self) -> Tensor:
        """Return z, (N, d)."""
        self.eval()
        z: Tensor = self.encoder(self.views)
        return z


def negative_binomial(x: Tensor, log_mu: Tensor, log_theta: Tensor) -> Tensor:
    """Return the mean negative log likelihood of counts ``x`` (B, G), up to a constant; ``log_theta``: (G,)."""
    theta = log_theta.exp()
    log_sum = torch.logaddexp(log_mu, log_theta)
    loss = (theta * (log_sum - log_theta)).sum()
    seen = x > 0
    value, gene = x[seen], seen.nonzero()[:, 1]
    shape = theta[gene]
    loss = loss + (value * (log_sum[seen] - log_mu[seen]) - torch.lgamma(value + shape) + torch.lgamma(shape)).sum()
    return loss / x.numel()
