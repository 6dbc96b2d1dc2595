"""Products of matrices on processors that PyTorch's own library does not make full use of."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mmsrl._device import mkl_is_slow

SMALLEST = 2**24
"""Multiplications from which on a product goes to oneDNN; smaller ones take no time."""


def _packed(a: Tensor) -> Tensor:
    """Return ``a``, or a copy where it is part of a wider matrix: oneDNN takes those element by element."""
    return a if a.is_contiguous() or a.T.is_contiguous() else a.contiguous()


def _mm(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
    result: Tensor = torch.ops.mkldnn._linear_pointwise(_packed(a), _packed(b.T), bias, "none", [], "")
    return result


def _addmm(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return _mm(a, b, c) if c.ndim == 1 else _mm(a, b).add_(c)


def _addmm_(c: Tensor, a: Tensor, b: Tensor) -> Tensor:
    return c.add_(_mm(a, b))


def _addmm_out(c: Tensor, a: Tensor, b: Tensor, *, out: Tensor) -> Tensor:
    return out.copy_(_addmm(c, a, b))


_aten = torch.ops.aten
PRODUCTS: dict[Any, Callable[..., Tensor]] = {
    _aten.mm.default: _mm,
    _aten.addmm.default: _addmm,
    _aten.addmm_.default: _addmm_,
    _aten.addmm.out: _addmm_out,
}


class OneDNN(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within this context, products of large single-precision matrices on a CPU are oneDNN's, backward ones too.

    PyTorch multiplies by MKL, which takes the AVX-512 units of Intel's processors alone. oneDNN, which PyTorch has as
    well, takes those of every maker: the same sums in single precision, in half the time on an AMD EPYC of 2024. What
    every operation costs to be looked at, 10 µs, is lost where products are small.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        own, kwargs = PRODUCTS.get(func), kwargs or {}
        if own and kwargs.keys() <= {"out"} and _is_large(*args[-2:]):
            return own(*args, **kwargs)
        return func(*args, **kwargs)


def _is_large(a: Tensor, b: Tensor) -> bool:
    return a.dtype == torch.float32 and a.numel() * b.shape[1] >= SMALLEST


def fast_products(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which large products on ``device`` are taken by the library that is fast there."""
    return OneDNN() if device.type == "cpu" and mkl_is_slow() else nullcontext()  # type: ignore[no-untyped-call]
