"""Another pipeline includes the subworkflow, with nothing of the project but what it includes."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
from pathlib import Path

import anndata as ad
from pipeline.runs import ROOT

INCLUDED = ("modules/local", "subworkflows/local/spatial_domains", "tests/foreign")


def test_a_foreign_pipeline_goes_on_from_its_own_space_ranger(tmp_path: Path) -> None:
    lifted = tmp_path / "lifted"
    for part in INCLUDED:
        shutil.copytree(ROOT / part, lifted / part)
    launch = tmp_path / "launch"
    launch.mkdir()

    done = subprocess.run(
        [str(ROOT / "engine/nextflow"), "-q", "run", str(lifted / "tests/foreign/main.nf"), "-ansi-log", "false"]
        + ["--data", str(ROOT / "tests/data/tiny"), "-with-trace", "trace.txt"],
        cwd=launch,
        env={**os.environ, "PATH": os.pathsep.join([str(ROOT / ".venv/bin"), os.environ["PATH"]])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1200,
        check=False,
    )

    assert done.returncode == 0, done.stdout
    assert "WARN" not in done.stdout
    published = {
        str(path.relative_to(launch / "results")) for path in (launch / "results").rglob("*") if path.is_file()
    }
    assert published == {"domains/A1.mmsrl.h5ad", "domains/A1.spots.csv", "counts/A1.spots.tsv"}
    final = ad.read_h5ad(launch / "results/domains/A1.mmsrl.h5ad")
    counts = [line.split() for line in (launch / "results/counts/A1.spots.tsv").read_text().splitlines()]
    assert {domain: int(n) for n, domain in counts} == final.obs["domain"].astype(str).value_counts().to_dict()
    with (launch / "trace.txt").open(newline="") as handle:
        tasks = {row["name"]: row["status"] for row in csv.DictReader(handle, delimiter="\t")}
    assert "SPATIAL_DOMAINS:TRAIN (A1)" in tasks
    assert set(tasks.values()) == {"COMPLETED"}
