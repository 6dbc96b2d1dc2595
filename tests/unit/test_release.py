"""One version everywhere; ``make release-check VERSION=…`` asks whether it can be released under that name."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml

PROJECT = Path(__file__).parents[2]
VERSION = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
CHANGELOG = (PROJECT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_one_version_everywhere():
    config = (PROJECT / "nextflow.config").read_text(encoding="utf-8")
    versions = {
        "nextflow.config": re.search(r"^    version += '(.*)'$", config[config.index("manifest {") :], re.MULTILINE)[1],
        "CITATION.cff": yaml.safe_load((PROJECT / "CITATION.cff").read_text(encoding="utf-8"))["version"],
        ".nf-core.yml": yaml.safe_load((PROJECT / ".nf-core.yml").read_text(encoding="utf-8"))["template"]["version"],
        "CHANGELOG.md": re.search(r"^## (\S+)", CHANGELOG, re.MULTILINE)[1],
    }
    assert versions == dict.fromkeys(versions, VERSION)


@pytest.mark.skipif("RELEASE" not in os.environ, reason="asked for by make release-check")
def test_the_version_to_be_released_is_this_one_and_has_a_dated_chapter():
    assert os.environ["RELEASE"] == VERSION
    assert re.search(rf"^## {re.escape(VERSION)} – \d{{4}}-\d\d-\d\d$", CHANGELOG, re.MULTILINE)


@pytest.mark.parametrize("workflow", sorted((PROJECT / ".github/workflows").iterdir()), ids=lambda path: path.stem)
def test_workflows_run_targets_that_there_are(workflow):
    targets = set(re.findall(r"^([\w-]+):", (PROJECT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"].values()
    commands = "\n".join(step.get("run", "") for job in jobs for step in job.get("steps", []))
    assert set(re.findall(r"\bmake ([\w-]+)", commands)) <= targets
