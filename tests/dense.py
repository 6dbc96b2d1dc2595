"""Dense restatement of the published models: N×N matrices, one line per formula, gradients by autograd.

Tests and benchmarks compare the fast forms with it.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from mmsrl.train.attention import keep_mask
from mmsrl.train.autograd import blocks
from mmsrl.train.presets import Published
from mmsrl.train.published import PublishedModel


def hexagonal(rows: int, cols: int) -> np.ndarray:
    """Return array coordinates of a Visium lattice, (row, column) with row + column even."""
    return np.array([(r, 2 * c + r % 2) for r in range(rows) for c in range(cols)], dtype=float)


def gaussian_graph(coordinates: np.ndarray, width: float, cut: float = 0.0) -> Tensor:
    """Return the dense normalised adjacency matrix Â, without weights below ``cut``."""
    points = torch.as_tensor(coordinates, dtype=torch.float64)
    kernel = torch.exp(
        -(torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist") ** 2) / (2 * width**2)
    )
    kernel = torch.where(kernel < cut, 0.0, kernel) + torch.eye(len(points), dtype=torch.float64)
    return kernel / kernel.sum(dim=1, keepdim=True)


def dropout_mask(n: int, block: int, dropout: float, seed: int, like: Tensor) -> Tensor:
    """Return the dropout mask, (n, n), that the blockwise attention draws in blocks."""
    slices = blocks(n, block)
    return torch.cat(
        [
            torch.cat(
                [
                    keep_mask(like.new_empty(r.stop - r.start, c.stop - c.start), dropout, seed, i * len(slices) + j)
                    for j, c in enumerate(slices)
                ],
                dim=1,
            )
            for i, r in enumerate(slices)
        ]
    )


def convolve(graph: Tensor, x: Tensor, p: dict[str, Tensor], name: str) -> Tensor:
    once = graph @ x @ p[f"{name}.w1"] + p[f"{name}.b1"]
    return graph @ once @ p[f"{name}.w2"] + p[f"{name}.b2"]


def attention(e: Tensor, mask: Tensor) -> Tensor:
    return (torch.softmax(e @ e.T / math.sqrt(e.shape[1]), dim=1) * mask) @ e


def zinb(x: Tensor, r: Tensor, p: dict[str, Tensor], ridge: float) -> Tensor:
    pi = torch.sigmoid(F.linear(r, p["pi.weight"], p["pi.bias"]))
    theta = F.softplus(F.linear(r, p["theta.weight"], p["theta.bias"])).clamp(1e-4, 1e4)
    mu = torch.exp(F.linear(r, p["mu.weight"], p["mu.bias"])).clamp(1e-5, 1e6)
    zero = -torch.log(pi + (1 - pi) * (theta / (theta + mu)) ** theta)
    other = (
        -torch.log(1 - pi)
        + torch.lgamma(theta)
        + torch.lgamma(x + 1)
        - torch.lgamma(x + theta)
        + (theta + x) * torch.log(1 + mu / theta)
        + x * (torch.log(theta) - torch.log(mu))
    )
    return (torch.where(x < 1e-8, zero, other) + ridge * pi**2).mean()


def consistency(q_x: Tensor, q_i: Tensor) -> Tensor:
    a, b = (F.normalize(q - q.mean(dim=0), dim=1) for q in (q_x, q_i))
    return ((a @ a.T - b @ b.T) ** 2).mean()


def contrastive(q_x: Tensor, q_i: Tensor) -> Tensor:
    eps = np.finfo(np.float64).eps
    joint = torch.einsum("na,nb->ab", q_x, q_i)
    joint = (joint + joint.T) / 2
    joint = joint / joint.sum()
    row = joint.sum(dim=1, keepdim=True).expand_as(joint).clamp(min=eps)
    col = joint.sum(dim=0, keepdim=True).expand_as(joint).clamp(min=eps)
    joint = joint.clamp(min=eps)
    return (joint * (torch.log(joint) - 10 * torch.log(row) - 10 * torch.log(col))).sum()


def masked_reconstruction(r: Tensor, x: Tensor, rows: Tensor) -> Tensor:
    return ((1 - F.cosine_similarity(r[rows], x[rows], dim=1)) ** 3).mean()


def regularisation(z: Tensor, graph: Tensor) -> Tensor:
    u = F.normalize(z, dim=1)
    cosine = u @ u.T
    cosine = cosine - torch.diag(torch.diag(cosine))
    return ((torch.sigmoid(cosine) - graph) ** 2).mean()


def forward(
    p: dict[str, Tensor],
    x: Tensor,
    image: Tensor | None,
    graph: Tensor,
    s: Published,
    *,
    masked: Tensor | None,
    attention_masks: tuple[Tensor, Tensor],
    keep_x: Tensor,
    keep_i: Tensor,
) -> dict[str, Tensor]:
    """Return every loss term, ``total`` and ``z`` for parameters ``p`` and given random masks."""
    rows = masked if masked is not None else torch.empty(0, dtype=torch.int64)
    seen = x
    if masked is not None:
        mask = torch.zeros(len(x), 1, dtype=x.dtype)
        mask[masked] = 1.0
        seen = x + mask * p["token"]
    e_x = convolve(graph, seen, p, "expression_encoder")
    z_x = attention(e_x, attention_masks[0])
    q_x = F.relu(F.linear(e_x, p["projection.weight"], p["projection.bias"])) * keep_x
    if image is not None:
        e_i = convolve(graph, image, p, "image_encoder")
        z_i = attention(e_i, attention_masks[1])
        q_i = F.relu(F.linear(e_i, p["projection.weight"], p["projection.bias"])) * keep_i
    else:
        z_i, q_i = torch.zeros_like(z_x), torch.zeros_like(q_x)
    z_c = F.linear(torch.cat([q_x, q_i], dim=1), p["consensus.weight"], p["consensus.bias"])
    z = s.fuse_expression * z_x + s.fuse_image * z_i + s.fuse_consistency * z_c
    d = F.linear(z, p["decoder.weight"], p["decoder.bias"])
    r = F.relu(F.batch_norm(d, None, None, p["norm.weight"], p["norm.bias"], training=True))
    terms = {
        "zinb": zinb(x, r, p, s.ridge),
        "regularisation": regularisation(z, graph),
    }
    total = s.reconstruction_weight * terms["zinb"] + s.regularisation_weight * terms["regularisation"]
    if image is not None:
        terms["consistency"] = (contrastive if s.consistency_loss == "contrastive" else consistency)(q_x, q_i)
        total = total + s.consistency_weight * terms["consistency"]
    if masked is not None and s.masked_weight:
        terms["masked"] = masked_reconstruction(r, seen, rows)
        total = total + s.masked_weight * terms["masked"]
    return {"total": total, **terms, "z": z}


def replay(
    model: PublishedModel, x: Tensor, image: Tensor | None, graph: Tensor, seed: int
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """Return loss terms and gradients of the step that ``model`` makes after ``torch.manual_seed(seed)``.

    The random draws are those of the model, in its order and precision; all else is in the precision of ``x``.
    """
    s, dtype, n = model.settings, x.dtype, len(x)
    ones = model.smooth_expression.new_ones(n, model.projection.out_features)
    torch.manual_seed(seed)
    masked = model.draw_mask()
    seed_x, keep_x = int(torch.randint(2**40, ())), F.dropout(ones, s.mlp_dropout)
    seed_i, keep_i = (0, ones) if image is None else (int(torch.randint(2**40, ())), F.dropout(ones, s.mlp_dropout))
    masks = [dropout_mask(n, model.block, s.attention_dropout, k, ones).to(dtype) for k in (seed_x, seed_i)]
    parameters = {name: p.detach().to(dtype, copy=True).requires_grad_() for name, p in model.named_parameters()}
    terms = forward(
        parameters,
        x,
        image,
        graph,
        s,
        masked=masked,
        attention_masks=(masks[0], masks[1]),
        keep_x=keep_x.to(dtype),
        keep_i=keep_i.to(dtype),
    )
    terms.pop("z")
    terms["total"].backward()
    return {k: float(v.detach()) for k, v in terms.items()}, {k: p.grad for k, p in parameters.items()}
