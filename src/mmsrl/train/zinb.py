"""Zero-inflated negative binomial (ZINB) likelihood and its gradient, in one pass over blocks of spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import softplus

from mmsrl.train.autograd import blocks, with_gradient
from mmsrl.train.presets import MEAN_RANGE

THETA_RANGE = (1e-4, 1e4)
CACHED_SPOTS = 64
"""Number of spots per likelihood computation on a CPU, so that its twenty passes stay in the cache."""

LINEAR_FROM = 40.0
"""Value beyond which softplus(y) equals y in double precision."""


class Entries(NamedTuple):
    """The non-zero entries of an (n, G) matrix in row order, on one device."""

    start: list[int]
    """(n + 1,), start of each row."""
    position: Tensor
    """(nnz,) int64, row·G + column."""
    value: Tensor
    """(nnz,)."""
    log_factorial: Tensor
    """(nnz,), lgamma(value + 1)."""

    @classmethod
    def of(cls, matrix: sp.csr_matrix, dtype: torch.dtype, device: torch.device | str = "cpu") -> Entries:
        """Copy a CSR matrix to the device. Entries below 1e-8 count as zero, as in the published likelihood."""
        matrix = sp.csr_matrix(matrix, copy=True)
        matrix.data[matrix.data < 1e-8] = 0.0
        matrix.eliminate_zeros()
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
        value = torch.as_tensor(matrix.data, dtype=dtype, device=device)
        position = torch.as_tensor(rows * matrix.shape[1] + matrix.indices, device=device)
        return cls(matrix.indptr.tolist(), position, value, torch.lgamma(value + 1.0))


def _block_gradient(heads: Sequence[Tensor], entries: Entries, rows: slice, ridge: float) -> Tensor:
    """Return the summed loss of a block, and overwrite ``heads``, three (b, G), with its gradient.

    Let a be the logit of π, and log p₀ = −θ·log(1 + μ/θ) the log probability of a zero count. The loss of an entry is

    - zero: −log(π + (1 − π)p₀) = softplus(a) − logaddexp(a, log p₀), computed for all entries first
    - non-zero: softplus(a) + lnΓ(θ) + lnΓ(x+1) − lnΓ(x+θ) + (θ+x)·log(1 + μ/θ) + x·(log θ − log μ), which then
      replaces the loss of the stored entries. lnΓ and its derivative are not computed for zeros

    plus ridge·π². These forms need no ε inside logarithms.
    """
    a, s, v = heads
    theta_free, mu_free = softplus(s), torch.exp(v)
    theta, mu = theta_free.clamp(*THETA_RANGE), mu_free.clamp(*MEAN_RANGE)
    log_ratio = torch.log1p(mu / theta)
    log_p0 = -theta * log_ratio
    pi = torch.sigmoid(a)
    gap = a - log_p0
    dropped = torch.sigmoid(gap)  # probability that a zero is a dropout
    share = mu / (theta + mu)

    loss = softplus(a, threshold=LINEAR_FROM) - softplus(gap, threshold=LINEAR_FROM) - log_p0
    d_theta = (1.0 - dropped) * (log_ratio - share)
    d_mu = (1.0 - dropped) * (theta * share)  # times dμ/dv = μ

    stored = slice(entries.start[rows.start], entries.start[rows.stop])
    at = entries.position[stored] - rows.start * a.shape[1]
    x = entries.value[stored]
    theta_x, mu_x, log_ratio_x, a_x = (t.view(-1)[at] for t in (theta, mu, log_ratio, a))
    loss.view(-1)[at] = (
        softplus(a_x, threshold=LINEAR_FROM)
        + torch.lgamma(theta_x)
        + entries.log_factorial[stored]
        - torch.lgamma(x + theta_x)
        + (theta_x + x) * log_ratio_x
        + x * (theta_x.log() - mu_x.log())
    )
    miss = (mu_x - x) / (theta_x + mu_x)
    d_theta.view(-1)[at] = torch.digamma(theta_x) - torch.digamma(x + theta_x) + log_ratio_x - miss
    d_mu.view(-1)[at] = theta_x * miss
    dropped.view(-1)[at] = 0.0

    total = loss.sum(dtype=torch.float64) + ridge * pi.square().sum(dtype=torch.float64)
    # The gradient of clamped values is 0.
    torch.mul(d_mu, mu_free == mu, out=v)
    torch.mul(d_theta.mul_(theta_free == theta), torch.sigmoid(s), out=s)
    torch.sub(pi, dropped, out=a)
    a.add_(pi.square().mul_(1.0 - pi), alpha=2.0 * ridge)
    return total


def zinb_loss(
    r: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], entries: Entries, *, ridge: float, block: int
) -> Tensor:
    """Return the mean ZINB negative log likelihood, plus ridge·π², over all (n, G) entries.

    Heads, likelihood and gradient are computed block by block, so no array of size n×G exists.

    Parameters
    ----------
    r
        (n, h), hidden values of the decoder.
    weights, biases
        Three (G, h) and three (G,): the heads of π, θ and μ.
    entries
        Non-zero entries of the (n, G) target.
    ridge
        Weight of the ridge penalty on π.
    block
        Number of spots per block.

    Notes
    -----
    Eraslan et al., Nature Communications 10, 390 (2019). MMSRL fits it to log-normalised values.
    """
    value, gradients = _heads_pass(r, weights, biases, entries, ridge, block)
    return with_gradient(value, gradients, [r, *weights, *biases])


@torch.no_grad()
def _heads_pass(
    r: Tensor, weights: Sequence[Tensor], biases: Sequence[Tensor], entries: Entries, ridge: float, block: int
) -> tuple[Tensor, list[Tensor]]:
    n, n_genes = len(r), len(biases[0])
    each = 1.0 / (n * n_genes)
    d_r = torch.zeros_like(r)
    d_weights, d_biases = [torch.zeros_like(w) for w in weights], [torch.zeros_like(b) for b in biases]
    total = torch.zeros((), dtype=torch.float64, device=r.device)
    buffers = [r.new_empty(min(block, n), n_genes) for _ in range(3)]
    at_once = CACHED_SPOTS if r.device.type == "cpu" else block
    for rows in blocks(n, block):
        heads = [buffer[: rows.stop - rows.start] for buffer in buffers]
        for head, weight, bias in zip(heads, weights, biases, strict=True):
            torch.addmm(bias, r[rows], weight.T, out=head)
        for part in blocks(rows.stop - rows.start, at_once):
            spots = slice(rows.start + part.start, rows.start + part.stop)
            total += _block_gradient([head[part] for head in heads], entries, spots, ridge)
        for k, d_head in enumerate(heads):
            d_head *= each
            d_r[rows].addmm_(d_head, weights[k])
            d_weights[k].addmm_(d_head.T, r[rows])
            d_biases[k] += d_head.sum(dim=0)
    return (total * each).to(r.dtype), [d_r, *d_weights, *d_biases]
