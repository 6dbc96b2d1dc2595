"""An edit of the core changes the fingerprints of exactly the stages that can reach it."""

import platform
import shutil
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest

import mmsrl
from mmsrl._parameter import Parameter
from mmsrl.check.fingerprint import fingerprints, installed, stages
from mmsrl.parameters import PARAMETERS

REAL = Path(mmsrl.__file__).parent
ALL = {"ingest", "qc", "features", "train", "domains", "markers", "trajectory", "enhance"}
ALL |= {"evaluate", "map", "compare", "assemble", "page", "figures", "report", "index"}

# Two stages that share a module, with every way in which Python code gets at other code.
SOURCES = {
    "__init__.py": '"""Package."""\nfrom mmsrl.shared import twice\n',
    "parameters.py": "PARAMETERS = (1, 2)\nOTHER = 3\n",
    "_click.py": """
        from mmsrl.parameters import OTHER, PARAMETERS

        def stage_command(stage):
            return stage_options(stage)

        def stage_options(stage):
            return [p for p in PARAMETERS if p == stage]
        """,
    "shared.py": """
        import functools
        from typing import TYPE_CHECKING

        if TYPE_CHECKING:
            from mmsrl.typed import Typed

        LIMIT = 3
        FACTOR = 2

        def twice(x, factor=FACTOR):
            '''Docstring.'''
            return factor * x  # comment

        def only_first(x):
            return helper(x)

        def helper(x):
            return x

        def unused(x):
            return x

        class Base:
            '''Docstring.'''
            def method(self):
                return LIMIT
        """,
    "typed.py": "class Typed:\n    pass\n",
    "registry.py": """
        METHODS = {}

        def register(function):
            METHODS[function.__name__] = function
            return function
        """,
    "first/__init__.py": "from mmsrl.first.core import run\n",
    "first/core.py": """
        from ..shared import only_first
        from mmsrl import shared as common

        def run(x):
            from mmsrl.lazy import late
            import importlib

            plugin = importlib.import_module("mmsrl.plugin")
            return only_first(x) + late(x) + common.twice(x) + plugin.go(x)
        """,
    "first/cli.py": """
        from mmsrl._click import stage_command
        from mmsrl.first import run

        @stage_command("first")
        def main():
            run(1)
        """,
    "first/templates/page.html": "<p>first</p>",
    "second/__init__.py": "",
    "second/core.py": """
        import mmsrl.shared as s
        from mmsrl.registry import METHODS

        try:
            from mmsrl import fast as quick
        except ImportError:
            quick = None

        class Child(s.Base):
            pass

        def run(x):
            return METHODS["one"](x), quick.go(x), Child()
        """,
    "second/methods.py": """
        from mmsrl.registry import register

        @register
        def one(x):
            return 1
        """,
    "second/cli.py": """
        import mmsrl.second.methods
        from mmsrl._click import stage_command
        from mmsrl.second.core import run

        @stage_command("second")
        def main():
            run(1)

        if __name__ == "__main__":
            main()
        """,
    "fast.py": "def go(x):\n    return x\n\ndef other(x):\n    return x\n",
    "lazy.py": "import mmsrl.effect\n\ndef late(x):\n    return x\n",
    "effect.py": "import sys\n\nsys.flag = 4\n",
    "plugin.py": "def go(x):\n    return x\n",
    "check/__init__.py": "",
    "check/cli.py": "def main():\n    return 1\n",
}


@pytest.fixture
def package(tmp_path: Path) -> Path:
    root = tmp_path / "mmsrl"
    for name, text in SOURCES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(dedent(text).lstrip("\n"))
    return root


def changed_by(root: Path, file: str, old: str, new: str) -> set[str]:
    """Stages whose fingerprint an edit changes."""
    before = fingerprints(root)
    text = (root / file).read_text()
    assert text.count(old) == 1, f"{old!r} is {text.count(old)} times in {file}"
    (root / file).write_text(text.replace(old, new))
    after = fingerprints(root)
    assert before.keys() == after.keys()
    return {stage for stage in before if before[stage] != after[stage]}


EDITS = {
    "function of one stage": ("shared.py", "return helper(x)", "return 1 + helper(x)", {"first"}),
    "function called by it": ("shared.py", "def helper(x):\n    return x", "def helper(x):\n    return -x", {"first"}),
    "function nobody calls": ("shared.py", "def unused(x):\n    return x", "def unused(x):\n    return -x", set()),
    "new function": ("shared.py", "LIMIT = 3", "LIMIT = 3\ndef new(): pass", set()),
    "default argument": ("shared.py", "FACTOR = 2", "FACTOR = 4", {"first"}),
    "attribute of a module": ("shared.py", "return factor * x", "return factor + x", {"first"}),
    "base class": ("shared.py", "return LIMIT", "return -LIMIT", {"second"}),
    "constant in a method": ("shared.py", "LIMIT = 3", "LIMIT = 5", {"second"}),
    "import in a function": ("lazy.py", "return x", "return -x", {"first"}),
    "effect of an import": ("effect.py", "= 4", "= 5", {"first"}),
    "module named as text": ("plugin.py", "return x", "return -x", {"first"}),
    "import that may fail": ("fast.py", "def go(x):\n    return x", "def go(x):\n    return -x", {"second"}),
    "beside it": ("fast.py", "def other(x):\n    return x", "def other(x):\n    return -x", set()),
    "registered by a decorator": ("second/methods.py", "return 1", "return 2", {"second"}),
    "the decorator itself": ("registry.py", "    return function", "    return lambda x: x", {"second"}),
    "class for type checkers": ("typed.py", "pass", "x = 1", set()),
    "shared by both": (
        "_click.py",
        "return stage_options(stage)",
        "return list(stage_options(stage))",
        {"first", "second"},
    ),
    "table of parameters": ("parameters.py", "(1, 2)", "(1, 2, 3)", set()),
    "entry that imports never run": ("second/cli.py", "    main()", "    main(1)", set()),
    "template": ("first/templates/page.html", "first", "other", {"first"}),
    "the check": ("check/cli.py", "return 1", "return 2", set()),
    "re-export": ("first/__init__.py", "import run", "import run as run", {"first"}),
    "comment": ("shared.py", "# comment", "# another", set()),
    "formatting": ("shared.py", "return factor * x", "return (\n        factor * x\n    )", set()),
    "docstring": ("shared.py", "class Base:\n    '''Docstring.'''", "class Base:\n    '''Another.'''", set()),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_changes_exactly_the_stages_that_reach_it(package, name):
    file, old, new, expected = EDITS[name]
    assert changed_by(package, file, old, new) == expected


def test_import_of_a_computed_name_may_reach_all(package):
    path = package / "first/core.py"
    path.write_text(path.read_text().replace('"mmsrl.plugin"', 'f"mmsrl.{x}"'))
    edit = ("shared.py", "def unused(x):\n    return x", "def unused(x):\n    return -x")
    assert changed_by(package, *edit) == {"first"}


def test_order_of_definitions_does_not_count(package):
    before = fingerprints(package)
    text = (package / "shared.py").read_text()
    moved = "\ndef helper(x):\n    return x\n"
    (package / "shared.py").write_text(text.replace(moved, "") + "\n" + moved)
    assert fingerprints(package) == before


def test_data_file_added_to_a_stage_counts(package):
    before = fingerprints(package)
    (package / "second/style.css").write_text("p {}")
    after = fingerprints(package)
    assert before["first"] == after["first"]
    assert before["second"] != after["second"]


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("real") / "mmsrl"
    shutil.copytree(REAL, root, ignore=shutil.ignore_patterns("__pycache__"))
    return root


@pytest.fixture(scope="module")
def now() -> dict[str, str]:
    return fingerprints(REAL)


def differing(now: dict[str, str], edited: dict[str, str]) -> set[str]:
    return {stage for stage in now if now[stage] != edited[stage]}


def test_every_stage_has_a_fingerprint_of_its_own(now):
    assert set(now) == ALL == set(stages(REAL))
    assert len(set(now.values())) == len(ALL)


def test_fingerprints_do_not_depend_on_where_the_package_lies(copied, now):
    assert fingerprints(copied) == now


def edited(root: Path, file: str, function: str) -> dict[str, str]:
    """Fingerprints with one statement put at the start of a real function."""
    path = root / file
    original = path.read_text()
    head, start, rest = original.partition(f"def {function}(")
    assert start, f"no {function} in {file}"
    signature, end, body = rest.partition(":\n")
    path.write_text(f"{head}{start}{signature}{end}    {function}_edited = True\n{body}")
    found = fingerprints(root)
    path.write_text(original)
    return found


@pytest.mark.parametrize(
    ("file", "function", "expected"),
    [
        ("train/fit.py", "fit", {"train", "markers"}),
        ("qc/filters.py", "apply_filters", {"qc"}),
        ("_files.py", "write_summary", ALL - {"page", "report", "index"}),
        ("versions.py", "versions_yml", set()),
        ("generate.py", "schema_json", set()),
    ],
)
def test_edit_of_the_real_core_changes_exactly_the_stages_that_use_it(copied, now, file, function, expected):
    assert differing(now, edited(copied, file, function)) == expected


def test_new_parameter_changes_its_own_stage_only(now):
    added = fingerprints(REAL, (*PARAMETERS, Parameter("new", "qc", "integer", 1, "New.")))
    assert differing(now, added) == {"qc"}


def test_new_wording_of_a_parameter_changes_nothing(now):
    reworded = tuple(replace(parameter, help="Another help.") for parameter in PARAMETERS)
    assert fingerprints(REAL, reworded) == now


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


def test_another_version_of_a_required_package_changes_every_stage(tmp_path, monkeypatch, now):
    requires = ("needed>=1", 'wanted; extra == "more"', 'absent; extra == "more"', 'whole[more]; extra == "all"')
    write_distribution(tmp_path, "whole", "3", requires)
    write_distribution(tmp_path, "needed", "1.0")
    write_distribution(tmp_path, "wanted", "2.0")
    monkeypatch.syspath_prepend(tmp_path)
    before = installed("whole")
    assert before == ["needed 1.0", f"python {platform.python_version()}", "wanted 2.0"]

    (tmp_path / "wanted-2.0.dist-info").rename(tmp_path / "old")
    write_distribution(tmp_path, "wanted", "2.1")
    after = installed("whole")
    assert "wanted 2.1" in after
    same, other = (fingerprints(REAL, packages=packages) for packages in (before, after))
    assert differing(same, other) == ALL
    assert fingerprints(REAL, packages=installed("whole")) == other


def test_what_this_package_requires_is_found():
    names = {text.split(" ")[0] for text in installed()}
    assert {"python", "numpy", "anndata", "torch"} <= names
    assert "mmsrl" not in names
