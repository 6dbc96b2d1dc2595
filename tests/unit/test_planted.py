"""The default on planted sections: depth gradients, no structure, sections of unequal composition, irregular cells."""

from __future__ import annotations

from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from sklearn.metrics import adjusted_rand_score

import mmsrl.tl
from mmsrl import _keys
from mmsrl.domains.api import domains
from mmsrl.evaluate.truth import read_truth
from mmsrl.ingest.api import read_spaceranger
from mmsrl.train.api import as_anndata, train

SIDE, GENES = 32, 1000


def section(
    labels: NDArray[np.int64],
    places: NDArray[np.float64],
    profiles: NDArray[np.float64],
    depth: NDArray[np.float64],
    random: np.random.Generator,
    **about: object,
) -> ad.AnnData:
    """Return a section of Poisson counts: spot i has ``depth[i]`` molecules of the profile of its label."""
    counts = random.poisson(depth[:, None] * profiles[labels])
    adata = ad.AnnData(sp.csr_matrix(counts, dtype=np.float32), obsm={"spatial": places})
    adata.obs_names = [f"spot{i}" for i in range(len(labels))]
    adata.var_names = [f"gene{g}" for g in range(profiles.shape[1])]
    adata.uns[_keys.UNS] = about
    return adata[:, np.asarray(counts.sum(axis=0)) > 0].copy()


def profiles_of(k: int, genes: int, marked: int, fold: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Return (k, genes) shares of counts: a common profile with genes of its own for each label."""
    base = random.lognormal(0.0, 1.0, genes)
    found = np.tile(base, (k, 1))
    for row in found:
        row[random.choice(genes, marked, replace=False)] *= fold
    return np.asarray(found / found.sum(axis=1, keepdims=True))


def lattice() -> NDArray[np.float64]:
    """Return a square lattice, x and y from 0."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.column_stack([x.ravel(), y.ravel()]).astype(float)


def gradient(places: NDArray[np.float64], fold: float, random: np.random.Generator) -> NDArray[np.float64]:
    """Return depths around 1,000 that rise ``fold`` times from left to right."""
    return np.asarray(1000.0 * fold ** (places[:, 0] / (SIDE - 1) - 0.5) * random.lognormal(0.0, 0.2, len(places)))


def domains_of(sections: list[ad.AnnData]) -> list[str]:
    return [domain for adata in sections for domain in adata.obs["domain"]]


@pytest.mark.parametrize(("fold", "least"), [(4.0, 0.95), (16.0, 0.9)])
def test_bands_are_found_across_a_gradient_of_depth(fold: float, least: float) -> None:
    random, places = np.random.default_rng(0), lattice()
    labels = (places[:, 1] * 3 // SIDE).astype(int)
    adata = section(labels, places, profiles_of(3, GENES, 60, 2.0, random), gradient(places, fold, random), random)
    mmsrl.tl.domains(adata, 3)
    assert adjusted_rand_score(labels, adata.obs["domain"]) >= least
    assert adata.uns["domain"]["depth_explained"] < 0.1


@pytest.mark.parametrize("fold", [1.0, 4.0, 16.0])
def test_a_section_without_domains_has_no_structure_in_nine_of_ten_draws(fold: float) -> None:
    places, alone = lattice(), 0
    for draw in range(10):
        random = np.random.default_rng(draw)
        depth = gradient(places, fold, random)
        adata = section(np.zeros(len(places), int), places, profiles_of(1, 300, 0, 1.0, random), depth, random)
        found = domains(as_anndata(train(adata, show_progress=False, kernel_width=1.0)))
        alone += found.facts["n_domains"] == 1
        assert found.facts["n_domains"] > 1 or "no structure found" in " ".join(m["text"] for m in found.messages)
    assert alone >= 9


@pytest.mark.parametrize("batch", [0.0, 0.5])
def test_sections_of_unequal_composition_keep_what_one_of_them_has_alone(batch: float) -> None:
    random, places = np.random.default_rng(1), lattice()
    profiles = profiles_of(3, GENES, 60, 2.0, random)
    half = (places[:, 1] * 2 // SIDE).astype(int)
    shift = np.exp(batch * random.normal(size=GENES))  # of every gene in the second section
    moved = profiles * shift
    labels = [half, half + 1]
    sections = [
        section(label, places, own / own.sum(axis=1, keepdims=True), gradient(places, 1.0, random), random, sample=name)
        for name, label, own in zip("AB", labels, (profiles, moved), strict=True)
    ]
    mmsrl.tl.domains(sections, 3)
    assert adjusted_rand_score(np.concatenate(labels), domains_of(sections)) >= 0.95


def test_a_time_course_keeps_domains_that_come_and_go() -> None:
    """Three sections, of which each shares one of its two domains with the next."""
    random, places = np.random.default_rng(3), lattice()
    profiles = profiles_of(4, GENES, 60, 2.0, random)
    half = (places[:, 1] * 2 // SIDE).astype(int)
    labels = [half, half + 1, half + 2]
    sections = [
        section(label, places, profiles, gradient(places, 1.0, random), random, sample=name)
        for name, label in zip("ABC", labels, strict=True)
    ]
    mmsrl.tl.domains(sections, 4)
    assert adjusted_rand_score(np.concatenate(labels), domains_of(sections)) >= 0.95


def test_layers_of_the_cortex_are_the_same_domains_in_both_sections_of_a_pair(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmsrl.domains.mixture.STARTS", 4)  # for time: 32 come to .64
    names = ("151673", "151674")
    folders = [Path(__file__).parents[2] / "assets/demo" / name for name in names]
    sections = [read_spaceranger(folder, folder.name).adata for folder in folders]
    labels = [pd.Series(read_truth(folder / "truth.csv", sample=folder.name)) for folder in folders]
    truth = pd.concat(labels, keys=names, names=["sample", "barcode"]).rename("label")
    mmsrl.tl.domains(sections, 7)
    tables = [adata.obs[["domain"]].rename_axis("barcode") for adata in sections]
    both = pd.concat(tables, keys=names, names=["sample"]).join(truth, how="inner").query("label != ''")
    assert len(both) > 7_000
    assert adjusted_rand_score(both["label"], both["domain"]) >= 0.58
    assert sections[0].uns["domain"]["section_association"] < 0.2


def test_layers_of_mixed_cell_types_are_found_among_irregular_cells() -> None:
    random = np.random.default_rng(2)
    places = random.uniform(0.0, 1000.0, (1500, 2))
    # Cells do not overlap: of pairs nearer than 8 µm one is left out.
    places = np.delete(places, np.unique(cKDTree(places).query_pairs(8.0, output_type="ndarray")[:, 1]), axis=0)
    layer = (places[:, 1] // 200.0).astype(int)
    types = 6
    # Every layer has all six types; half of its cells are of its own.
    kind = np.where(random.random(len(places)) < 0.5, layer, random.integers(0, types, len(places)))
    depth = random.lognormal(np.log(200.0), 0.5, len(places))
    adata = section(kind, places, profiles_of(types, 155, 20, 4.0, random), depth, random)
    mmsrl.tl.domains(adata, 5)
    assert adjusted_rand_score(layer, adata.obs["domain"]) >= 0.9
