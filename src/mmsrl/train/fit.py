"""The training loop of the published presets."""

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
"""One epoch: ``epoch``, ``seconds``, ``total`` and each loss term, averaged over the epoch's steps."""


class Trainable(torch.nn.Module, ABC):
    """A module with its data: what :func:`fit` needs of a preset."""

    matmul_precision: Literal["highest", "high"] = "highest"
    """Of products of single-precision matrices on a GPU; ``high`` (TF32) keeps 11 of their 24 bits and is faster."""
    large_products: bool = False
    """Whether the time goes into large products of matrices, for which :mod:`mmsrl.train.products` is made."""

    @abstractmethod
    def steps(self) -> Iterator[dict[str, Tensor]]:
        """Yield the loss terms of each optimiser step of an epoch; ``total`` is what is minimised."""

    @abstractmethod
    def converged(self, history: list[Row]) -> bool:
        """Tell from the losses alone whether further epochs are useless."""

    @abstractmethod
    def embedding(self) -> Tensor:
        """Return the embedding, (N, d), in evaluation mode: no dropout, no masks."""


def fit(
    model: Trainable,
    *,
    epochs: int,
    learning_rate: float,
    weight_decay: float,
    show_progress: bool = True,
) -> list[Row]:
    """Train ``model`` in place with Adam and return its history.

    All random numbers of an epoch follow from (``seed``, epoch).

    Raises
    ------
    NonFiniteLossError
        A loss term became NaN or infinite; the weights are those before that step.
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
                logger.info("losses have settled after epoch %d", epoch - 1)
                break
            started = time.perf_counter()
            terms = _epoch(model, optimiser, epoch)
            history.append({"epoch": epoch, "seconds": time.perf_counter() - started, **terms})
            progress.update(epoch, terms["total"])
    return history


@contextmanager
def stepping_as_gradients_arrive(weights: list[torch.nn.Parameter], optimiser: torch.optim.Optimizer) -> Iterator[None]:
    """Let ``optimiser`` step each weight in the backward pass, once its gradient is there, and drop the gradient.

    By then all else that needs the weight has been computed, so the step is the same; but the gradients of all weights
    never exist together.
    """

    def step(weight: Tensor) -> None:
        optimiser.step()  # of the one weight that has a gradient
        weight.grad = None

    hooks = [weight.register_post_accumulate_grad_hook(step) for weight in weights]  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _epoch(model: Trainable, optimiser: torch.optim.Optimizer, epoch: int) -> Row:
    model.train()
    sums: Row = {}
    count = 0
    for terms in model.steps():
        values = {name: float(value.detach()) for name, value in terms.items()}
        for name, value in values.items():
            if not math.isfinite(value):
                raise NonFiniteLossError(
                    f"epoch {epoch}: loss '{name}' is {value}; training diverged. A smaller --learning-rate than "
                    f"{optimiser.param_groups[0]['lr']:g} helps in most cases"
                )
            sums[name] = sums.get(name, 0.0) + value
        torch.autograd.backward(terms["total"])  # the optimiser steps on the way
        count += 1
    return {name: value / count for name, value in sums.items()}


@contextmanager
def flushed_denormals() -> Iterator[None]:
    """Treat denormal numbers, below 1e-38, as zero on the CPU: they cost a hundred times what others do."""
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def matmul_precision(model: Trainable, device: torch.device) -> Iterator[None]:
    """Multiply on a GPU in the precision that ``model`` asks for, whatever the process is set to."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(model.matmul_precision if device.type == "cuda" else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def memory_errors(block: int) -> Iterator[None]:
    """Turn a device's running out of memory into an error with a status of its own, for a retry in smaller blocks."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise OutOfMemoryError(_advice("the GPU", block)) from error
    except RuntimeError as error:
        # The libraries below torch say it in words of their own.
        if "can't allocate memory" in str(error):
            raise OutOfMemoryError(_advice("the machine", block)) from error
        if "CUDA error: out of memory" in str(error) or "ALLOC_FAILED" in str(error):
            raise OutOfMemoryError(_advice("the GPU", block)) from error
        raise


def _advice(what: str, block: int) -> str:
    return f"{what} has not enough memory with --block-size {block}; try {max(block // 2, 64)}, or --device cpu"
