"""Stages stay within the image that their module names, and images within what is locked."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

PROJECT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
MODULES = sorted((PROJECT / "modules/local").glob("*/main.nf"))
EXTRAS = {"cpu": ("image", "spatialdata"), "cuda": ("image", "torch", "timm", "spatialdata")}
DEPENDENCIES = {
    variant: PYPROJECT["dependencies"]
    + [text for extra in extras for text in PYPROJECT["optional-dependencies"][extra]]
    for variant, extras in EXTRAS.items()
}


EITHER = "${task.ext.network == false ? 'cpu' : 'cuda'}"
"""Variant of the stages that run a network or none."""


def locked(variant: str) -> dict[str, set[Version]]:
    """Return the versions that a lock file allows, by package: one for each range of Python versions."""
    text = (PROJECT / f"containers/requirements-{variant}.txt").read_text(encoding="utf-8")
    found: dict[str, set[Version]] = {}
    for name, version in re.findall(r"^([\w.-]+)==(\S+)", text, flags=re.MULTILINE):
        found.setdefault(name, set()).add(Version(version))
    return found


def image_of(module: Path) -> str:
    return re.search(r"^    container ['\"](.+)['\"]$", module.read_text(encoding="utf-8"), flags=re.MULTILINE)[1]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.parent.name)
def test_the_tag_of_an_image_is_the_version_of_the_package(module):
    assert re.fullmatch(rf"mmsrl/mmsrl:{re.escape(PYPROJECT['version'])}-(cpu|{re.escape(EITHER)})", image_of(module))


@pytest.mark.parametrize("variant", DEPENDENCIES)
def test_every_dependency_is_locked_at_a_version_that_is_wanted(variant):
    versions = locked(variant)
    for wanted in map(Requirement, DEPENDENCIES[variant]):
        if wanted.name == "mmsrl":
            assert wanted.extras <= set(EXTRAS[variant])
            continue
        assert versions.get(wanted.name), f"{wanted.name} is not locked; run make lock"
        assert all(wanted.specifier.contains(version) for version in versions[wanted.name]), f"{wanted}; run make lock"


@pytest.mark.parametrize("name", ["cpu", "cuda", "aws", "sbom"])
def test_everything_locked_has_its_hashes(name):
    text = (PROJECT / f"containers/requirements-{name}.txt").read_text(encoding="utf-8")
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries and all("--hash=sha256:" in entry for entry in entries)


def test_the_image_without_pytorch_has_none():
    assert not {"torch", "triton"} & set(locked("cpu"))
    assert not {name for name in locked("cpu") if name.startswith(("nvidia-", "cuda-"))}
    assert locked("cpu").keys() < locked("cuda").keys()
    shared = {name: versions for name, versions in locked("cuda").items() if name in locked("cpu")}
    assert shared == locked("cpu")
