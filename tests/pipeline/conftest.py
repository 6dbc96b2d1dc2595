"""Whole runs of the pipeline through the real engine, in a copy of the project."""

from __future__ import annotations

import shutil

import pytest
from pipeline.runs import PARTS, ROOT, Project


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    root = tmp_path_factory.mktemp("project")
    for part in PARTS:
        source = ROOT / part
        (shutil.copytree if source.is_dir() else shutil.copy2)(source, root / part)
    shutil.copytree(ROOT / "src", root / "src", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests/data", root / "tests/data")
    (root / ".venv").symlink_to(ROOT / ".venv")
    return Project(root, tmp_path_factory.mktemp("launch"))
