"""Fingerprint of each stage: a hash of everything that its command can import.

Nextflow does not see the imported package, so each process takes the fingerprint of its stage as an input. With
``-resume``, a stage runs again if its fingerprint changes. The fingerprint is the SHA-256 of

* all modules in the folder of the stage and all that they import, directly or not, each with the data files beside it;
* the rows of the parameter table that its command has as options;
* the installed versions of Python and of the package's requirements.

Comments, docstrings and formatting do not count. Any other edit of a module changes all stages that can import it:
``evaluate/metrics.py`` changes ``evaluate``, ``ingest/api.py`` changes ``ingest``, and ``graph.py`` changes all stages
except ``ingest``, ``evaluate`` and ``index``.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from importlib import metadata, util
from pathlib import Path

from mmsrl._parameter import Parameter
from mmsrl.parameters import PARAMETERS

PACKAGE = "mmsrl"
RUN_TIME_IMPORT = re.compile(r"import_module|__import__|__getattr__|import \*")  # counts as importing all modules


def stages(root: Path) -> list[str]:
    """Return the stages of the package in folder ``root``: its folders with a ``cli.py``, except the check itself."""
    return sorted(file.parent.name for file in root.glob("*/cli.py") if file.parent.name != "check")


def installed(distribution: str = PACKAGE) -> list[str]:
    """Return ``name version`` of Python and of the installed requirements of a distribution, extras included."""
    names = {re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in metadata.requires(distribution) or []}
    versions = [f"python {platform.python_version()}"]
    for name in sorted(names - {distribution}):
        with suppress(metadata.PackageNotFoundError):
            versions.append(f"{name} {metadata.version(name)}")
    return versions


def fingerprints(root: Path, table: Sequence[Parameter] = PARAMETERS, packages: Sequence[str] = ()) -> dict[str, str]:
    """Return stage → fingerprint for the package in folder ``root``, run with ``packages`` (:func:`installed`)."""
    texts, imports = dict[str, str](), dict[str, set[str]]()
    files = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    for file in sorted(files, key=lambda path: (path.suffix != ".py", path)):  # modules before data files
        package = ".".join([PACKAGE, *file.relative_to(root).parent.parts])
        if file.suffix == ".py":
            name = package if file.stem == "__init__" else f"{package}.{file.stem}"
            tree = ast.parse(file.read_bytes(), str(file))
            imports[name] = {package, package.rpartition(".")[0], *_imports(tree, package)}
            texts[name] = ast.unparse(tree)
        else:
            owner = max((name for name in texts if f"{package}.".startswith(f"{name}.")), key=len)
            texts[owner] += f"\n{file.relative_to(root).as_posix()} {file.read_bytes()!r}"
    imports |= {name: set(texts) for name, text in texts.items() if RUN_TIME_IMPORT.search(text)}
    imports[f"{PACKAGE}._click"].discard(f"{PACKAGE}.parameters")  # or else all parameters would count for all stages
    result = {}
    for stage in stages(root):
        todo, modules = {name for name in texts if f"{name}.".startswith(f"{PACKAGE}.{stage}.")}, set[str]()
        while todo:
            modules |= todo
            todo = {name for module in todo for name in imports[module] if name in texts} - modules
        rows = [replace(row, help="") for row in table if row.stage == stage or stage in row.also]
        content = "\0".join([*(f"{name}\n{texts[name]}" for name in sorted(modules)), repr(rows), *packages])
        result[stage] = hashlib.sha256(content.encode()).hexdigest()[:16]
    return result


def _imports(tree: ast.Module, package: str) -> Iterator[str]:
    """Yield the modules that a module of ``package`` can import, and remove its docstrings from ``tree``."""
    for node in ast.walk(tree):
        if isinstance(body := getattr(node, "body", None), list):
            body[:] = [s for s in body if not (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))]
        elif isinstance(node, ast.Constant):
            yield str(node.value)  # a module named as text, whose data files are read
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            source = util.resolve_name("." * node.level + (node.module or ""), package)
            yield from (source, *(f"{source}.{alias.name}" for alias in node.names))
