"""MultiQC itself shows what a run leaves for it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml
from report_page import make_report

if TYPE_CHECKING:
    from conftest import SmallRun


@pytest.fixture
def left(assembled_run: SmallRun) -> Path:
    return make_report(assembled_run).folder


def test_files_hold_the_numbers_of_the_stages(left: Path) -> None:
    general = json.loads((left / "mmsrl_general_mqc.json").read_text())
    assert set(general["data"]) == {"S1", "S2", "lone"}
    assert general["data"]["S1"] == {"median_counts": 60.0, "image_r2": 0.25, "domains": 3, "ARI": 0.625}
    domains = json.loads((left / "mmsrl_domains_mqc.json").read_text())
    assert domains["data"]["S1"] == {"1": 48, "2": 36, "10": 36}
    spots = json.loads((left / "mmsrl_spots_mqc.json").read_text())
    assert spots["data"]["S1"] == {"kept": 120, "removed": 5}
    assert json.loads((left / "mmsrl_scores_mqc.json").read_text())["data"] == {"S1": {"ARI": 0.625}}
    versions = yaml.safe_load((left / "mmsrl_mqc_versions.yml").read_text())
    assert versions["mmsrl"]["torch"] == "2.4.0"


def test_without_labels_there_is_no_section_of_scores(assembled_run: SmallRun) -> None:
    (assembled_run.folder / "pair.scores.csv").unlink()
    folder = make_report(assembled_run).folder
    assert (folder / "mmsrl_domains_mqc.json").exists()
    assert not (folder / "mmsrl_scores_mqc.json").exists()


def test_multiqc_shows_the_sections(left: Path, tmp_path: Path) -> None:
    pytest.importorskip("multiqc")
    command = [sys.executable, "-m", "multiqc", str(left), "--outdir", str(tmp_path / "mq"), "--no-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = done.stderr + done.stdout
    assert "custom_content" in said and "unrecognized" not in said
    page = (tmp_path / "mq/multiqc_report.html").read_text()
    for words in ("Quality control", "Spatial domains", "Agreement with labels"):
        assert f"{words}</h" in page or f">{words}<" in page, words
    data = tmp_path / "mq/multiqc_data"
    table = (data / "multiqc_general_stats.txt").read_text().splitlines()
    header, rows = table[0].split("\t"), {row.split("\t")[0]: row.split("\t") for row in table[1:]}
    assert set(rows) == {"S1", "S2", "lone"}
    column = next(i for i, name in enumerate(header) if name.endswith("ARI"))
    assert float(rows["S1"][column]) == 0.625 and rows["S2"][column] == ""
    assert "2.4.0" in (data / "multiqc_software_versions.txt").read_text()
