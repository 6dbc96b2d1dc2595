"""Output of a small run before assembly and report: two labelled sections in a group, and one without image."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anndata as ad
import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from spaceranger import visium

from mmsrl.assemble.cli import main as assemble

SHAPES = {"S1": (12, 10), "S2": (9, 8), "lone": (7, 6)}
UNITS = {"pair": ("S1", "S2"), "lone": ("lone",)}
PITCH = 40.0


@dataclass
class SmallRun:
    """Folder with the output of all stages before assembly and report."""

    folder: Path
    domains: dict[str, list[str]]
    """Domains of the spots by sample."""

    def copy(self, folder: Path) -> SmallRun:
        """Return a copy that a test may change."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return replace(self, folder=folder)

    def assemble_arguments(self, unit: str) -> list[str]:
        """Return the command line of mmsrl-assemble for a unit."""
        arguments = ["--id", unit, "--output-dir", str(self.folder)]
        for sample in UNITS[unit]:
            arguments += ["--counts", str(self.folder / f"{sample}.qc.h5ad")]
            arguments += ["--features", str(self.folder / f"{sample}.features.h5ad")]
        arguments += ["--embedding", str(self.folder / f"{unit}.embedding.h5ad")]
        arguments += ["--domains", str(self.folder / "unit" / f"{unit}.domains.csv")]
        return [*arguments, "--summaries", str(self.folder / f"{unit}.train.json")]

    @property
    def report(self) -> Path:
        """Folder of the report, with a folder for the pages."""
        folder = self.folder / "report"
        (folder / "sections").mkdir(parents=True, exist_ok=True)
        return folder

    def page_arguments(self, unit: str) -> list[str]:
        """Return the command line of mmsrl-page for all files of a unit."""
        arguments = ["--id", unit, "--output-dir", str(self.report / "sections")]
        patterns = [("assembled", f"{sample}.mmsrl.h5ad") for sample in UNITS[unit]]
        patterns += [("summaries", f"{id}.*.json") for id in dict.fromkeys([*UNITS[unit], unit])]
        patterns += [("training", f"{unit}.training.tsv"), ("evidence", f"{unit}.enhanced_genes.tsv")]
        patterns += [("enhanced", f"{unit}.enhanced.h5ad"), ("scores", f"{unit}.scores.csv")]
        return arguments + self._listed(patterns)

    def report_arguments(self) -> list[str]:
        """Return the command line of mmsrl-report for all files in the folder."""
        arguments = ["--output-dir", str(self.report), "--params", str(self.folder / "params.json")]
        patterns = [("card", "report/sections/*.card.json"), ("summaries", "*.*.json"), ("versions", "versions*.yml")]
        return arguments + self._listed(patterns)

    def _listed(self, patterns: list[tuple[str, str]]) -> list[str]:
        found = [(option, path) for option, pattern in patterns for path in sorted(self.folder.glob(pattern))]
        return [part for option, path in found for part in (f"--{option}", str(path))]


def counts_of(sample: str, generator: np.random.Generator) -> tuple[ad.AnnData, list[str]]:
    """Simulate a section whose left, middle and right thirds are domains 1, 2 and 10."""
    rows, columns = SHAPES[sample]
    row, column = (index.ravel() for index in np.indices((rows, columns)))
    domains = np.array(["1", "2", "10"])[column * 3 // columns]
    # S2 lacks the last gene, because a group keeps only common genes.
    genes = [f"G{index}" for index in range(19 if sample == "S2" else 20)]
    counts = generator.poisson(3, (rows * columns, len(genes))).astype(np.float32)
    metrics = {"total_counts": counts.sum(1), "n_genes_by_counts": (counts > 0).sum(1), "pct_counts_mt": 0.0}
    xy = np.column_stack([column, row]) * PITCH + 60
    height, width = int(rows * PITCH + 120), int(columns * PITCH + 120)
    images = {"hires": generator.integers(150, 255, (height // 2, width // 2, 3), dtype=np.uint8)}
    adata = ad.AnnData(
        X=sp.csr_matrix(counts),
        obs=pd.DataFrame(
            {"in_tissue": 1, "array_row": row, "array_col": column, **metrics},
            index=[f"<b>{index}-1" for index in range(len(counts))],
        ),
        var=pd.DataFrame({"gene_ids": [f"ID{index}" for index in range(len(genes))]}, index=genes),
        obsm={"spatial": xy},
        uns={
            "spatial": {
                sample: {
                    "images": {} if sample == "lone" else images,
                    "scalefactors": {"tissue_hires_scalef": 0.5, "spot_diameter_fullres": 25.0},
                }
            },
            "mmsrl": {
                "sample": sample,
                "platform": "other" if sample == "lone" else "visium",
                "lattice": "square",
                "pitch_px": PITCH,
                "pitch_um": np.nan if sample == "lone" else 100.0,
                "um_per_px": np.nan if sample == "lone" else 2.5,
                "spot_diameter_px": np.nan if sample == "lone" else 25.0,
                "species": "human",
            },
        },
    )
    return adata, domains.tolist()


def summary(folder: Path, stage: str, id: str, **content: Any) -> None:
    text = {"stage": stage, "id": id, "parameters": {}, "messages": [], "result": {}, **content}
    (folder / f"{id}.{stage}.json").write_text(json.dumps(text))


@pytest.fixture
def outs(tmp_path: Path) -> Path:
    """Visium section in the layout of Space Ranger 1."""
    return visium(tmp_path / "run" / "outs")


@pytest.fixture(scope="session")
def template_run(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return write_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def template_assembled(template_run: SmallRun, tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    run = template_run.copy(tmp_path_factory.mktemp("assembled"))
    for unit in UNITS:
        result = CliRunner().invoke(assemble, run.assemble_arguments(unit))
        assert result.exit_code == 0, result.output
    return run


@pytest.fixture
def small_run(template_run: SmallRun, tmp_path: Path) -> SmallRun:
    return template_run.copy(tmp_path)


@pytest.fixture
def assembled_run(template_assembled: SmallRun, tmp_path: Path) -> SmallRun:
    return template_assembled.copy(tmp_path)


def write_run(tmp_path: Path) -> SmallRun:
    generator = np.random.default_rng(0)
    run = SmallRun(tmp_path, {})
    (tmp_path / "unit").mkdir()
    for unit, samples in UNITS.items():
        located = []
        for sample in samples:
            counts, run.domains[sample] = counts_of(sample, generator)
            counts.write_h5ad(tmp_path / f"{sample}.qc.h5ad")
            n = counts.n_obs
            located.append(pd.DataFrame({"sample": sample, "barcode": counts.obs_names, "domain": run.domains[sample]}))
            features = ad.AnnData(
                X=np.zeros((n, 0), np.float32),
                obs=pd.DataFrame(index=counts.obs_names[::-1]),
                obsm={"X_image": np.arange(n, dtype=np.float32)[::-1, np.newaxis][:, : 0 if sample == "lone" else 1]},
                uns={"mmsrl": {"sample": sample}},
            )
            features.write_h5ad(tmp_path / f"{sample}.features.h5ad")
            image = {"name": "hires", "scale": 0.5, "width": 260, "height": 300, "sha256": "ef" * 32}
            described = {
                "image": image,
                "px_per_pitch": 20.0,
                "tiles": [{"um": 100.0, "px": 20.0, "pitches": 1.0, "descriptor": "net", "weights_sha256": "cd" * 32}],
                "stain": {"background": "white"},
                "expression": {"components": 10, "r2": 0.25},
                "descriptor": "efficientnet_lite0",
                "columns": 1280,
                "components": 1,
                "explained_variance": 0.5,
                "spots_outside": 0,
            }
            none = {"image": None, "descriptor": None, "components": 0}
            warning = {"level": "warning", "text": "no image features: there is no image"}
            summary(
                tmp_path,
                "features",
                sample,
                result=none if sample == "lone" else described,
                messages=[warning] if sample == "lone" else [],
            )
            inputs = [{"file": "counts.h5", "bytes": 3, "sha256": "ab" * 32}]
            summary(tmp_path, "ingest", sample, result={"inputs": inputs})
            summary(
                tmp_path,
                "qc",
                sample,
                parameters={"min_counts": 1, "min_spots": 3},
                result={
                    "n_spots_before": n + 5,
                    "spot_filters": [{"filter": "min_counts", "value": 1, "threshold": 1, "removed": 5}],
                    "gene_filters": [{"filter": "min_spots", "value": 3, "removed": 4}],
                    "quantile_levels": [0.0, 0.05, 0.5, 0.95, 1.0],
                    "quantiles_before": {"total_counts": [0.0, 40.0, 59.0, 70.0, 81.0]},
                    "quantiles_after": {"total_counts": [30.0, 41.0, 60.0, 70.0, 81.0]},
                },
            )
        spots = pd.concat(located, ignore_index=True).sample(frac=1, random_state=1)
        # Files of a unit have another order than the counts. Rows of the embedding identify their spots.
        identity = np.column_stack([spots["sample"].map(list(SHAPES).index), spots["barcode"].str[3:-2].astype(int)])
        embedding = ad.AnnData(
            obs=spots[["sample", "barcode"]].set_index(spots["barcode"] + "-" + spots["sample"]),
            obsm={"X_mmsrl": identity.astype(np.float32), "spatial": identity.astype(np.float64)},
        )
        embedding.write_h5ad(tmp_path / f"{unit}.embedding.h5ad")
        spots.to_csv(tmp_path / "unit" / f"{unit}.domains.csv", index=False)
        losses = {"epoch": [1, 2, 3], "seconds": [0.1, 0.1, 0.1], "total": [3.0, 2.0, np.nan], "zinb": [2.0, 1.5, 1.0]}
        pd.DataFrame(losses).to_csv(tmp_path / f"{unit}.training.tsv", sep="\t", index=False)
        summary(
            tmp_path,
            "train",
            unit,
            parameters={"preset": "default", "seed": 7, "epochs": None},
            result={"samples": dict.fromkeys(samples, 1), "n_genes": 40, "epochs": 3},
            messages=[{"level": "warning", "text": f"genes of {unit} were intersected"}],
        )
        curve = [{"n_domains": 3, "stability": 0.9}, {"n_domains": 4, "stability": 0.7}]
        chosen = {"n_domains": 3, "rule": "the most stable of 3 to 4", "curve": curve}
        found = {"chosen": chosen, "members": 12, "components": [15, 20, 30]}
        summary(tmp_path, "domains", unit, parameters={"readout": "gmm", "seed": 0}, result=found)
    agreement = {
        "domains": ["1", "2", "10"],
        "labels": ["white & grey", "L1"],
        "confusion": [[40, 0], [0, 41], [39, 0]],
        "matched": {"1": "white & grey", "2": "L1"},
    }
    summary(tmp_path, "evaluate", "pair", result={"S1": agreement})
    scores = pd.DataFrame({"sample": "S1", "metric": ["ARI", "NMI"], "value": [0.625, np.nan], "n_spots": 120})
    scores.to_csv(tmp_path / "pair.scores.csv", index=False)
    (tmp_path / "versions.yml").write_text('"TRAIN":\n  python: 3.11.7\n  torch: 2.4.0\n')
    (tmp_path / "versions2.yml").write_text('"REPORT":\n  python: 3.11.7\n  plotly: 6.0.0\n')
    (tmp_path / "params.json").write_text(
        json.dumps({"preset": "default", "seed": 7, "input": "<script>alert(1)</script>"})
    )
    return run
