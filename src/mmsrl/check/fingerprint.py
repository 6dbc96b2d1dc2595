"""One fingerprint per stage: the hash of all code of the package that the stage can reach.

Nextflow re-runs a task when its script changes, but does not see a package that the script imports. So each stage
gets the hash of every top-level definition that its command reaches by name. The search reads source only (no
import of the stage), and where it cannot tell it includes: it may count too much, never too little.

What counts for a stage, starting at ``mmsrl.<stage>.cli:main``:

* every function, class (as a whole) and assignment that a counted one mentions, through ``import``, ``from … import``
  and re-exports, inside functions too; decorators, defaults, bases and annotations are mentions like any other;
* what runs by itself when a counted module, or one that it imports, is imported;
* the data files (templates, style sheets) in the folder of a module of which something counts;
* the stage's own rows of the parameter table, not the table as a whole;
* the versions of Python and of the package's own requirements, as far as they are installed, for all stages alike.

Comments, docstrings, formatting and the order of definitions do not count.
"""

from __future__ import annotations

import ast
import hashlib
import platform
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from importlib import metadata
from pathlib import Path

from mmsrl._parameter import Parameter
from mmsrl.parameters import PARAMETERS

PACKAGE = "mmsrl"
TABLE = (f"{PACKAGE}.parameters", "PARAMETERS")
TABLE_READER = (f"{PACKAGE}._click", "stage_options")
"""The one function that reads the whole table and yet uses the rows of one stage only."""


@dataclass(frozen=True, eq=False)
class Definition:
    """A top-level statement, or one name of an ``import``: the unit that is counted or not."""

    module: str
    names: frozenset[str]
    statement: ast.stmt

    @cached_property
    def nodes(self) -> list[ast.AST]:
        """All of the statement's syntax tree."""
        return list(ast.walk(self.statement))

    @cached_property
    def imports(self) -> list[ast.Import | ast.ImportFrom]:
        """Imports in the statement, those inside of functions too."""
        return [node for node in self.nodes if isinstance(node, (ast.Import, ast.ImportFrom))]

    @cached_property
    def text(self) -> str:
        """Source without comments, docstrings and formatting."""
        for node in self.nodes:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                node.body = [part for part in node.body if not _is_docstring(part)] or [ast.Pass()]
        return ast.unparse(self.statement)


@dataclass
class Module:
    """The top level of one source file."""

    name: str
    is_package: bool
    bindings: dict[str, list[Definition]] = field(default_factory=dict)
    effects: list[Definition] = field(default_factory=list)
    """What does something when the module is imported: calls, branches, stores into other objects, registrations."""
    imports: list[Definition] = field(default_factory=list)
    """Imports at top level: their modules' effects happen with this module's."""


def stages(root: Path) -> list[str]:
    """Return the stages of the package in folder ``root``: its folders with a ``cli.py``, but for the check itself."""
    return sorted(file.parent.name for file in root.glob("*/cli.py") if file.parent.name != "check")


def installed(distribution: str = PACKAGE) -> list[str]:
    """Return ``name version`` of Python and of what a distribution requires, extras included, where it is installed."""
    found = {"python": platform.python_version()}
    try:
        required = metadata.requires(distribution) or []
    except metadata.PackageNotFoundError:
        required = []  # run from its source
    for text in required:
        if re.search("extra == .engine", text):  # what launches a run computes nothing of it
            continue
        name = re.match(r"[\w.-]+", text)
        try:
            found |= {name[0]: metadata.version(name[0])} if name else {}
        except metadata.PackageNotFoundError:
            continue
    return [f"{name} {version}" for name, version in sorted(found.items()) if name != distribution]


def fingerprints(
    root: Path, parameters: Sequence[Parameter] = PARAMETERS, packages: Sequence[str] = ()
) -> dict[str, str]:
    """Return stage → fingerprint (16 hexadecimal digits) for all stages of a package.

    Parameters
    ----------
    root
        Folder of the package ``mmsrl``.
    parameters
        The parameter table.
    packages
        What the code runs with, from :func:`installed`.
    """
    code = Code(root)
    result = {}
    for stage in stages(root):
        rows = [(p.name, p.type, p.default, p.choices, p.minimum, p.maximum) for p in parameters if p.stage == stage]
        texts = [*code.reachable(f"{PACKAGE}.{stage}.cli", "main"), repr(rows), *packages]
        result[stage] = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    return result


class Code:
    """The source of a package, parsed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules: dict[str, Module] = {}
        self._known_mentions: dict[Definition, list[Definition]] = {}
        for file in sorted(root.rglob("*.py")):
            parts = (PACKAGE, *file.relative_to(root).with_suffix("").parts)
            is_package = parts[-1] == "__init__"
            name = ".".join(parts[:-1] if is_package else parts)
            self.modules[name] = _read_module(name, is_package, ast.parse(file.read_bytes(), str(file)))

    def reachable(self, module: str, name: str) -> list[str]:
        """Return the texts of all that ``name`` of ``module`` reaches, in an order that depends on nothing else."""
        counted: set[Definition] = set()
        loaded: set[str] = set()  # modules that get imported
        todo = self._lookup(module, name)
        while todo:
            definition = todo.pop()
            if definition in counted:
                continue
            counted.add(definition)
            for loading in [definition.module, *self._modules_named_in(definition)]:
                todo += self._load(loading, loaded)
            if definition not in self._known_mentions:
                self._known_mentions[definition] = self._mentions(definition)
            todo += self._known_mentions[definition]

        effects = {d for m in loaded for d in self.modules[m].effects}
        texts = sorted(f"{d.module}\n{d.text}" for d in counted if d not in effects)
        # Order matters among statements that act, so they are taken module by module as they stand.
        for reached in sorted(loaded):
            texts += [f"{reached}\n{d.text}" for d in self.modules[reached].effects]
        return texts + list(self._data({definition.module for definition in counted}))

    def _load(self, name: str, loaded: set[str]) -> Iterator[Definition]:
        """Yield what is done by importing module ``name``, its parents and what it imports at top level."""
        todo = [name]
        while todo:
            current = todo.pop()
            if current in loaded or current not in self.modules:
                continue
            loaded.add(current)
            module = self.modules[current]
            yield from module.effects
            todo += _parents(current)
            for definition in module.imports:
                todo += self._modules_named_in(definition)

    def _modules_named_in(self, definition: Definition) -> list[str]:
        """Return the modules of the package that the imports within a definition load."""
        found = []
        for node in definition.imports:
            if isinstance(node, ast.Import):
                found += [alias.name for alias in node.names]
            else:
                source = self._source(definition.module, node)
                found += [source, *(f"{source}.{alias.name}" for alias in node.names)]
        return [name for name in found if name in self.modules]

    def _source(self, module: str, node: ast.ImportFrom) -> str:
        """Return the absolute name of the module that ``from … import`` names."""
        if not node.level:
            return node.module or ""
        parts = module.split(".") + (["__init__"] if self.modules[module].is_package else [])
        return ".".join(parts[: -node.level] + ([node.module] if node.module else []))

    def _mentions(self, definition: Definition) -> list[Definition]:
        """Return the definitions that a definition mentions."""
        found: list[Definition] = []
        local: dict[str, list[str]] = {}
        for name, target in self._module_aliases(definition):
            local.setdefault(name, []).append(target)
        roots: set[int] = set()  # parts of attribute chains that are followed already, from their end
        for node in definition.nodes:
            if isinstance(node, ast.ImportFrom):
                found += self._imported(definition.module, node)
            elif isinstance(node, ast.Constant) and node.value in self.modules:
                found += self._whole(node.value)  # named as text: importlib, resources
            elif isinstance(node, ast.Global):
                found += [d for name in node.names for d in self._resolve(definition.module, [name], local)]
            elif isinstance(node, (ast.Attribute, ast.Name)) and id(node) not in roots:
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                    continue
                chain, parts = _chain(node)
                roots.update(parts)
                if chain:
                    found += self._resolve(definition.module, chain, local)
            elif isinstance(node, ast.Call) and _imports_computed(node):
                found += [d for module in self.modules for d in self._whole(module)]
        if (definition.module, *definition.names) == TABLE_READER:
            table = self._lookup(*TABLE)
            imported = self._lookup(definition.module, TABLE[1])
            found = [d for d in found if d not in table and d not in imported]
        return found

    def _module_aliases(self, definition: Definition) -> Iterator[tuple[str, str]]:
        """Yield the names that imports within a definition bind to modules of the package, with the module of each."""
        for node in definition.imports:
            for alias in node.names:
                if isinstance(node, ast.ImportFrom):
                    name, target = alias.asname or alias.name, f"{self._source(definition.module, node)}.{alias.name}"
                else:
                    target = alias.name if alias.asname else alias.name.split(".")[0]
                    name = alias.asname or target
                if target in self.modules:
                    yield name, target

    def _imported(self, module: str, node: ast.ImportFrom) -> list[Definition]:
        """Return the definitions that ``from … import`` takes from other modules of the package."""
        source = self._source(module, node)
        if source not in self.modules:
            return []
        found = []
        for alias in node.names:
            if alias.name == "*":
                found += self._whole(source)
            elif f"{source}.{alias.name}" not in self.modules or alias.name in self.modules[source].bindings:
                found += self._lookup(source, alias.name)
        return found

    def _resolve(self, module: str, chain: list[str], local: dict[str, list[str]]) -> list[Definition]:
        """Return the definitions that ``a.b.c``, written in ``module``, stands for."""
        bindings = self.modules[module].bindings
        found = list(bindings.get(chain[0]) or bindings.get("*", []))
        targets = list(local.get(chain[0], []))
        for definition in found:
            targets += [target for name, target in self._module_aliases(definition) if name == chain[0]]
        for target in targets:
            found += self._follow(target, chain[1:])
        return found

    def _follow(self, module: str, attributes: list[str]) -> list[Definition]:
        """Return what attributes of a module stand for; a module handed on as a value counts as a whole."""
        while attributes and f"{module}.{attributes[0]}" in self.modules:
            module, attributes = f"{module}.{attributes[0]}", attributes[1:]
        if not attributes:
            return self._whole(module)
        return self._lookup(module, attributes[0])

    def _lookup(self, module: str, name: str) -> list[Definition]:
        """Return what binds ``name`` in ``module``; all of the module where that cannot be told."""
        found = self.modules[module].bindings.get(name)
        if found is None:
            return self._whole(module)
        aliases = [target for d in found for bound, target in self._module_aliases(d) if bound == name]
        return found + [definition for target in aliases for definition in self._whole(target)]

    def _whole(self, module: str) -> list[Definition]:
        return [definition for bound in self.modules[module].bindings.values() for definition in bound]

    def _data(self, used: set[str]) -> Iterator[str]:
        """Yield name and hash of the data files in the folders of the counted modules."""
        packages = {m if self.modules[m].is_package else m.rpartition(".")[0] for m in used}
        folders = {self.root.joinpath(*package.split(".")[1:]) for package in packages}
        for owner, name, digest in self._data_files:
            if owner in folders:
                yield f"{name}\n{digest}"

    @cached_property
    def _data_files(self) -> list[tuple[Path, str, str]]:
        """Folder of the module that a data file belongs to, its name, and the hash of its content."""
        found = []
        for file in sorted(self.root.rglob("*")):
            if file.suffix in (".py", ".pyc") or file.name.startswith(".") or not file.is_file():
                continue
            owner = next(f for f in file.parents if f == self.root or any(f.glob("*.py")))
            name = file.relative_to(self.root).as_posix()
            found.append((owner, name, hashlib.sha256(file.read_bytes()).hexdigest()))
        return found


def _imports_computed(call: ast.Call) -> bool:
    """Tell whether a call imports a module whose name is not written there."""
    function = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
    return function in ("import_module", "__import__") and not (call.args and isinstance(call.args[0], ast.Constant))


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _chain(node: ast.Attribute | ast.Name) -> tuple[list[str], list[int]]:
    """Return ``['a', 'b', 'c']`` for ``a.b.c`` (nothing where the root is no name), and the ids of its inner nodes."""
    names: list[str] = []
    parts: list[int] = []
    value: ast.expr = node
    while isinstance(value, ast.Attribute):
        names.append(value.attr)
        value = value.value
        parts.append(id(value))
    return ([value.id, *reversed(names)] if isinstance(value, ast.Name) else []), parts


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _read_module(name: str, is_package: bool, tree: ast.Module) -> Module:
    module = Module(name, is_package)
    definitions = [definition for statement in tree.body for definition in _split(name, statement)]
    ours: set[str] = set()
    for definition in definitions:
        for bound in definition.names:
            module.bindings.setdefault(bound, []).append(definition)
        statement = definition.statement
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            module.imports.append(definition)
            source = statement.module if isinstance(statement, ast.ImportFrom) else statement.names[0].name
            if getattr(statement, "level", 0) or (source or "").split(".")[0] == PACKAGE:
                ours |= definition.names
        else:
            ours |= definition.names
    module.effects = [d for d in definitions if _acts(d.statement, ours)]
    return module


def _split(module: str, statement: ast.stmt) -> Iterator[Definition]:
    """Yield the definitions of a top-level statement: one for each name of an import, else the statement itself."""
    if _is_docstring(statement):
        return
    if isinstance(statement, ast.If):
        test = ast.unparse(statement.test)
        if test == "__name__ == '__main__'":
            return  # never run by an import
        if test in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            for inner in statement.body:
                yield from _split(module, inner)
            return
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            bound = alias.asname or alias.name.split(".")[0]
            yield Definition(module, frozenset([bound]), ast.Import([alias]))
    elif isinstance(statement, ast.ImportFrom):
        for alias in statement.names:
            single = ast.ImportFrom(statement.module, [alias], statement.level)
            yield Definition(module, frozenset([alias.asname or alias.name]), single)
    else:
        yield Definition(module, frozenset(_bound(statement)), statement)


def _bound(statement: ast.AST) -> Iterator[str]:
    """Yield the names that a statement binds at top level."""
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        yield statement.name
        return
    if isinstance(statement, ast.Name) and isinstance(statement.ctx, ast.Store):
        yield statement.id
    elif isinstance(statement, ast.alias):
        yield statement.asname or statement.name.split(".")[0]
    for child in ast.iter_child_nodes(statement):
        yield from _bound(child)


def _acts(statement: ast.stmt, ours: set[str]) -> bool:
    """Tell whether importing a module does more with a statement than bind its names."""
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return False
    if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        # A decorator of ours may register what it decorates, so that it is reached without being named.
        names = {n.id for d in statement.decorator_list for n in ast.walk(d) if isinstance(n, ast.Name)}
        return bool(names & ours)
    if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return any(isinstance(n, (ast.Attribute, ast.Subscript)) for target in targets for n in ast.walk(target))
    return True
