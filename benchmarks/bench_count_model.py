"""Score members of a learned count model beside those of principal components.

    make bench-count-model LABELLED=folder           every section below the folder

The model is a variational autoencoder with a negative binomial likelihood and the library size as offset (the
architecture of scVI, Lopez et al., Nature Methods 15, 1053-1058, 2018: one hidden layer of 128, ten latent variables,
400 epochs of 20,000 spots at most). Its latent means replace the principal components. Bandwidths, graphs, read-out
and consensus are those of the default.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pandas as pd
import scipy.sparse as sp
import torch
from bench_accuracy import consensus, posteriors, score
from bench_peers import Section, read_section
from torch import nn

from mmsrl.residuals import Components
from mmsrl.train import members

HIDDEN, LATENT = 128, 10
BATCH = 128
EPOCHS, EPOCH_SPOTS = 400, 20_000
MOST_GENES = 2_000
"""Largest number of genes. Above it, the genes with the most molecules are used."""


class CountModel(nn.Module):
    """Variational autoencoder of counts, with the library size as a fixed offset."""

    def __init__(self, n_genes: int) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(n_genes, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU(), nn.Dropout(0.1))
        self.mean, self.log_variance = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
        self.decoder = nn.Sequential(nn.Linear(LATENT, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU())
        self.share = nn.Linear(HIDDEN, n_genes)
        self.log_inverse_dispersion = nn.Parameter(torch.zeros(n_genes))

    def encode(self, counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and log variance of the latent variables, (n, d)."""
        hidden = self.encoder(torch.log1p(counts))
        return self.mean(hidden), self.log_variance(hidden).clamp(-10.0, 5.0)

    def loss(self, counts: torch.Tensor, weight: float) -> torch.Tensor:
        """Return the mean negative evidence lower bound per spot; ``weight`` scales the Kullback-Leibler divergence."""
        mean, log_variance = self.encode(counts)
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        rate = torch.softmax(self.share(self.decoder(z)), dim=1) * counts.sum(dim=1, keepdim=True) + 1e-8
        size = self.log_inverse_dispersion.exp()
        likelihood = torch.distributions.NegativeBinomial(size, logits=rate.log() - size.log()).log_prob(counts)
        divergence = 0.5 * (mean**2 + log_variance.exp() - 1.0 - log_variance)
        return (weight * divergence.sum(dim=1) - likelihood.sum(dim=1)).mean()


def latent(counts: sp.csr_matrix, _k: int, seed: int) -> Components:
    """Train the model and return the latent means as scores, (n, d) float32, without a projection."""
    torch.manual_seed(seed)
    most = np.sort(np.argsort(-np.asarray(counts.sum(axis=0)).ravel(), kind="stable")[:MOST_GENES])
    values = torch.as_tensor(counts[:, most].toarray(), dtype=torch.float32)
    model = CountModel(values.shape[1])
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3, eps=0.01, weight_decay=1e-6)
    epochs = round(EPOCHS * min(1.0, EPOCH_SPOTS / len(values)))
    for epoch in range(epochs):
        for rows in torch.randperm(len(values)).split(BATCH):
            if len(rows) == 1:
                continue  # batch normalisation needs two spots
            optimiser.zero_grad()
            model.loss(values[rows], epoch / epochs).backward()
            optimiser.step()
    model.eval()
    with torch.no_grad():
        return Components(model.encode(values)[0].numpy(), None)  # type: ignore[arg-type]


def rows_of(section: Section) -> list[dict[str, Any]]:
    """Return the scores of the default, of the count model, and of their combinations."""
    default, facts, _ = posteriors(section, 0)
    began = time.process_time()
    with mock.patch.object(members, "residual_components", latent):
        with_model, model_facts, _ = posteriors(section, 0)
    seconds = time.process_time() - began
    learned = [p for p, fact in zip(with_model, model_facts, strict=True) if fact["normalisation"] == "residuals"]
    logged = [p for p, fact in zip(default, facts, strict=True) if fact["normalisation"] == "log"]
    members_of = {
        "log, residuals (default)": default,
        "count model": learned,
        "log, count model": logged + learned,
        "log, residuals, count model": default + learned,
    }
    rows = [
        {"section": section.name, "method": name, "value": score(section, consensus(posteriors_of))}
        for name, posteriors_of in members_of.items()
    ]
    return [*rows, {"section": section.name, "method": "CPU seconds with count model", "value": seconds}]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("labelled", type=Path, nargs="+", help="folders that contain labelled sections, at any depth")
    parser.add_argument("--most-spots", type=int, default=10_000, help="omit larger sections")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    folders = sorted({truth.parent for labelled in arguments.labelled for truth in labelled.rglob("truth.csv")})
    rows: list[dict[str, Any]] = []
    for folder in folders:
        section = read_section(folder)
        if section.adata.n_obs <= arguments.most_spots:
            rows += rows_of(section)
            print(pd.DataFrame(rows[-5:]).round(3).to_string(index=False, header=False), flush=True)
    wide = pd.DataFrame(rows).pivot(index="method", columns="section", values="value")
    print(wide.assign(mean=wide.mean(axis=1)).round(3).to_string())


if __name__ == "__main__":
    main()
