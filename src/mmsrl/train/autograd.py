"""A loss whose gradient is taken on the spot, so that nothing of it outlives the forward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class _GradientNow(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, term: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        needed = ctx.needs_input_grad[1:]
        leaves = [x.detach().requires_grad_(need) for x, need in zip(inputs, needed, strict=True)]
        with torch.enable_grad():
            loss = term(*leaves)
        if any(needed):
            wanted = [leaf for leaf in leaves if leaf.requires_grad]
            found = iter(torch.autograd.grad(loss, wanted))
            ctx.gradients = [next(found) if need else None for need in needed]
        return loss.detach()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_spend(ctx, upstream)


def _spend(ctx: Any, upstream: Tensor) -> list[Tensor | None]:
    """Return the stored gradients times ``upstream``, in place: a copy of the largest would be felt."""
    gradients, ctx.gradients = ctx.gradients, None
    if gradients is None:
        raise RuntimeError("a gradient taken at once cannot be used a second time")
    return [None if g is None else g.mul_(upstream) for g in gradients]


def gradient_now(term: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return ``term(*inputs)``, a scalar, keeping of its graph only the gradients with respect to ``inputs``.

    Everything that ``term`` keeps for its backward pass is freed before the next term starts: the peak is that of the
    largest term, not of their sum, at no extra arithmetic. The result can be differentiated once.
    """
    result: Tensor = _GradientNow.apply(term, *inputs)
    return result


class _KnownGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, gradients: list[Tensor], *inputs: Tensor) -> Tensor:
        ctx.gradients = gradients
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *_spend(ctx, upstream)


def with_gradient(value: Tensor, gradients: list[Tensor], inputs: list[Tensor]) -> Tensor:
    """Return the scalar ``value`` as a function of ``inputs`` whose ``gradients`` are known. Differentiable once."""
    result: Tensor = _KnownGradient.apply(value, gradients, *inputs)
    return result


def blocks(n: int, size: int) -> list[slice]:
    """Return slices of at most ``size`` that cover ``range(n)``."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
