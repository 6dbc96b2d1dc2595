"""The published losses apart from the likelihood, each in a form whose memory is linear in the number of spots."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor
from torch.nn.functional import normalize

from mmsrl.train.autograd import blocks, gradient_now, with_gradient
from mmsrl.train.zinb import Entries

GRAMS_FROM = 1.75
"""h×h Grams (14·N·h² operations) are cheaper than N×N blocks (8·N²·h) once N > 1.75·h."""


def consistency_loss(q_x: Tensor, q_i: Tensor, *, block: int) -> Tensor:
    """Return the mean over all N² pairs of spots of (q̂_x q̂_xᵀ − q̂_i q̂_iᵀ)², q̂ column-centred and row-normalised.

    With S = q̂_x + q̂_i and D = q̂_x − q̂_i the matrix inside is K = ½(S Dᵀ + D Sᵀ), so that exactly
    ‖K‖² = ½(⟨SᵀS, DᵀD⟩ + ⟨SᵀD, (SᵀD)ᵀ⟩): h×h Grams, linear in N, and free of the cancellation that the difference of
    three Gram norms suffers where both views agree. With few spots, K is cheaper in blocks of rows.

    ``q_x``, ``q_i``: (n, h). Its gradient is taken at once.
    """

    def term(q_x: Tensor, q_i: Tensor) -> Tensor:
        a, b = (normalize(q - q.mean(dim=0), dim=1) for q in (q_x, q_i))
        n, h = q_x.shape
        total = _square_by_grams(a + b, a - b) if n > GRAMS_FROM * h else _square_by_rows(a + b, a - b, block)
        return total / n**2

    return gradient_now(term, q_x, q_i)


def _square_by_grams(s: Tensor, d: Tensor) -> Tensor:
    """Return ‖½(S Dᵀ + D Sᵀ)‖² through SᵀS, DᵀD and SᵀD; its gradients are S·DᵀD + D·SᵀD and D·SᵀS + S·DᵀS."""
    with torch.no_grad():
        ss, dd, sd = s.T @ s, d.T @ d, s.T @ d
        value = 0.5 * ((ss * dd).sum() + (sd * sd.T).sum())
        gradients = [(s @ dd).addmm_(d, sd), (d @ ss).addmm_(s, sd.T)]
    return with_gradient(value, gradients, [s, d])


def _square_by_rows(s: Tensor, d: Tensor, block: int) -> Tensor:
    """Return ‖½(S Dᵀ + D Sᵀ)‖² in blocks of rows of K; its gradients are 2·K·D and 2·K·S."""
    with torch.no_grad():
        value = s.new_zeros(())
        d_s, d_d = torch.empty_like(s), torch.empty_like(d)
        for rows in blocks(len(s), block):
            k = (s[rows] @ d.T).addmm_(d[rows], s.T).mul_(0.5)  # (block, n)
            value += k.square().sum()
            torch.mm(k, d, out=d_s[rows]).mul_(2.0)
            torch.mm(k, s, out=d_d[rows]).mul_(2.0)
    return with_gradient(value, [d_s, d_d], [s, d])


def contrastive_loss(q_x: Tensor, q_i: Tensor, *, entropy: float = 10.0) -> Tensor:
    """Return the cross-view contrastive loss Σ P·(log P − 10·log p_row − 10·log p_col), the alternative to consistency.

    P (h×h) = the symmetrised q_xᵀq_i divided by its sum, read as the joint distribution of the two views' features;
    P and its margins are clipped from below at machine epsilon.

    On the sign: Σ P·log P is minus the joint entropy H(P) and −Σ P·log p the margins' entropies H(p), so this is
    10·H(p_row) + 10·H(p_col) − H(P), as the published models have it. Minimised, it concentrates the margins on few
    features. Its negative, H(P) − 10·H(p_row) − 10·H(p_col), is what COMPLETER (Lin et al., CVPR 2021) minimises:
    it makes the views tell about each other (mutual information H(p_row) + H(p_col) − H(P) rises) while the margins
    stay spread out. A negative ``consistency_weight`` selects that one.

    ``q_x``, ``q_i``: (n, h), non-negative. Linear in n. Its gradient is taken at once.
    """

    def term(q_x: Tensor, q_i: Tensor) -> Tensor:
        eps = torch.finfo(torch.float64).eps
        joint = q_x.T @ q_i
        joint = 0.5 * (joint + joint.T)
        joint = joint / joint.sum()
        margin = joint.sum(dim=1).clamp(min=eps)  # rows and columns alike, by symmetry
        joint = joint.clamp(min=eps)
        return (joint * (joint.log() - entropy * (margin.log()[:, None] + margin.log()[None, :]))).sum()

    return gradient_now(term, q_x, q_i)


def masked_loss(r: Tensor, masked: Tensor, entries: Entries, token: Tensor) -> Tensor:
    """Return the mean over masked spots of (1 − cos(r, x + t))³.

    The target is the masked row itself, token t included. With x sparse, ⟨r, x + t⟩ = ⟨r, x⟩ + ⟨r, t⟩ and
    ‖x + t‖² = ‖x‖² + 2⟨x, t⟩ + ‖t‖² need the stored entries only: no dense copy of x is made.

    Parameters
    ----------
    r
        (n, G).
    masked
        (m,) indices of the masked spots.
    entries
        Of x, (n, G).
    token
        (G,).
    """

    def term(r: Tensor, token: Tensor) -> Tensor:
        n, n_genes = r.shape
        row, gene = entries.position // n_genes, entries.position % n_genes

        def by_spot(values: Tensor) -> Tensor:
            return r.new_zeros(n).index_add(0, row, values)

        product = by_spot(r.view(-1)[entries.position] * entries.value) + r @ token
        square = by_spot(entries.value.square()) + 2.0 * by_spot(entries.value * token[gene]) + token.square().sum()
        eps = 1e-8  # of torch's cosine_similarity
        lengths = r.norm(dim=1).clamp(min=eps) * square.clamp(min=0.0).sqrt().clamp(min=eps)
        miss: Tensor = 1.0 - (product / lengths)[masked]
        return miss.pow(3).mean()

    return gradient_now(term, r, token)


class PairEntries(NamedTuple):
    """A graph's off-diagonal entries by pair of blocks (i ≤ j), and what the regulariser needs of its diagonal."""

    n: int
    block: int
    entries: dict[tuple[int, int], tuple[Tensor, Tensor, Tensor]]
    """(i, j) → row within block i, column within block j, Â_rc + Â_cr; both (r, c) and (c, r) where i = j."""
    constant: float
    """ΣÂ² − Σ Â_ii: what does not depend on the embedding."""

    @classmethod
    def of(
        cls, graph: sp.csr_matrix, block: int, dtype: torch.dtype, device: torch.device | str = "cpu"
    ) -> PairEntries:
        """Sort a sparse graph's entries into pairs of blocks of ``block`` spots."""
        both = sp.coo_matrix(graph + graph.T)
        i, j = both.row // block, both.col // block
        used = (i <= j) & (both.row != both.col)
        row, col, weight, i, j = both.row[used], both.col[used], both.data[used], i[used], j[used]
        n_blocks = -(-graph.shape[0] // block)
        order = np.argsort(i.astype(np.int64) * n_blocks + j, kind="stable")
        keys = (i.astype(np.int64) * n_blocks + j)[order]
        found, starts = np.unique(keys, return_index=True)
        entries = {}
        for key, part in zip(found.tolist(), np.split(order, starts[1:]), strict=True):
            entries[divmod(key, n_blocks)] = (
                torch.as_tensor(row[part] % block, dtype=torch.int64, device=device),
                torch.as_tensor(col[part] % block, dtype=torch.int64, device=device),
                torch.as_tensor(weight[part], dtype=dtype, device=device),
            )
        constant = float(graph.multiply(graph).sum() - graph.diagonal().sum())
        return cls(graph.shape[0], block, entries, constant)


def regularisation_loss(z: Tensor, pairs: PairEntries) -> Tensor:
    """Return the mean over all N² pairs of (sigmoid(cos(zᵢ, zⱼ)) − Âᵢⱼ)², the cosine's diagonal set to 0.

    Expanded, Σ σ(c)² over all pairs, −2 Σ Âᵢⱼ σ(cᵢⱼ) over the graph's entries only, and ΣÂ², a constant; on the
    diagonal σ(0) = ½, so (½ − Âᵢᵢ)² sums to ¼N − ΣÂᵢᵢ + ΣÂᵢᵢ². Cosines are symmetric: each pair of blocks is computed
    once, its value and its gradient taken at once (dσ² = 2σ²(1 − σ)), and the graph's entries read off the block.

    ``z``: (n, h). Memory O(n·h + block²), time 3·n²·h.
    """

    def term(z: Tensor) -> Tensor:
        return _regularisation_of_units(normalize(z, dim=1), pairs) / pairs.n**2

    return gradient_now(term, z)


def _regularisation_of_units(u: Tensor, pairs: PairEntries) -> Tensor:
    with torch.no_grad():
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
    return with_gradient(total.to(u.dtype), [d_u], [u])
