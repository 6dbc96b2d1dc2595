"""Each fast form on its own against its plain formula: value and gradient, in double and in single."""

from __future__ import annotations

from collections.abc import Callable

import dense
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor

from mmsrl.graph import gaussian_graph
from mmsrl.train import losses
from mmsrl.train.attention import self_attention
from mmsrl.train.zinb import Entries, zinb_loss

PRECISIONS = [(torch.float64, 1e-10), (torch.float32, 1e-5)]
in_both_precisions = pytest.mark.parametrize(("dtype", "tolerance"), PRECISIONS, ids=["double", "single"])


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.as_tensor(np.random.default_rng(seed).standard_normal(shape))


def assert_same(
    fast: Callable[..., Tensor],
    plain: Callable[..., Tensor],
    inputs: list[Tensor],
    dtype: torch.dtype,
    tolerance: float,
) -> None:
    """Compare value and gradients; the plain form runs in double."""
    ours = [x.to(dtype, copy=True).requires_grad_() for x in inputs]
    exact = [x.to(dtype).double().requires_grad_() for x in inputs]
    value, expected = fast(*ours), plain(*exact)
    weight = normal(*expected.shape, seed=9)  # an arbitrary upstream gradient
    (value * weight.to(dtype)).sum().backward()
    (expected * weight).sum().backward()
    assert relative_error(value, expected) <= tolerance
    for x, y in zip(ours, exact, strict=True):
        assert relative_error(x.grad, y.grad) <= tolerance


def relative_error(value: Tensor, expected: Tensor) -> float:
    return float((value.detach().double() - expected.detach()).norm() / expected.detach().norm())


def lattice_graph(rows: int, cols: int) -> sp.csr_matrix:
    return gaussian_graph([(r, 2 * c + r % 2) for r in range(rows) for c in range(cols)], 2.0)


@in_both_precisions
@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("block", [16, 32, 200])
def test_attention(dtype: torch.dtype, tolerance: float, dropout: float, block: int) -> None:
    x = normal(75, 12)
    mask = torch.ones(75, 75) if dropout == 0 else dense.dropout_mask(75, block, dropout, 5, torch.ones(1, dtype=dtype))

    def plain(x: Tensor) -> Tensor:
        return (torch.softmax(0.3 * x @ x.T, dim=1) * mask.double()) @ x

    def fast(x: Tensor) -> Tensor:
        return self_attention(x, block=block, scale=0.3, dropout=dropout, seed=5)

    assert_same(fast, plain, [x], dtype, tolerance)


@in_both_precisions
def test_attention_in_the_factor_of_a_low_rank_value(dtype: torch.dtype, tolerance: float) -> None:
    def fast(t: Tensor, m: Tensor) -> Tensor:
        return self_attention(t, block=16, metric=0.2 * m @ m.T, dropout=0.0) @ m

    def plain(t: Tensor, m: Tensor) -> Tensor:
        e = t @ m
        return torch.softmax(0.2 * e @ e.T, dim=1) @ e

    assert_same(fast, plain, [normal(60, 4), normal(4, 20, seed=1)], dtype, tolerance)


def test_attention_with_scores_beyond_the_exponential_of_single_precision() -> None:
    x = (30.0 * normal(40, 5)).float()
    expected = torch.softmax((x @ x.T).double(), dim=1) @ x.double()
    torch.testing.assert_close(self_attention(x, block=16).double(), expected, rtol=1e-4, atol=1e-4)


def test_dropout_masks_of_different_blocks_and_seeds_differ_and_keep_the_mean() -> None:
    ones = torch.ones(1)
    mask = dense.dropout_mask(600, 200, 0.1, 1, ones)
    assert mask.unique().tolist() == pytest.approx([0.0, 1 / 0.9], rel=2**-16)
    assert float(mask.mean()) == pytest.approx(1.0, abs=0.01)
    assert not torch.equal(mask[:200, :200], mask[200:400, :200])
    assert not torch.equal(mask, dense.dropout_mask(600, 200, 0.1, 2, ones))


@in_both_precisions
@pytest.mark.parametrize("n", [40, 100], ids=["blocks", "grams"])
def test_consistency(dtype: torch.dtype, tolerance: float, n: int) -> None:
    def fast(a: Tensor, b: Tensor) -> Tensor:
        return losses.consistency_loss(a, b, block=16)

    assert_same(fast, dense.consistency, [normal(n, 30), normal(n, 30, seed=1)], dtype, tolerance)


def test_consistency_does_not_cancel_where_the_views_agree() -> None:
    """The difference of three Gram norms loses all digits here; the published N×N form does not, nor does this one."""
    a = normal(200, 20)
    b = a + 1e-5 * normal(200, 20, seed=1)
    value = losses.consistency_loss(a.float(), b.float(), block=64)
    exact = dense.consistency(a.float().double(), b.float().double())
    assert float(value) == pytest.approx(float(exact), rel=0.05)


@in_both_precisions
def test_contrastive(dtype: torch.dtype, tolerance: float) -> None:
    views = [normal(50, 12).abs(), normal(50, 12, seed=1).abs()]
    assert_same(losses.contrastive_loss, dense.contrastive, views, dtype, tolerance)


def test_contrastive_is_ten_times_the_margins_entropies_minus_the_joint() -> None:
    a, b = normal(50, 12).abs(), normal(50, 12, seed=1).abs()
    joint = a.T @ b
    joint = (joint + joint.T) / (2 * joint.sum())

    def entropy(p: Tensor) -> float:
        return float(-(p * p.log()).sum())

    expected = 10 * entropy(joint.sum(0)) + 10 * entropy(joint.sum(1)) - entropy(joint)
    assert float(losses.contrastive_loss(a, b)) == pytest.approx(expected, rel=1e-12)


@in_both_precisions
@pytest.mark.parametrize("block", [16, 25, 500])
def test_regularisation(dtype: torch.dtype, tolerance: float, block: int) -> None:
    graph = lattice_graph(9, 8)
    pairs = losses.PairEntries.of(graph, block, dtype)

    def fast(z: Tensor) -> Tensor:
        return losses.regularisation_loss(z, pairs)

    def plain(z: Tensor) -> Tensor:
        return dense.regularisation(z, torch.as_tensor(graph.toarray()))

    assert_same(fast, plain, [normal(72, 10)], dtype, tolerance)


@in_both_precisions
def test_masked_reconstruction(dtype: torch.dtype, tolerance: float) -> None:
    x = np.random.default_rng(3).poisson(0.8, (40, 15)).astype(np.float64)
    masked = torch.arange(0, 40, 2)
    entries = Entries.of(sp.csr_matrix(x), dtype)

    def fast(r: Tensor, token: Tensor) -> Tensor:
        return losses.masked_loss(r, masked, entries, token)

    def plain(r: Tensor, token: Tensor) -> Tensor:
        return dense.masked_reconstruction(r, torch.as_tensor(x) + token, masked)

    assert_same(fast, plain, [normal(40, 15).abs(), normal(15, seed=2)], dtype, tolerance)


@in_both_precisions
@pytest.mark.parametrize("scale", [0.3, 3.0], ids=["moderate", "up to the clamps"])
def test_zinb(dtype: torch.dtype, tolerance: float, scale: float) -> None:
    n, h, n_genes = 50, 8, 14
    rng = np.random.default_rng(0)
    x = np.log1p(rng.poisson(1.0, (n, n_genes)) * 1.7)
    names = ["pi.weight", "theta.weight", "mu.weight", "pi.bias", "theta.bias", "mu.bias"]
    inputs = [normal(n, h)]
    inputs += [scale * normal(n_genes, h, seed=k) for k in (1, 2, 3)] + [
        scale * normal(n_genes, seed=k) for k in (4, 5, 6)
    ]
    target = torch.as_tensor(x, dtype=dtype).double()
    entries = Entries.of(sp.csr_matrix(x), dtype)

    def fast(r: Tensor, *parameters: Tensor) -> Tensor:
        return zinb_loss(r, parameters[:3], parameters[3:], entries, ridge=0.7, block=16)

    def plain(r: Tensor, *parameters: Tensor) -> Tensor:
        return dense.zinb(target, r, dict(zip(names, parameters, strict=True)), 0.7)

    assert_same(fast, plain, inputs, dtype, tolerance)


def test_zinb_stays_finite_where_the_plain_form_does_not() -> None:
    """log(1 − π) and log of a vanishing zero probability overflow in the plain form; no ε is needed here."""
    r = torch.tensor([[200.0], [-200.0]], requires_grad=True)
    weights = [torch.ones(2, 1) for _ in range(3)]
    entries = Entries.of(sp.csr_matrix(np.array([[0.0, 2.0], [0.0, 2.0]])), torch.float32)
    value = zinb_loss(r, weights, [torch.zeros(2) for _ in range(3)], entries, ridge=0.0, block=1)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(r.grad).all()


def test_entries_below_the_published_threshold_count_as_zero() -> None:
    entries = Entries.of(sp.csr_matrix(np.array([[1e-9, 0.5], [0.0, 1e-7]])), torch.float64)
    assert entries.position.tolist() == [1, 3]
    assert entries.start == [0, 1, 2]


def test_a_gradient_taken_at_once_can_be_used_once() -> None:
    q = normal(10, 4).requires_grad_()
    loss = losses.contrastive_loss(q.abs(), normal(10, 4, seed=1).abs())
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="second time"):
        loss.backward()
