"""Whole runs of the pipeline through the real engine, in a copy of the project."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pipeline.runs import PARTS, ROOT, Project, Run

SHARE_A_RUN = ("test_run.py", "test_start.py")


@pytest.hookimpl(tryfirst=True)  # before xdist reads the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the tests of a file run in one process, and those of two files that start from one whole run."""
    for item in items:
        if item.path.parent == Path(__file__).parent:
            name = "a whole run" if item.path.name in SHARE_A_RUN else item.path.name
            item.add_marker(pytest.mark.xdist_group(name))


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


@pytest.fixture(scope="session")
def first(project: Project) -> Run:
    """Run the whole pipeline on two small real sections, and keep its results in ``earlier [1]``."""
    run = project.run()
    shutil.copytree(project.launch / "results", project.launch / "earlier [1]")
    return run
