"""An edit of the package changes the fingerprints of exactly the stages that can import it."""

from __future__ import annotations

import platform
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

import mmsrl
from mmsrl._parameter import Parameter
from mmsrl._stages import STAGES
from mmsrl.check.fingerprint import fingerprints, installed, stages
from mmsrl.parameters import PARAMETERS

REAL = Path(mmsrl.__file__).parent
ALL = set(STAGES)

BOTH = {"first", "second"}
# A small package of two stages: the text of each file, and the stages that can import it.
SMALL: dict[str, tuple[str, set[str]]] = {
    "__init__.py": ("", BOTH),
    "_click.py": ("from mmsrl.parameters import PARAMETERS\n", BOTH),
    "parameters.py": ("PARAMETERS = ()\n", set()),
    "shared.py": ("import mmsrl.deep as d\n", BOTH),
    "deep.py": ("", BOTH),
    "late.py": ("import mmsrl.outer.inner.leaf\n", {"first"}),
    "outer/__init__.py": ("", {"first"}),
    "outer/alone.py": ("", set()),
    "outer/inner/__init__.py": ("", {"first"}),
    "outer/inner/leaf.py": ("", {"first"}),
    "named.py": ("", {"second"}),
    "alone.py": ("", set()),
    "facade/__init__.py": ("", set()),
    "first/__init__.py": ("", {"first"}),
    "first/cli.py": ("import mmsrl._click\n\ndef main():\n    from mmsrl import late\n", {"first"}),
    "first/core.py": ("from .. import shared\n", {"first"}),
    "first/templates/page.html": ("<p>", {"first"}),
    "second/__init__.py": ("", {"second"}),
    "second/cli.py": ("from mmsrl._click import x\nLOADER = load('mmsrl.named')\n", {"second"}),
    "second/core.py": ("from mmsrl.shared import x\n", {"second"}),
    "check/__init__.py": ("", set()),
    "check/cli.py": ("import mmsrl.shared\n", set()),
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for name, (text, _users) in SMALL.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real") / "mmsrl"
    shutil.copytree(REAL, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def unedited() -> dict[str, str]:
    return fingerprints(REAL)


def differing(before: dict[str, str], after: dict[str, str]) -> set[str]:
    assert before.keys() == after.keys()
    return {stage for stage in before if before[stage] != after[stage]}


def changed_by(root: Path, file: str, addition: str) -> set[str]:
    """Return the stages whose fingerprint changes by an addition to a file, and undo the addition."""
    before = fingerprints(root)
    text = (root / file).read_text()
    (root / file).write_text(text + addition)
    after = fingerprints(root)
    (root / file).write_text(text)
    return differing(before, after)


@pytest.mark.parametrize("file", SMALL)
def test_edit_changes_exactly_the_stages_that_can_import_it(small: Path, file: str) -> None:
    assert changed_by(small, file, "\nEDITED = 1\n") == SMALL[file][1]


IMPORTS_AT_RUN_TIME = {
    "computed": "import importlib\n\ndef main(x):\n    importlib.import_module(f'mmsrl.{x}')\n",
    "built in": "def main(x):\n    __import__(x)\n",
    "all names": "from mmsrl.facade import *\n",
    "lazy facade": "from mmsrl import facade\n",
}


@pytest.mark.parametrize("text", IMPORTS_AT_RUN_TIME.values(), ids=IMPORTS_AT_RUN_TIME)
def test_import_of_a_module_known_at_run_time_only_counts_as_all_modules(small: Path, text: str) -> None:
    (small / "facade/__init__.py").write_text("def __getattr__(name):\n    return load(name)\n")
    (small / "first/core.py").write_text(text)
    for file in ("alone.py", "parameters.py"):
        assert changed_by(small, file, "\nEDITED = 1\n") == {"first"}


def test_stage_that_reads_the_table_itself_changes_with_the_table(small: Path) -> None:
    (small / "second/core.py").write_text("from mmsrl.parameters import PARAMETERS\n")
    assert changed_by(small, "parameters.py", "\nEDITED = 1\n") == {"second"}


def test_new_file_of_data_changes_its_stage(small: Path) -> None:
    before = fingerprints(small)
    (small / "second/style.css").write_text("p {}")
    assert differing(before, fingerprints(small)) == {"second"}


def test_wording_and_formatting_change_nothing(small: Path) -> None:
    file = small / "deep.py"
    file.write_text("def f(x):\n    return x\n")
    before = fingerprints(small)
    file.write_text('"""Module."""\n\ndef f(x):\n    """Return x."""\n    return (x)  # as it is\n')
    assert fingerprints(small) == before


def test_every_stage_has_a_fingerprint_of_its_own(unedited: dict[str, str]) -> None:
    assert set(unedited) == ALL == set(stages(REAL))
    assert len(set(unedited.values())) == len(ALL)


def test_fingerprints_do_not_depend_on_where_the_package_lies(real: Path, unedited: dict[str, str]) -> None:
    assert fingerprints(real) == unedited


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("evaluate/metrics.py", {"evaluate"}),
        ("ingest/api.py", {"ingest"}),
        ("qc/filters.py", {"qc"}),
        ("train/fit.py", {"train", "markers", "enhance", "map"}),
        ("graph.py", ALL - {"ingest", "evaluate", "index"}),
        ("_files.py", ALL),
        ("report/templates/study.html", {"report"}),
        ("page/templates/page.css", {"page", "report"}),
        ("_stages.py", {"page", "report"}),  # they print the titles of the stages
        ("parameters.py", {"report"}),  # it prints the descriptions of the parameters
        ("check/plan.py", set()),
        ("versions.py", set()),
    ],
)
def test_edit_of_the_real_package_changes_exactly_the_stages_that_import_it(
    real: Path, file: str, expected: set[str]
) -> None:
    assert changed_by(real, file, "\nEDITED = 1\n") == expected


def test_new_parameter_changes_its_own_stage_only(unedited: dict[str, str]) -> None:
    added = fingerprints(REAL, (*PARAMETERS, Parameter("new", "qc", "integer", 1, "New.")))
    assert differing(unedited, added) == {"qc"}


def test_parameter_changes_the_stages_that_have_it_as_an_option(unedited: dict[str, str]) -> None:
    table = tuple(replace(row, default=7) if row.name == "seed" else row for row in PARAMETERS)
    changed = differing(unedited, fingerprints(REAL, table))
    assert changed == {"train", "domains", "trajectory", "enhance", "map"}


def test_new_wording_of_a_parameter_changes_nothing(unedited: dict[str, str]) -> None:
    reworded = tuple(replace(parameter, help="Another help.") for parameter in PARAMETERS)
    assert fingerprints(REAL, reworded) == unedited


def write_distribution(folder: Path, name: str, version: str, requires: tuple[str, ...] = ()) -> None:
    about = folder / f"{name}-{version}.dist-info"
    about.mkdir()
    lines = [
        "Metadata-Version: 2.1",
        f"Name: {name}",
        f"Version: {version}",
        *(f"Requires-Dist: {r}" for r in requires),
    ]
    (about / "METADATA").write_text("\n".join(lines) + "\n")


def test_installed_versions_are_of_requirements_and_extras(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    requires = ("needed>=1", 'wanted; extra == "more"', 'absent; extra == "more"', 'whole[more]; extra == "all"')
    write_distribution(tmp_path, "whole", "3", requires)
    write_distribution(tmp_path, "needed", "1.0")
    write_distribution(tmp_path, "wanted", "2.0")
    monkeypatch.syspath_prepend(tmp_path)
    assert installed("whole") == [f"python {platform.python_version()}", "needed 1.0", "wanted 2.0"]


def test_requirements_of_this_package_are_found() -> None:
    names = {text.split(" ")[0] for text in installed()}
    assert {"python", "numpy", "anndata", "torch"} <= names
    assert "mmsrl" not in names


def test_another_version_of_a_requirement_changes_every_stage(unedited: dict[str, str]) -> None:
    same, other = (fingerprints(REAL, packages=(f"numpy {version}",)) for version in ("2.1", "2.2"))
    assert differing(same, other) == ALL
