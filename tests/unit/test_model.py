"""The exact forms against the plain dense restatement: every term and every gradient."""

from __future__ import annotations

import dataclasses

import dense
import numpy as np
import pytest
import scipy.sparse as sp
import torch
from torch.nn import functional as F

from mmsrl.train import graph
from mmsrl.train.presets import PUBLISHED, Published
from mmsrl.train.published import Inputs, PublishedModel

BLOCK = 32


def hexagonal(rows: int, cols: int) -> np.ndarray:
    """Array coordinates of a Visium lattice: (row, column) with row + column even."""
    return np.array([(r, 2 * c + r % 2) for r in range(rows) for c in range(cols)], dtype=float)


def sections(sizes: list[tuple[int, int]], n_genes: int, n_features: int, seed: int = 0):
    """Random sections on Visium lattices: log-normalised counts, image features, Â."""
    rng = np.random.default_rng(seed)
    adjacency = graph.block_diagonal([graph.gaussian_graph(hexagonal(*size), 2.0) for size in sizes])
    n = adjacency.shape[0]
    counts = rng.negative_binomial(2, 0.6, (n, n_genes)) * (rng.random((n, n_genes)) < 0.5)
    expression = sp.csr_matrix(np.log1p(counts / counts.sum(1, keepdims=True) * np.median(counts.sum(1))))
    return expression, rng.standard_normal((n, n_features)), adjacency


def build(settings: Published, data, dtype=torch.float64, *, image: bool = True, spread: float = 1.0) -> PublishedModel:
    expression, features, adjacency = data
    torch.manual_seed(1)
    inputs = Inputs(
        expression,
        torch.as_tensor(graph.smooth(adjacency, expression.astype(np.float64), 2), dtype=dtype),
        torch.as_tensor(graph.smooth(adjacency, features, 2), dtype=dtype) if image else None,
        adjacency,
    )
    model = PublishedModel(inputs, settings, block=BLOCK)
    with torch.no_grad():
        # At the start attention is uniform and all cosines are 1; away from it nothing is degenerate.
        for parameter in model.parameters():
            parameter.mul_(spread)
        if model.token is not None:
            model.token.uniform_(-1, 1)
    return model


def step(model: PublishedModel, seed: int = 3) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    torch.manual_seed(seed)
    terms = model.losses()
    model.zero_grad()
    terms["total"].backward()
    return terms, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}


def dense_step(model: PublishedModel, data, *, image: bool = True, seed: int = 3):
    """The same step, in double, of the plain restatement under the same random draws."""
    expression, features, adjacency = data
    s, dtype = model.settings, model.smooth_expression.dtype
    n, hidden = len(features), model.projection.out_features
    torch.manual_seed(seed)
    masked = model.draw_mask()
    ones = torch.ones(n, hidden, dtype=dtype)
    seed_x, keep_x = int(torch.randint(2**40, ())), F.dropout(ones, s.mlp_dropout)
    seed_i, keep_i = (int(torch.randint(2**40, ())), F.dropout(ones, s.mlp_dropout)) if image else (0, ones)
    masks = [dense.dropout_mask(n, BLOCK, s.attention_dropout, k, ones).double() for k in (seed_x, seed_i)]
    parameters = {name: p.detach().double().requires_grad_() for name, p in model.named_parameters()}
    terms = dense.forward(
        parameters,
        torch.as_tensor(expression.toarray()),
        torch.as_tensor(features) if image else None,
        torch.as_tensor(adjacency.toarray()),
        s,
        masked=masked,
        attention_masks=(masks[0], masks[1]),
        keep_x=keep_x.double(),
        keep_i=keep_i.double(),
    )
    terms["total"].backward()
    return terms, {name: p.grad for name, p in parameters.items() if p.grad is not None}


def assert_same(model: PublishedModel, data, tolerance: float, *, image: bool = True) -> None:
    terms, gradients = step(model)
    expected_terms, expected_gradients = dense_step(model, data, image=image)
    assert terms.keys() == expected_terms.keys() - {"z"}
    for name, value in terms.items():
        assert float(value) == pytest.approx(float(expected_terms[name]), rel=tolerance), name
    assert gradients.keys() == expected_gradients.keys()
    for name, expected in expected_gradients.items():
        error = (gradients[name].double() - expected).abs().max()
        if name == "decoder.bias":  # a shift before BatchNorm changes nothing
            assert error < tolerance
        else:
            assert error <= tolerance * expected.abs().max(), name


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
    assert_same(build(CASES[name], data, spread=1.5), data, 1e-10)


@pytest.mark.parametrize("name", ["mmsrl", "stmmr"])
def test_step_in_single_is_the_dense_step(name: str) -> None:
    data = sections(SEVERAL, G, D)
    assert_same(build(CASES[name], data, torch.float32, spread=1.5), data, 1e-5)


@pytest.mark.parametrize("name", ["mmsrl", "stmmr"])
def test_step_without_image_is_the_dense_step_of_the_expression_branch(name: str) -> None:
    data = sections(ONE, G, D)
    model = build(CASES[name], data, image=False, spread=1.5)
    assert_same(model, data, 1e-10, image=False)
    assert not [p for p, _ in model.named_parameters() if p.startswith("image")]
