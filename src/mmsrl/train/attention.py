"""Self-attention over all spots without an N×N matrix, exact, with exact gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from mmsrl.train.autograd import blocks


def keep_mask(like: Tensor, dropout: float, seed: int, key: int) -> Tensor:
    """Draw the dropout mask of one block, of the shape of ``like``: 0, or 1/(1 − dropout).

    A block's generator is seeded by (seed, key) alone, so that the backward pass draws the same mask again instead of
    keeping N² numbers. Each entry takes 16 random bits, four to an integer drawn: ``dropout`` is kept to 2⁻¹⁷, in a
    third of the time of a Bernoulli draw for each.
    """
    generator = torch.Generator(like.device).manual_seed((seed * 1_000_003 + key) % 2**63)
    drawn = torch.empty(-(-like.numel() // 4), dtype=torch.int64, device=like.device)
    bits = drawn.random_(-(2**63), None, generator=generator).view(torch.int16)[: like.numel()]
    dropped = min(round(dropout * 2**16), 2**16 - 1)
    # A shape, not the strides of ``like``: the mask must not depend on the order of memory.
    return (bits >= dropped - 2**15).view(like.shape).to(like.dtype).mul_(1.0 / (1.0 - dropped / 2**16))


class _SelfAttention(torch.autograd.Function):
    """See :func:`self_attention`.

    Scores are symmetric, so each pair of blocks (i, j ≥ i) is computed once and used for the rows of both. Forward is
    an online softmax. Backward recomputes the scores of a pair; with D the row sums of dO ∘ O, the gradient of the
    scores is P ∘ (dP − D), and with Y = (dS + dSᵀ) x it is dx = Y·metric + dV and dmetric = ½ xᵀ Y.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, metric: Tensor | None, scale: float, dropout: float, seed: int, block: int
    ) -> Tensor:
        n = len(x)
        query = x * scale if metric is None else x @ metric
        slices = blocks(n, block)
        out = torch.zeros_like(x)
        top = x.new_full((n, 1), -torch.inf)
        total = x.new_zeros(n, 1)

        def add(rows: slice, cols: slice, scores: Tensor, key: int) -> None:
            higher = torch.maximum(top[rows], scores.amax(dim=1, keepdim=True))
            weights = torch.exp(scores - higher)
            shrink = torch.exp(top[rows] - higher)
            top[rows] = higher
            total[rows] = total[rows] * shrink + weights.sum(dim=1, keepdim=True)
            if dropout:
                weights *= keep_mask(weights, dropout, seed, key)
            out[rows] *= shrink
            out[rows].addmm_(weights, x[cols])

        for i, rows in enumerate(slices):
            for j, cols in enumerate(slices[i:], start=i):
                scores = query[rows] @ x[cols].T  # (block, block)
                add(rows, cols, scores, i * len(slices) + j)
                if i != j:
                    add(cols, rows, scores.T, j * len(slices) + i)
        out /= total
        ctx.save_for_backward(x, metric, out, top + total.log())
        ctx.settings = scale, dropout, seed, block
        return out

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        x, metric, out, log_total = ctx.saved_tensors
        scale, dropout, seed, block = ctx.settings
        query = x * scale if metric is None else x @ metric
        slices = blocks(len(x), block)
        mean = (upstream * out).sum(dim=1, keepdim=True)
        d_value = torch.zeros_like(x)
        y = torch.zeros_like(x)

        def d_scores(rows: slice, cols: slice, scores: Tensor, key: int) -> Tensor:
            weights = torch.exp(scores - log_total[rows])
            d_weights = upstream[rows] @ x[cols].T
            if dropout:
                keep = keep_mask(weights, dropout, seed, key)
                d_weights *= keep
                d_value[cols].addmm_((weights * keep).T, upstream[rows])
            else:
                d_value[cols].addmm_(weights.T, upstream[rows])
            return weights.mul_(d_weights.sub_(mean[rows]))

        for i, rows in enumerate(slices):
            for j, cols in enumerate(slices[i:], start=i):
                scores = query[rows] @ x[cols].T
                both = d_scores(rows, cols, scores, i * len(slices) + j)
                if i == j:
                    y[rows].addmm_(both + both.T, x[rows])
                else:
                    both = both + d_scores(cols, rows, scores.T, j * len(slices) + i).T
                    y[rows].addmm_(both, x[cols])
                    y[cols].addmm_(both.T, x[rows])
        if metric is None:
            return d_value.add_(y, alpha=scale), None, None, None, None, None
        d_metric = 0.5 * (x.T @ y) if ctx.needs_input_grad[1] else None
        d_x = d_value.addmm_(y, metric) if ctx.needs_input_grad[0] else None
        return d_x, d_metric, None, None, None, None


def self_attention(
    x: Tensor, *, block: int, metric: Tensor | None = None, scale: float = 1.0, dropout: float = 0.0, seed: int = 0
) -> Tensor:
    """Return dropout(softmax(x·metric·xᵀ)) x, with softmax(scale·x·xᵀ) where there is no metric.

    Exact: the softmax is taken over all n spots, block by block. Memory is O(n·d + block²), time O(n²·d).
    For values that factor as E = T·M the attention of E is that of T with metric M·Mᵀ·scale, times M:
    softmax(scale·E·Eᵀ) E = (softmax(T·metric·Tᵀ) T) M, at the cost of T's columns instead of E's.

    Parameters
    ----------
    x
        (n, d): queries, keys and values at once, as the published models have no projections.
    block
        Rows of a block.
    metric
        (d, d), symmetric.
    dropout
        Probability of leaving out an attention weight.
    seed
        Of the dropout.

    Returns
    -------
    (n, d).
    """
    result: Tensor = _SelfAttention.apply(x, metric, scale, dropout, seed, block)
    return result
