"""What ``bench_accuracy.py`` compares: each row makes an embedding of a unit from a seed, and reads it out."""

from __future__ import annotations

import itertools
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.decomposition import PCA
from sklearn.mixture import GaussianMixture

from mmsrl import graph
from mmsrl.domains.readouts import Readout, one_hot, read_out, reduce
from mmsrl.train.fit import fit
from mmsrl.train.presets import MEMBER_COMPONENTS, MEMBER_WIDTHS, PRESETS, Published
from mmsrl.train.sections import corrected_components, principal_components
from mmsrl.train.unit import Unit, build

Array = npt.NDArray[Any]

N_TOP_GENES = PRESETS["default"].n_top_genes
"""Variable genes of all rows but the published models."""

BASELINE_COMPONENTS = 15
SNAPSHOT = 20
"""Epochs between two looks at a model in training, for the score of the epoch that labels would pick."""


@dataclass(frozen=True)
class Row:
    """One method in one configuration."""

    name: str
    embed: Callable[..., Array]
    """Takes unit and seed; of a slow row also where to put embeddings by epoch."""
    readout: Readout | Callable[[Array, int, int], Array] = "gmm"
    """One of the pipeline's, or what takes points, number of domains and seed."""
    kind: str = "model"
    """``baseline``, ``peer``, ``model``, ``ablation`` or ``trial``."""
    slow: bool = False
    """Whether a seed takes minutes to hours rather than seconds."""
    random: bool = True
    """Whether the embedding depends on the seed; if not, it is made once."""
    n_top_genes: int = N_TOP_GENES
    number: bool = False
    """Whether the number of domains is chosen as well."""

    @property
    def folder(self) -> str:
        """Return the name as that of a folder, with the number of genes where it is a choice."""
        name = self.name if self.n_top_genes == N_TOP_GENES else f"{self.name}, {self.n_top_genes} genes"
        return name.replace(", ", "-").replace(" ", "_")

    def read(self, embedding: Array, n_domains: int, seed: int) -> Array:
        """Return memberships, (n, K)."""
        points = reduce(embedding)
        if isinstance(self.readout, str):
            return read_out(points, n_domains, self.readout, seed)
        return self.readout(points, n_domains, seed)


def one_start(points: Array, n_domains: int, seed: int) -> Array:
    """Read out as a user of scikit-learn does: a tied mixture of one start from k-means, at its tolerance."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = GaussianMixture(n_domains, covariance_type="tied", random_state=seed).fit_predict(points)
    return one_hot(found, n_domains)


def plain_components(unit: Unit, seed: int) -> Array:
    """Principal components of log-normalised variable genes, as they are."""
    return PCA(BASELINE_COMPONENTS, svd_solver="arpack", random_state=seed).fit_transform(
        unit.expression.astype(np.float64)
    )


def smoothed_components(unit: Unit, seed: int) -> Array:
    """The same, averaged once over a Gaussian as wide as the default's."""
    return over_gaussian(unit, plain_components(unit, seed), 1.0)


def over_gaussian(unit: Unit, values: Array, width: float) -> Array:
    """Return values averaged over a Gaussian by distance alone, in the unit of the default's widths."""
    adjacency = graph.block_diagonal([graph.plain_graph(places, width) for places in unit.graph_coordinates])
    return graph.smooth(adjacency, values, 1)


def constants(seed: int) -> dict[str, Any]:
    """Return the constants of a member of the default's ensemble: of any 12 consecutive seeds those of all members."""
    width, components = MEMBER_WIDTHS[seed % len(MEMBER_WIDTHS)], MEMBER_COMPONENTS[seed % len(MEMBER_COMPONENTS)]
    return {"kernel_width": width, "components": components}


def default_member(unit: Unit, seed: int, *, image: bool = True, **changes: Any) -> Array:
    """A member of the preset ``default``, which is the same with and without its decoder."""
    settings = replace(PRESETS["default"], **(constants(seed) | changes))
    unit = unit._replace(messages=[], image=unit.image if image else None)
    made = build(unit, settings, seed=seed, correct=True, decoder=False, block=512, device=torch.device("cpu"))
    return made.model.embedding().numpy()


def gaussian_member(unit: Unit, seed: int, width: float | None = None) -> Array:
    """The same without the image, smoothed by a plain Gaussian of the same width, which does not stop at borders."""
    own = constants(seed)
    scores, _ = corrected_components(unit.expression, unit.section, own["components"], seed)
    return over_gaussian(unit, scores, width or own["kernel_width"])


def published(preset: str, device: str, *, train: bool = True, **changes: Any) -> Callable[..., Array]:
    """Return what embeds by a published preset, with weights as they are drawn or trained, keeping snapshots."""
    settings = replace(PRESETS[preset], **changes)
    assert isinstance(settings, Published)

    def leading(model: Any) -> Array:
        return principal_components(model.embedding().float().cpu().numpy(), settings.components, 0)[0]

    def embed(unit: Unit, seed: int, snapshots: dict[int, Array] | None = None) -> Array:
        place = torch.device(device)
        block = 4096 if device == "cuda" else 512
        made = build(
            unit._replace(messages=[]), settings, seed=seed, correct=True, decoder=True, block=block, device=place
        )
        if train:
            steps, epochs = made.model.steps, itertools.count()

            def watched() -> Any:
                epoch = next(epochs)
                if snapshots is not None and epoch and epoch % SNAPSHOT == 0:
                    snapshots[epoch] = leading(made.model)
                return steps()

            made.model.steps = watched  # type: ignore[method-assign]
            options = {"learning_rate": settings.learning_rate, "weight_decay": settings.weight_decay}
            fit(made.model, epochs=settings.epochs, seed=seed, show_progress=False, **options)
        embedding = leading(made.model)
        if snapshots:
            snapshots[settings.epochs] = embedding
        return embedding

    return embed


def banksy(python: Path) -> Callable[[Unit, int], Array]:
    """Return what embeds by BANKSY, in the environment of ``python``."""

    def embed(unit: Unit, seed: int) -> Array:
        if len(unit.samples) > 1:
            raise ValueError("BANKSY is compared on single sections")
        with tempfile.TemporaryDirectory() as folder:
            given, made = Path(folder) / "given.npz", Path(folder) / "made.npy"
            np.savez(given, expression=unit.expression.toarray(), places=unit.coordinates[0])
            subprocess.run([python, Path(__file__).with_name("peer_banksy.py"), given, made], check=True)
            return np.load(made)

    return embed


def rows(device: str, peer: Path | None, published_genes: int | None = None) -> list[Row]:
    """Return all rows, in the order of the table; the published models on their own number of genes, or another."""
    genes = {"n_top_genes": published_genes or PRESETS["mmsrl"].n_top_genes}
    model, trained = "model", {"slow": True, **genes}
    found = [
        Row("PCA, k-means", plain_components, "kmeans", "baseline", random=False),
        Row("PCA, Leiden", plain_components, "leiden", "baseline", random=False),
        Row("smoothed PCA, k-means", smoothed_components, "kmeans", "baseline", random=False),
        Row("smoothed PCA, mixture of one start", smoothed_components, one_start, "baseline", random=False),
        Row("smoothed PCA, averaged mixture", smoothed_components, "gmm", "baseline", random=False),
        Row("mmsrl, untrained weights", published("mmsrl", device, train=False), "gmm", "baseline", **genes),
        # As wide as it has genes: 3,000 of both as published.
        Row("stmmr", published("stmmr", device, hidden_dim=genes["n_top_genes"]), "gmm", model, **trained),
        Row("mmsrl", published("mmsrl", device), "gmm", model, **trained),
        Row("default", default_member, number=True),
        Row("default, no image", lambda unit, seed: default_member(unit, seed, image=False), kind="ablation"),
        Row("default, no image, Gaussian graph", gaussian_member, kind="ablation", number=True),
        Row("default, no graph", lambda unit, seed: default_member(unit, seed, kernel_width=0.05), kind="ablation"),
        Row("default, one width and size", centre, kind="ablation"),
        Row("default, mixture of one start", default_member, one_start, "ablation"),
        Row("default, covariance of its own", default_member, "gmm_full", "ablation"),
        Row("default, k-means", default_member, "kmeans", "ablation"),
        Row("default, Leiden", default_member, "leiden", "ablation"),
    ]
    for name, changes in {
        "no masking": {"mask_fraction": 0.0, "masked_weight": 0.0},
        "no masked loss": {"masked_weight": 0.0},
        "no likelihood": {"reconstruction_weight": 0.0},
        "no consistency": {"consistency_weight": 0.0},
        "no regularisation": {"regularisation_weight": 0.0},
    }.items():
        found.append(Row(f"mmsrl, {name}", published("mmsrl", device, **changes), kind="ablation", **trained))
    if peer:
        found[6:6] = [
            Row("BANKSY, Leiden", banksy(peer), "leiden", "peer", random=False),  # as its authors read it out
            Row("BANKSY, averaged mixture", banksy(peer), "gmm", "peer", random=False),
        ]
    return found


def centre(unit: Unit, seed: int) -> Array:
    """The default's first member, whatever the seed."""
    return default_member(unit, seed, **constants(0))
