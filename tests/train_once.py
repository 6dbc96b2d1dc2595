"""Train a tiny published model with a checkpoint and save its weights: ``train_once.py FOLDER [EPOCHS]``.

A program of its own, so that a test can kill it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
import torch

from mmsrl import graph
from mmsrl.train.checkpoint import Checkpoint, fingerprint
from mmsrl.train.fit import fit
from mmsrl.train.presets import PUBLISHED
from mmsrl.train.published import Inputs, PublishedModel


def main(folder: Path, epochs: int) -> None:
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    adjacency = graph.gaussian_graph([(r, 2 * c + r % 2) for r in range(10) for c in range(10)], 2.0)
    expression = sp.csr_matrix(np.log1p(rng.poisson(0.7, (100, 30))).astype(np.float32))
    inputs = Inputs(
        expression,
        torch.as_tensor(graph.smooth(adjacency, expression, 2)),
        torch.as_tensor(graph.smooth(adjacency, rng.standard_normal((100, 5)).astype(np.float32), 2)),
        adjacency,
    )
    torch.manual_seed(0)
    settings = PUBLISHED["mmsrl"]
    model = PublishedModel(inputs, settings, block=64)
    checkpoint = Checkpoint(folder / "checkpoint.pt", fingerprint(settings, model.fixed(), seed=5), every=3)
    history = fit(
        model, epochs=epochs, learning_rate=1e-3, weight_decay=1e-4, seed=5, checkpoint=checkpoint, show_progress=False
    )
    torch.save({"state": model.state_dict(), "losses": [row["total"] for row in history]}, folder / "weights.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
