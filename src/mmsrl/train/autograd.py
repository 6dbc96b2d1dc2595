"""Gradients that are computed in the forward pass, to save the memory of autograd."""

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
            gradients = iter(torch.autograd.grad(loss, wanted))
            ctx.gradients = [next(gradients) if need else None for need in needed]
        return loss.detach()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        return None, *_scaled_gradients(ctx, upstream)


def _scaled_gradients(ctx: Any, upstream: Tensor) -> list[Tensor | None]:
    """Return the stored gradients times ``upstream``, in place, because a copy of the largest costs memory."""
    gradients, ctx.gradients = ctx.gradients, None
    if gradients is None:
        raise RuntimeError("a gradient of the forward pass cannot be used a second time")
    return [None if g is None else g.mul_(upstream) for g in gradients]


def gradient_now(term: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Return the scalar ``term(*inputs)`` and store its gradients instead of its graph.

    The memory of the graph is freed before the next term starts. The peak is that of the largest term instead of the
    sum, without extra arithmetic. The result can be differentiated once.
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
        return None, None, *_scaled_gradients(ctx, upstream)


def with_gradient(value: Tensor, gradients: list[Tensor], inputs: list[Tensor]) -> Tensor:
    """Attach known ``gradients`` with respect to ``inputs`` to the scalar ``value``. It can be differentiated once."""
    result: Tensor = _KnownGradient.apply(value, gradients, *inputs)
    return result


class _ReluDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, rate: float) -> Tensor:
        x.relu_()
        if rate:
            x.mul_(torch.empty_like(x).bernoulli_(1.0 - rate)).div_(1.0 - rate)
        ctx.mark_dirty(x)
        ctx.save_for_backward(x)
        ctx.rate = rate
        return x

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None]:
        (out,) = ctx.saved_tensors
        return (upstream * (out > 0)).div_(1.0 - ctx.rate), None


def relu_dropout_(x: Tensor, rate: float) -> Tensor:
    """Compute dropout(ReLU(``x``)) in place. The backward pass needs only the result."""
    result: Tensor = _ReluDropout.apply(x, rate)
    return result


def unit_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the rows of ``x`` scaled to unit length, and their lengths, (n, 1)."""
    length = x.norm(dim=1, keepdim=True).clamp_(min=1e-12)
    return x / length, length


def through_unit_rows_(unit: Tensor, length: Tensor, gradient: Tensor) -> Tensor:
    """Convert the gradient with respect to unit rows, in place, to the gradient with respect to the original rows."""
    along = torch.einsum("nh,nh->n", unit, gradient)[:, None]
    return gradient.addcmul_(unit, along, value=-1.0).div_(length)


def blocks(n: int, size: int) -> list[slice]:
    """Return slices of at most ``size`` that cover ``range(n)``."""
    return [slice(start, min(start + size, n)) for start in range(0, n, size)]
