"""Products by oneDNN: the same numbers, for every layout that training has, and only where they are meant."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from mmsrl import _device
from mmsrl.train import products

M, K, N = 300, 257, 280


def normal(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "rows": lambda x: x.contiguous(),
    "columns": lambda x: x.T.contiguous().T,
    "part of wider rows": lambda x: torch.cat([x, x], dim=1)[:, : x.shape[1]],
    "part of wider columns": lambda x: torch.cat([x.T, x.T], dim=1)[:, : x.shape[0]].T,
}
OPERATIONS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mm": lambda a, b: a @ b,
    "addmm with a vector": lambda a, b: torch.addmm(normal(N).to(a), a, b),
    "addmm with a matrix": lambda a, b: torch.addmm(normal(M, N).to(a), a, b),
    "addmm in place": lambda a, b: normal(M, N).to(a).addmm_(a, b),
    "addmm into": lambda a, b: torch.addmm(normal(N).to(a), a, b, out=normal(M, N).to(a)),
    "linear": lambda a, b: torch.nn.functional.linear(a, b.T, normal(N).to(a)),
}


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """Return a list that grows with every product that oneDNN is given."""
    shapes: list[tuple[int, ...]] = []
    mm = products._mm

    def noted(a: Tensor, b: Tensor, bias: Tensor | None = None) -> Tensor:
        shapes.append((*a.shape, b.shape[1]))
        return mm(a, b, bias)

    monkeypatch.setattr(products, "_mm", noted)
    monkeypatch.setitem(products.PRODUCTS, torch.ops.aten.mm.default, noted)
    return shapes


@pytest.mark.parametrize("right", LAYOUTS)
@pytest.mark.parametrize("left", LAYOUTS)
@pytest.mark.parametrize("name", OPERATIONS)
def test_a_large_product_is_that_in_double(name: str, left: str, right: str, taken: list[tuple[int, ...]]) -> None:
    a, b = LAYOUTS[left](normal(M, K)), LAYOUTS[right](normal(K, N))
    with products.OneDNN():
        found = OPERATIONS[name](a, b)
    assert taken == [(M, K, N)]
    torch.testing.assert_close(found.double(), OPERATIONS[name](a.double(), b.double()), rtol=1e-5, atol=1e-4)


def test_products_of_the_backward_pass_are_taken_too(taken: list[tuple[int, ...]]) -> None:
    a, b = normal(M, K).requires_grad_(), normal(K, N).requires_grad_()
    with products.OneDNN():
        (a @ b).square().sum().backward()
    assert sorted(taken) == sorted([(M, K, N), (M, N, K), (K, M, N)])
    expected = 2.0 * (a.detach().double() @ b.detach().double()) @ b.detach().double().T
    assert a.grad is not None
    torch.testing.assert_close(a.grad.double(), expected, rtol=1e-5, atol=2e-2)


def test_small_ones_doubles_and_scaled_ones_are_left_alone(taken: list[tuple[int, ...]]) -> None:
    a, b, c = normal(M, K), normal(K, N), normal(M, N)
    with products.OneDNN():
        assert torch.equal(a[:10] @ b, torch.mm(a[:10], b))
        assert (a.double() @ b.double()).dtype == torch.float64
        scaled = torch.addmm(c, a, b, alpha=2.0, beta=0.5)
    assert taken == []
    torch.testing.assert_close(scaled, 0.5 * c + 2.0 * (a @ b), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("capability", "vendor", "slow"),
    [("AVX512", "AuthenticAMD", True), ("AVX512", "GenuineIntel", False), ("AVX2", "AuthenticAMD", False)],
)
def test_mkl_is_slow_where_avx512_is_not_of_intel(
    capability: str, vendor: str, slow: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(f"processor\t: 0\nvendor_id\t: {vendor}\n")
    monkeypatch.setattr(_device, "CPUINFO", cpuinfo)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    _device.mkl_is_slow.cache_clear()
    try:
        assert _device.mkl_is_slow() is slow
        assert isinstance(products.fast_products(torch.device("cpu")), products.OneDNN if slow else nullcontext)
        # A GPU's products are its own, and looking at every operation would hold it up.
        assert isinstance(products.fast_products(torch.device("cuda")), nullcontext)
    finally:
        _device.mkl_is_slow.cache_clear()
