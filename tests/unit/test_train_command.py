"""The command around training: what it writes, and what it says of its files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from halves import section

from mmsrl.train.cli import main
from mmsrl.train.files import read_model


def write_unit(folder: Path, names: list[str]) -> list[str]:
    """Write counts and features of sections; return the command's arguments that name them."""
    arguments = []
    for k, name in enumerate(names):
        adata = section(name, seed=k)
        adata.uns["spatial"] = {name: {}}
        adata.write_h5ad(folder / f"{name}.qc.h5ad")
        rng = np.random.default_rng(k)
        features = ad.AnnData(
            rng.standard_normal((120, 8)).astype(np.float32),
            obs=adata.obs[[]].iloc[::-1],
            obsm={"X_image": rng.standard_normal((120, 4)).astype(np.float32)},
            uns=adata.uns,
        )
        features.write_h5ad(folder / f"{name}.features.h5ad")
        arguments += ["--counts", f"{folder / name}.qc.h5ad", "--features", f"{folder / name}.features.h5ad"]
    return arguments


def test_command_writes_embedding_losses_model_and_summary(tmp_path: Path) -> None:
    arguments = [*write_unit(tmp_path, ["b", "a"]), "--id", "pair", "--output-dir", str(tmp_path), "--device", "cpu"]
    done = CliRunner().invoke(main, [*arguments, "--preset", "mmsrl", "--epochs", "2"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    embedding = ad.read_h5ad(tmp_path / "pair.embedding.h5ad")
    assert embedding.obs["sample"].tolist() == ["a"] * 120 + ["b"] * 120
    assert embedding.obs["barcode"].tolist() == [f"spot{i}" for i in range(120)] * 2
    assert embedding.obs_names[0] == "spot0-a"
    assert embedding.obsm["X_mmsrl"].shape == (240, 20)
    losses = pd.read_csv(tmp_path / "pair.training.tsv", sep="\t")
    assert losses.columns.tolist() == [
        "epoch", "seconds", "total", "zinb", "regularisation", "consistency", "masked"
    ]  # fmt: skip
    assert losses["epoch"].tolist() == [1, 2]
    model = read_model(tmp_path / "pair.model.npz")
    assert model["preset"] == "mmsrl"
    assert len(model["genes"]) == 60
    summary = json.loads((tmp_path / "pair.train.json").read_text())
    assert summary["parameters"]["preset"] == "mmsrl"
    assert summary["result"]["n_image_features"] == 8
    assert "section_mixing" in summary["result"]
    assert model["state"]["pi.weight"].shape[0] == 60
    assert {path.name for path in tmp_path.glob("pair.*")} == {
        f"pair.{name}" for name in ("embedding.h5ad", "training.tsv", "model.npz", "train.json")
    }


def test_command_keeps_to_its_threads_when_numba_starts_with_others(tmp_path: Path) -> None:
    arguments = [*write_unit(tmp_path, ["x"]), "--id", "x", "--output-dir", str(tmp_path)]
    code = f"from mmsrl.train.cli import main; main({[*arguments, '--n-top-genes', '50']!r})"
    threads = {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "3"}
    # In a process of its own: numba starts once.
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **threads}, check=True)
    assert json.loads((tmp_path / "x.train.json").read_text())["result"]["threads"] == 1


@pytest.mark.parametrize("name", ["x.qc.h5ad", "x.features.h5ad"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no HDF5"), "not HDF5, or truncated"),
        (lambda path: path.write_bytes(path.read_bytes()[:-4000]), "not HDF5, or truncated"),
        (lambda path: ad.AnnData(np.ones((3, 2))).write_h5ad(path), "has no "),
    ],
)
def test_command_names_damaged_and_foreign_files(tmp_path: Path, name: str, damage, message: str) -> None:
    arguments = write_unit(tmp_path, ["x"])
    damage(tmp_path / name)
    done = CliRunner().invoke(main, [*arguments, "--id", "x", "--output-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert f"{name}: {message}" in done.output
    assert not (tmp_path / "x.embedding.h5ad").exists()


def test_command_writes_losses_of_the_default_with_a_header_alone(tmp_path: Path) -> None:
    arguments = [*write_unit(tmp_path, ["a"]), "--id", "a", "--output-dir", str(tmp_path), "--device", "cpu"]
    done = CliRunner().invoke(main, [*arguments, "--seed", "1"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.training.tsv").read_text() == "epoch\tseconds\ttotal\n"
    result = json.loads((tmp_path / "a.train.json").read_text())["result"]
    assert (result["epochs"], result["losses"], result["seconds_per_epoch"]) == (0, {}, None)
    assert ad.read_h5ad(tmp_path / "a.embedding.h5ad").obsm["X_mmsrl"].shape[0] == 120


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: f.uns.clear(), "x.features.h5ad: has no uns/mmsrl/sample"),
        (lambda f: f.uns["mmsrl"].update(sample="y"), "x.features.h5ad: sample y is not among the counts (x)"),
        (lambda f: setattr(f, "obs_names", [f"z{i}" for i in range(120)]), "spot spot0 of sample x has no image"),
    ],
)
def test_command_names_the_file_at_fault(tmp_path: Path, damage, message: str) -> None:
    arguments = write_unit(tmp_path, ["x"])
    features = ad.read_h5ad(tmp_path / "x.features.h5ad")
    damage(features)
    features.write_h5ad(tmp_path / "x.features.h5ad")
    done = CliRunner().invoke(main, [*arguments, "--id", "x", "--output-dir", str(tmp_path)])
    assert done.exit_code == 2
    assert message in done.output
