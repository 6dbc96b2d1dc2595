"""Invalid input of later stages: filters, small sections, foreign files, missing devices."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
from PIL import Image
from planted import configuration
from scipy import sparse
from spaceranger import cut, hexagonal, visium

from bad_input.case import Case
from mmsrl.ingest.api import read_spaceranger


class _Trap:
    """Object that runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, ("touch /tmp/mmsrl-was-here",)


def _counts(folder: Path, change: Callable[[ad.AnnData], ad.AnnData | None] = lambda adata: None) -> str:
    """Write ``S1.h5ad`` in the internal form of ``ingest`` and ``qc``."""
    adata = read_spaceranger(visium(folder / "outs"), "S1").adata
    adata = change(adata) or adata
    adata.write_h5ad(folder / "S1.h5ad")
    return str(folder / "S1.h5ad")


def _qc(
    *options: str, change: Callable[[ad.AnnData], ad.AnnData | None] = lambda a: None
) -> Callable[[Path], list[str]]:
    return lambda folder: ["qc", "--id", "S1", "--counts", _counts(folder, change), *options]


def _damaged(folder: Path) -> list[str]:
    command = _qc()(folder)
    cut(folder / "S1.h5ad")
    return command


def _features(
    *options: str, change: Callable[[ad.AnnData], ad.AnnData | None] = lambda a: None, **files: Callable[[Path], Any]
) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        command = ["features", "--id", "S1", "--counts", _counts(folder, change), "--backbone", "texture", *options]
        for option, write in files.items():
            path = folder / {"image": "slide.png", "backbone_weights": "weights.pth"}[option]
            write(path)
            command += [f"--{option.replace('_', '-')}", str(path)]
        return command

    return make


def _without_scale(adata: ad.AnnData) -> None:
    adata.uns["mmsrl"]["pitch_um"] = np.nan


def _upwards(adata: ad.AnnData) -> None:
    adata.obsm["spatial"] *= [1, -1]


def _slide(path: Path) -> None:
    Image.effect_noise((900, 900), 50).convert("RGB").save(path)


def _weights_that_run(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Trap()))


def _train(
    *options: str, change: Callable[[ad.AnnData], ad.AnnData | None] = lambda a: None
) -> Callable[[Path], list[str]]:
    return lambda folder: ["train", "--id", "S1", "--counts", _counts(folder, change), *options]


def _one_gene(adata: ad.AnnData) -> ad.AnnData:
    return adata[:, :1].copy()


def _constant(adata: ad.AnnData) -> None:
    adata.X = sparse.csr_matrix(np.ones(adata.shape, np.float32))


def _embedding(folder: Path, values: Any) -> str:
    """Write an embedding of the first spots of the section of :func:`_counts`."""
    path = folder / "S1.embedding.h5ad"
    names = hexagonal()["barcode"][: len(values)].to_numpy()
    obs = pd.DataFrame({"sample": pd.Categorical(["S1"] * len(names)), "barcode": names}, index=names)
    obsm = {"X_mmsrl": np.asarray(values, np.float32), "spatial": np.zeros((len(names), 2))}
    ad.AnnData(obs=obs, obsm=obsm).write_h5ad(path)
    return str(path)


def _domains(values: Any, *options: str) -> Callable[[Path], list[str]]:
    return lambda folder: ["domains", "--id", "S1", "--embedding", _embedding(folder, values), *options]


def _labelled(folder: Path) -> tuple[str, str]:
    counts = _counts(folder)
    names = list(ad.read_h5ad(counts).obs_names)
    table = folder / "S1.domains.csv"
    domain = [str(1 + (2 * number) // len(names)) for number in range(len(names))]
    pd.DataFrame({"sample": "S1", "barcode": names, "domain": domain}).to_csv(table, index=False)
    return counts, str(table)


def _markers(gene_sets: bytes) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        counts, domains = _labelled(folder)
        (folder / "sets.gmt").write_bytes(gene_sets)
        command = ["markers", "--id", "S1", "--counts", counts, "--domains", domains]
        return [*command, *configuration(folder, "S1"), "--gene-sets", str(folder / "sets.gmt")]

    return make


def _evaluate(truth: str) -> Callable[[Path], list[str]]:
    def make(folder: Path) -> list[str]:
        _, domains = _labelled(folder)
        (folder / "truth.csv").write_text(truth, encoding="utf-8")
        embedding = _embedding(folder, np.random.default_rng(0).random((30, 3)))
        command = ["evaluate", "--id", "S1", "--domains", domains, "--embedding", embedding]
        return [*command, "--truth", f"S1={folder / 'truth.csv'}"]

    return make


def _model_that_runs(folder: Path) -> list[str]:
    counts, _ = _labelled(folder)
    names = list(ad.read_h5ad(counts).obs_names)
    model = folder / "S1.model.npz"
    model.write_bytes(pickle.dumps(_Trap()))
    features = ad.AnnData(np.zeros((len(names), 0), np.float32), obs=pd.DataFrame(index=names))
    features.obsm["X_image"], features.uns["mmsrl"] = np.zeros((len(names), 0)), {"sample": "S1"}
    features.write_h5ad(folder / "S1.features.h5ad")
    command = ["enhance", "--id", "S1", "--counts", counts, "--features", str(folder / "S1.features.h5ad")]
    return [*command, "--embedding", _embedding(folder, np.zeros((30, 3))), "--model", str(model)]


CASES = (
    Case("a filter of counts that removes all spots", _qc("--min-counts", "100000")),
    Case("a filter of genes that removes all genes", _qc("--min-spots", "31")),
    Case("a percentage above 100", _qc("--max-pct-mt", "200")),
    Case("the file of a stage cut short", _damaged),
    Case("a file that is not there", lambda folder: ["qc", "--id", "S1", "--counts", str(folder / "none.h5ad")]),
    Case("an image that is not of the coordinates", _features(image=lambda p: Image.new("RGB", (50, 50)).save(p))),
    Case("coordinates that count upwards", _features(change=_upwards, image=_slide)),
    Case(
        "tiles in micrometres of a section whose scale is not known",
        _features("--tile-um", "100,300", change=_without_scale, image=_slide),
    ),
    Case(
        "an image cut short",
        _features(image=lambda path: _slide(path) or cut(path)),
    ),
    Case(
        "a GPU for image features where there is none",
        _features("--backbone", "efficientnet_lite0", "--device", "cuda", image=_slide),
    ),
    Case("a model that timm does not have", _features("--backbone", "timm/resnet-18", image=_slide)),
    Case(
        "weights that would run a command",
        _features("--backbone", "timm/resnet18", image=_slide, backbone_weights=_weights_that_run),
    ),
    Case("a GPU for training where there is none", _train("--preset", "mmsrl", "--device", "cuda")),
    Case("one gene", _train(change=_one_gene)),
    Case("genes that are constant", _train(change=_constant)),
    Case("two spots", _train(change=lambda adata: adata[:2].copy())),
    Case("a width of the graph of zero", _train("--kernel-width", "0")),
    Case("more domains than spots in an embedding", _domains(np.arange(30.0).reshape(10, 3), "--n-domains", "11")),
    Case("an embedding that is constant", _domains(np.ones((10, 3)), "--n-domains", "2")),
    Case("an embedding that is NaN", _domains(np.full((10, 3), np.nan), "--n-domains", "2")),
    Case("a model that would run a command", _model_that_runs),
    Case("gene sets without tabs", _markers(b"HALLMARK_A GAPDH ACTB\n")),
    Case("gene sets in UTF-16", _markers("A\tx\tGAPDH\n".encode("utf-16"))),
    Case("two gene sets of one name", _markers(b"A\tx\tGAPDH\nA\tx\tACTB\n")),
    Case("no gene sets", _markers(b"\n")),
    Case("labels of other spots", _evaluate("barcode,label\nnone,L1\n")),
)
