"""Losses of the published models except the likelihood, with memory that is linear in the number of spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from mmsrl.train.autograd import blocks, gradient_now, through_unit_rows_, unit_rows, with_gradient
from mmsrl.train.zinb import Entries

GRAMS_FROM = 7 / 3
"""Ratio N/h beyond which h×h Gram matrices (14·N·h² operations) are cheaper than pairs of blocks of spots (6·N²·h)."""


def consistency_loss(q_x: Tensor, q_i: Tensor, *, block: int) -> Tensor:
    """Return the consistency loss, the mean over all N² pairs of spots of (q̂_x q̂_xᵀ − q̂_i q̂_iᵀ)².

    q̂ is column-centred and row-normalised. With S = q̂_x + q̂_i and D = q̂_x − q̂_i, the matrix in brackets is
    K = ½(S Dᵀ + D Sᵀ). Then ‖K‖² = ½(⟨SᵀS, DᵀD⟩ + ⟨SᵀD, (SᵀD)ᵀ⟩) exactly. This form is linear in N. It also avoids the
    cancellation in the difference of three Gram norms if both views agree. For few spots, blocks of K are cheaper. Each
    pair of blocks is computed once, because K is symmetric.

    Parameters
    ----------
    q_x, q_i
        (n, h), projections of expression and image.
    block
        Number of spots per block.
    """
    value, gradients = _consistency(q_x, q_i, block)
    return with_gradient(value, gradients, [q_x, q_i])


@torch.no_grad()
def _consistency(q_x: Tensor, q_i: Tensor, block: int) -> tuple[Tensor, list[Tensor]]:
    n, h = q_x.shape
    (a, length_x), (b, length_i) = (unit_rows(q - q.mean(dim=0)) for q in (q_x, q_i))
    s, d = a + b, a.sub_(b)
    del a, b
    value, d_s, d_d = _square_by_grams(s, d) if n > GRAMS_FROM * h else _square_by_pairs(s, d, block)
    d_a, d_b = d_s + d_d, d_s.sub_(d_d)
    del d_s, d_d
    a, b = (s + d).mul_(0.5), s.sub_(d).mul_(0.5)
    gradients = [through_unit_rows_(a, length_x, d_a), through_unit_rows_(b, length_i, d_b)]
    return value / n**2, [g.sub_(g.mean(dim=0)).div_(n**2) for g in gradients]


def _square_by_grams(s: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ‖½(S Dᵀ + D Sᵀ)‖² from SᵀS, DᵀD and SᵀD, and its gradients S·DᵀD + D·SᵀD and D·SᵀS + S·DᵀS."""
    ss, dd, sd = s.T @ s, d.T @ d, s.T @ d
    value = 0.5 * ((ss * dd).sum() + (sd * sd.T).sum())
    return value, (s @ dd).addmm_(d, sd), (d @ ss).addmm_(s, sd.T)


def _square_by_pairs(s: Tensor, d: Tensor, block: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return ‖½(S Dᵀ + D Sᵀ)‖² and its gradients 2·K·D and 2·K·S from pairs of blocks of spots."""
    value = torch.zeros((), dtype=torch.float64, device=s.device)
    d_s, d_d = torch.zeros_like(s), torch.zeros_like(d)
    slices = blocks(len(s), block)
    for i, rows in enumerate(slices):
        for j, cols in enumerate(slices[i:], start=i):
            twice_k = (s[rows] @ d[cols].T).addmm_(d[rows], s[cols].T)  # (block, block)
            value += (0.25 if i == j else 0.5) * twice_k.square().sum(dtype=torch.float64)
            d_s[rows].addmm_(twice_k, d[cols])
            d_d[rows].addmm_(twice_k, s[cols])
            if i != j:
                d_s[cols].addmm_(twice_k.T, d[rows])
                d_d[cols].addmm_(twice_k.T, s[rows])
    return value.to(s.dtype), d_s, d_d


def contrastive_loss(q_x: Tensor, q_i: Tensor, *, entropy: float = 10.0) -> Tensor:
    """Return the cross-view contrastive loss Σ P·(log P − 10·log p_row − 10·log p_col), linear in n.

    P (h×h) is the symmetrised q_xᵀq_i divided by its sum: the joint distribution of the features of both views. P and
    its margins are clipped from below at machine epsilon.

    The loss equals 10·H(p_row) + 10·H(p_col) − H(P), with entropy H and the sign of the published code. Minimising it
    concentrates the margins on few features. COMPLETER (Lin et al., CVPR 2021) minimises the negative. That increases
    the mutual information H(p_row) + H(p_col) − H(P) and keeps the margins spread out. A negative
    ``consistency_weight`` selects it.

    Parameters
    ----------
    q_x, q_i
        (n, h), non-negative projections of expression and image.
    entropy
        Weight of the marginal entropies.
    """

    def term(q_x: Tensor, q_i: Tensor) -> Tensor:
        eps = torch.finfo(torch.float64).eps
        joint = q_x.T @ q_i
        joint = 0.5 * (joint + joint.T)
        joint = joint / joint.sum()
        margin = joint.sum(dim=1).clamp(min=eps)  # of rows and of columns, because P is symmetric
        joint = joint.clamp(min=eps)
        return (joint * (joint.log() - entropy * (margin.log()[:, None] + margin.log()[None, :]))).sum()

    return gradient_now(term, q_x, q_i)


def masked_loss(r: Tensor, masked: Tensor, entries: Entries, token: Tensor) -> Tensor:
    """Return the masked reconstruction loss, the mean over masked spots of (1 − cos(r, x + t))³.

    The target is the masked row, which includes the token t. ⟨r, x + t⟩ = ⟨r, x⟩ + ⟨r, t⟩ and
    ‖x + t‖² = ‖x‖² + 2⟨x, t⟩ + ‖t‖² need only the non-zero entries of x, so no dense copy of x is made.

    Parameters
    ----------
    r
        (n, G), hidden values of the decoder.
    masked
        (m,), indices of the masked spots.
    entries
        Non-zero entries of x, (n, G).
    token
        (G,), the learned token.
    """
    value, gradients = _masked(r, masked, entries, token)
    return with_gradient(value, gradients, [r, token])


@torch.no_grad()
def _masked(r: Tensor, masked: Tensor, entries: Entries, token: Tensor) -> tuple[Tensor, list[Tensor]]:
    n, n_genes = r.shape
    row, gene = entries.position // n_genes, entries.position % n_genes

    def by_spot(values: Tensor) -> Tensor:
        return r.new_zeros(n).index_add_(0, row, values)

    product = by_spot(r.view(-1)[entries.position] * entries.value) + r @ token
    square = by_spot(entries.value.square()) + 2.0 * by_spot(entries.value * token[gene]) + token.square().sum()
    eps = 1e-8  # of torch's cosine_similarity
    length, target_length = r.norm(dim=1).clamp_(min=eps), square.clamp_(min=0.0).sqrt_().clamp_(min=eps)
    cosine = product / (length * target_length)
    d_cosine = torch.zeros_like(cosine)
    d_cosine[masked] = -3.0 * (1.0 - cosine[masked]).square() / len(masked)

    # The derivative of cos = ⟨r, x̃⟩/(‖r‖‖x̃‖) by r is x̃/(‖r‖‖x̃‖) − cos·r/‖r‖². The derivative by x̃ is analogous.
    across = d_cosine / (length * target_length)
    along_r, along_target = d_cosine * cosine / length.square(), d_cosine * cosine / target_length.square()
    d_r = torch.outer(across, token)
    d_r.view(-1).index_add_(0, entries.position, across[row] * entries.value)
    d_r.addcmul_(r, along_r[:, None], value=-1.0)
    d_token = (across @ r).index_add_(0, gene, along_target[row] * entries.value, alpha=-1.0)
    d_token -= along_target.sum() * token
    return (1.0 - cosine[masked]).pow(3).mean(), [d_r, d_token]


class PairEntries(NamedTuple):
    """Off-diagonal entries of a graph by pair of blocks (i ≤ j), and a constant of the regularisation loss."""

    n: int
    block: int
    entries: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]]
    """(i, j) → row within block i, column within block j, and Â_rc + Â_cr. If i = j, (r, c) and (c, r) are listed."""
    constant: float
    """ΣÂ² − ΣÂ_ii, the part of the loss that does not depend on the latent representation."""

    @classmethod
    def of(
        cls, graph: sp.csr_matrix, block: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> PairEntries:
        """Sort the entries of a sparse graph into pairs of blocks of ``block`` spots."""
        both = sp.coo_matrix(graph + graph.T)
        i, j = both.row // block, both.col // block
        used = (i <= j) & (both.row != both.col)
        row, col, weight, i, j = both.row[used], both.col[used], both.data[used], i[used], j[used]
        n_blocks = -(-graph.shape[0] // block)
        order = np.argsort(i.astype(np.int64) * n_blocks + j, kind="stable")
        keys = (i.astype(np.int64) * n_blocks + j)[order]
        pairs, starts = np.unique(keys, return_index=True)
        entries = {}
        for pair, part in zip(pairs.tolist(), np.split(order, starts[1:]), strict=True):
            entries[divmod(pair, n_blocks)] = (
                torch.as_tensor(row[part] % block, dtype=torch.int64, device=device),
                torch.as_tensor(col[part] % block, dtype=torch.int64, device=device),
                torch.as_tensor(weight[part], dtype=dtype, device=device),
            )
        constant = float(graph.multiply(graph).sum() - graph.diagonal().sum())
        return cls(graph.shape[0], block, entries, constant)


def regularisation_loss(z: Tensor, pairs: PairEntries) -> Tensor:
    """Return the regularisation loss, the mean over all N² pairs of (sigmoid(cos(zᵢ, zⱼ)) − Âᵢⱼ)².

    The diagonal of the cosine matrix is set to 0. The square expands to Σ σ(c)² over all pairs, −2 Σ Âᵢⱼ σ(cᵢⱼ) over
    the entries of the graph, and the constant ΣÂ². On the diagonal σ(0) = ½, so (½ − Âᵢᵢ)² sums to
    ¼N − ΣÂᵢᵢ + ΣÂᵢᵢ². Cosines are symmetric, so each pair of blocks is computed once. Its value and gradient
    (dσ² = 2σ²(1 − σ)) are computed together. Memory is O(n·h + block²), time 3·n²·h.

    Parameters
    ----------
    z
        (n, h), latent representation.
    pairs
        Entries of the graph.
    """
    with torch.no_grad():
        u, length = unit_rows(z)
        value, d_u = _regularisation_of_units(u, pairs)
        d_z = through_unit_rows_(u, length, d_u).div_(pairs.n**2)
    return with_gradient(value / pairs.n**2, [d_z], [z])


def _regularisation_of_units(u: Tensor, pairs: PairEntries) -> tuple[Tensor, Tensor]:
    slices: Sequence[slice] = blocks(pairs.n, pairs.block)
    d_u = torch.zeros_like(u)
    total = torch.full((), pairs.constant, dtype=torch.float64, device=u.device)
    for i, rows in enumerate(slices):
        for j, cols in enumerate(slices[i:], start=i):
            twice = 1.0 if i == j else 2.0
            cosine = u[rows] @ u[cols].T  # (block, block)
            if i == j:
                cosine.fill_diagonal_(0.0)
            sigma = cosine.sigmoid_()
            d_cosine = sigma.square()
            total += twice * d_cosine.sum(dtype=torch.float64)
            d_cosine.mul_(1.0 - sigma).mul_(4.0)
            if i == j:
                d_cosine.fill_diagonal_(0.0)
            if (i, j) in pairs.entries:
                row, col, weight = pairs.entries[i, j]
                near = sigma[row, col]
                total -= twice * (weight * near).sum(dtype=torch.float64)
                d_cosine[row, col] -= 2.0 * weight * near * (1.0 - near)
            d_u[rows].addmm_(d_cosine, u[cols])
            if i != j:
                d_u[cols].addmm_(d_cosine.T, u[rows])
    return total.to(u.dtype), d_u
