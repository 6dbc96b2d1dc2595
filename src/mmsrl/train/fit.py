"""Training loop of the published presets."""

from __future__ import annotations

import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import torch
from torch import Tensor

from mmsrl._errors import NonFiniteLossError, OutOfMemoryError
from mmsrl.train.products import fast_products
from mmsrl.train.progress import Progress

logger = logging.getLogger(__name__)

Row = dict[str, float]
"""Losses of one epoch: ``epoch``, ``seconds``, ``total`` and each term, averaged over the steps of the epoch."""


class Trainable(torch.nn.Module, ABC):
    """Module with its data, as :func:`fit` trains it."""

    matmul_precision: Literal["highest", "high"] = "highest"
    """Precision of single-precision matrix products on a GPU. ``high`` (TF32) keeps 11 of 24 bits and is faster."""
    large_products: bool = False
    """Whether large matrix products dominate, which :mod:`mmsrl.train.products` accelerates."""

    @abstractmethod
    def steps(self) -> Iterator[dict[str, Tensor]]:
        """Yield the loss terms of each optimiser step of an epoch. ``total`` is minimised."""

    @abstractmethod
    def converged(self, history: list[Row]) -> bool:
        """Return whether the losses have converged."""

    @abstractmethod
    def embedding(self) -> Tensor:
        """Return the embedding, (N, d), in evaluation mode: without dropout and masking."""


def fit(
    model: Trainable,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    show_progress: bool = True,
) -> list[Row]:
    """Train ``model`` in place with Adam and return the losses of each epoch.

    Random numbers come from the global generator of PyTorch, which the caller seeds.

    Raises
    ------
    NonFiniteLossError
        If a loss term becomes NaN or infinite. The weights then are those before that step.
    """
    history: list[Row] = []
    weights = list(model.parameters())
    device = weights[0].device
    optimiser = torch.optim.Adam(weights, lr=learning_rate, weight_decay=weight_decay, fused=True)

    with (
        flushed_denormals(),
        fast_products(device) if model.large_products else nullcontext(),
        stepping_as_gradients_arrive(weights, optimiser),
        matmul_precision(model, device),
        Progress(epochs, show=show_progress) as progress,
    ):
        for epoch in range(1, epochs + 1):
            if model.converged(history):
                logger.info("losses have converged after epoch %d", epoch - 1)
                break
            started = time.perf_counter()
            terms = _epoch(model, optimiser, epoch)
            history.append({"epoch": epoch, "seconds": time.perf_counter() - started, **terms})
            progress.update(epoch, terms["total"])
    return history


@contextmanager
def stepping_as_gradients_arrive(weights: list[torch.nn.Parameter], optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Update each weight during the backward pass, as soon as its gradient is known, and free the gradient.

    No later computation of the pass needs the weight, so the update is the same. The gradients of all weights never
    exist together, which saves memory.
    """

    def step(weight: Tensor) -> None:
        optimiser.step()  # updates only the weight that has a gradient
        weight.grad = None

    hooks = [weight.register_post_accumulate_grad_hook(step) for weight in weights]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _epoch(model: Trainable, optimiser: torch.optim.Optimizer, epoch: int) -> Row:
    """Run one epoch and return its mean losses."""
    model.train()
    sums: Row = {}
    count = 0
    for terms in model.steps():
        values = {name: float(value.detach()) for name, value in terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"epoch {epoch}: loss '{name}' is {value}, so training diverged; give a smaller "
                    f"--learning-rate than {optimiser.param_groups[0]['lr']:g}"
                )
            sums[name] = sums.get(name, 0.0) + value
        torch.autograd.backward(terms["total"])  # also updates the weights
        count += 1
    return {name: value / count for name, value in sums.items()}


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treat denormal numbers (below 1e-38) as zero on the CPU, where they can be a hundred times slower."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def matmul_precision(model: Trainable, device: torch.device) -> Iterator[None]:
    """Use the precision of ``model`` for matrix products on a GPU, whatever the setting of the process."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(model.matmul_precision if device.type == "cuda" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def memory_errors(block: int) -> Iterator[None]:
    """Convert out-of-memory errors of the device to :class:`OutOfMemoryError`, so that the task can be retried."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(_advice("the GPU", block)) from error
    except RuntimeError as error:
        # Libraries below PyTorch raise errors with these texts.
        if "can't allocate memory" in str(error):
            raise OutOfMemoryError(_advice("the machine", block)) from error
        if "CUDA error: out of memory" in str(error) or "ALLOC_FAILED" in str(error):
            raise OutOfMemoryError(_advice("the GPU", block)) from error
        raise


def _advice(what: str, block: int) -> str:
    """Return the message of an out-of-memory error."""
    return f"{what} has not enough memory with --block-size {block}; try {max(block // 2, 64)}, or --device cpu"
