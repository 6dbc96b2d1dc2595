"""The exact forms against the plain dense restatement: every term and every gradient."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import dense
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from dense import hexagonal

from mmsrl import graph
from mmsrl.train import products
from mmsrl.train.fit import fit
from mmsrl.train.presets import PUBLISHED, Published
from mmsrl.train.published import Inputs, PublishedModel

BLOCK = 32


def sections(sizes: list[tuple[int, int]], n_genes: int, n_features: int, seed: int = 0):
    """Random sections on Visium lattices: log-normalised counts, image features, Â."""
    rng = np.random.default_rng(seed)
    adjacency = graph.block_diagonal([graph.gaussian_graph(hexagonal(*size), 2.0) for size in sizes])
    n = adjacency.shape[0]
    counts = rng.negative_binomial(2, 0.6, (n, n_genes)) * (rng.random((n, n_genes)) < 0.5)
    expression = sp.csr_matrix(np.log1p(counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1))))
    return expression, rng.standard_normal((n, n_features)), adjacency


def build(settings: Published, data, dtype=torch.float64, *, image: bool = True, block: int = BLOCK) -> PublishedModel:
    expression, features, adjacency = data
    torch.manual_seed(1)
    inputs = Inputs(
        expression,
        torch.as_tensor(graph.smooth(adjacency, expression, 2), dtype=dtype),
        torch.as_tensor(graph.smooth(adjacency, features, 2), dtype=dtype) if image else None,
        adjacency,
    )
    model = PublishedModel(inputs, settings, block=block)
    with torch.no_grad():
        # At the start attention is uniform and all cosines are 1; away from it nothing is degenerate.
        for parameter in model.parameters():
            parameter.mul_(1.5)
        if model.token is not None:
            model.token.uniform_(-1, 1)
    return model


def step(model: PublishedModel, seed: int = 3) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    terms = model.losses()
    terms["total"].backward()
    return {k: float(v.detach()) for k, v in terms.items()}, {k: p.grad for k, p in model.named_parameters()}


def dense_step(model: PublishedModel, data, dtype=torch.float64, *, image: bool = True, seed: int = 3):
    """The same step of the plain restatement, in ``dtype``, under the same random draws."""
    expression, features, adjacency = data
    return dense.replay(
        model,
        torch.as_tensor(expression.toarray(), dtype=dtype),
        torch.as_tensor(features, dtype=dtype) if image else None,
        torch.as_tensor(adjacency.toarray(), dtype=dtype),
        seed,
    )


def assert_same_in_double(model: PublishedModel, data, *, image: bool = True) -> None:
    terms, gradients = step(model)
    expected_terms, expected_gradients = dense_step(model, data, image=image)
    assert terms == pytest.approx(expected_terms, rel=1e-10)
    assert gradients.keys() == expected_gradients.keys()
    for name, expected in expected_gradients.items():
        # A shift before BatchNorm changes nothing: what is left of its gradient is rounding.
        scale = 1.0 if name == "decoder.bias" else float(expected.abs().max())
        assert error(gradients[name], expected) <= 1e-10 * scale, name


def error(value: torch.Tensor, expected: torch.Tensor) -> float:
    return float((value.double() - expected).abs().max())


ONE, SEVERAL = [(10, 9)], [(8, 7), (5, 9), (3, 4)]
G, D = 40, 6
WITHOUT_MASKING = dataclasses.replace(PUBLISHED["stmmr"], hidden_dim=48)
CASES = {
    "mmsrl": PUBLISHED["mmsrl"],
    "stmmr": WITHOUT_MASKING,
    "mmsrl-contrastive": dataclasses.replace(PUBLISHED["mmsrl"], consistency_loss="contrastive"),
    "stmmr-wide-image": dataclasses.replace(WITHOUT_MASKING, hidden_dim=5),
    "stmmr-more-spots-than-width": dataclasses.replace(WITHOUT_MASKING, hidden_dim=16),
}


@pytest.mark.parametrize("sizes", [ONE, SEVERAL], ids=["one", "several"])
@pytest.mark.parametrize("name", CASES)
def test_step_in_double_is_the_dense_step(name: str, sizes: list[tuple[int, int]]) -> None:
    data = sections(sizes, G, D)
    assert_same_in_double(build(CASES[name], data), data)


@pytest.mark.parametrize("name", PUBLISHED)
def test_step_of_600_spots_and_300_genes_in_double_is_the_dense_step(name: str) -> None:
    data = sections([(30, 20)], 300, 20)
    assert_same_in_double(build(dataclasses.replace(PUBLISHED[name], hidden_dim=300), data), data)


@pytest.mark.parametrize("name", ["mmsrl", "stmmr"])
def test_step_without_image_is_the_dense_step_of_the_expression_branch(name: str) -> None:
    data = sections(ONE, G, D)
    model = build(CASES[name], data, image=False)
    assert_same_in_double(model, data, image=False)
    assert not [p for p, _ in model.named_parameters() if p.startswith("image")]


@pytest.mark.parametrize("library", [nullcontext, products.OneDNN])
@pytest.mark.parametrize("name", ["mmsrl", "stmmr"])
def test_step_in_single_is_as_near_to_double_as_the_dense_step_in_single(
    name: str, library: Callable[[], AbstractContextManager[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some gradients are small differences of large numbers, in any form; the dense form is the yardstick for those.

    Of several steps, since the rounding of one hangs on where in memory its numbers lie.
    """
    monkeypatch.setattr(products, "SMALLEST", 0)
    data = sections(SEVERAL, G, D)
    model = build(CASES[name], data, torch.float32)
    ours, plain, size = (dict.fromkeys(dict(model.named_parameters()), 0.0) for _ in range(3))
    for seed in (3, 4, 5):
        model.zero_grad()
        with library():
            terms, gradients = step(model, seed)
        expected_terms, expected = dense_step(model, data, seed=seed)
        assert terms == pytest.approx(expected_terms, rel=1e-5)
        _, in_single = dense_step(model, data, torch.float32, seed=seed)
        for parameter, value in expected.items():
            ours[parameter] += float((gradients[parameter] - value).norm())
            plain[parameter] += float((in_single[parameter] - value).norm())
            size[parameter] += float(value.norm())
    for parameter, allowed in size.items():
        assert ours[parameter] <= max(1e-5 * allowed, 2.0 * plain[parameter]), parameter


def test_read_out_is_free_of_masks_and_dropout() -> None:
    data = sections(ONE, G, D)
    model = build(CASES["mmsrl"], data)
    model.train()
    first, second = model.embedding(), model.embedding()
    assert torch.equal(first, second)
    expression, features, adjacency = data
    parameters = {name: p.detach() for name, p in model.named_parameters()}
    ones = torch.ones(1, dtype=torch.float64)
    expected = dense.forward(
        parameters,
        torch.as_tensor(expression.toarray()),
        torch.as_tensor(features),
        torch.as_tensor(adjacency.toarray()),
        model.settings,
        masked=None,
        attention_masks=(ones, ones),
        keep_x=ones,
        keep_i=ones,
    )["z"]
    torch.testing.assert_close(first, expected, rtol=1e-10, atol=1e-10)


def test_block_size_changes_nothing_but_the_draw_of_dropout() -> None:
    data = sections(ONE, G, D)
    whole, pieces = build(CASES["mmsrl"], data), build(CASES["mmsrl"], data, block=7)
    torch.testing.assert_close(whole.embedding(), pieces.embedding(), rtol=1e-12, atol=1e-12)


def test_training_steps_each_weight_on_the_way_back_as_one_step_at_its_end_would() -> None:
    data = sections(ONE, G, D)
    trained, plain = build(CASES["mmsrl"], data), build(CASES["mmsrl"], data)
    torch.manual_seed(4)
    fit(trained, epochs=3, learning_rate=1e-2, weight_decay=1e-2, show_progress=False)
    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-2, weight_decay=1e-2, fused=True)
    torch.manual_seed(4)
    for _ in range(3):
        optimiser.zero_grad()
        plain.losses()["total"].backward()
        optimiser.step()
    for (name, ours), expected in zip(trained.named_parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours, expected), name
        assert ours.grad is None
