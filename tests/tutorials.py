"""Run every block of bash and Python in docs/tutorials, and compare its output with the text.

A block of ``text`` right after a block of code is what that prints. ``make tutorials`` stops at the first block that
fails or prints something else; with ``ARGS=--write`` it writes what was printed into the tutorials.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
TUTORIALS = ROOT / "docs/tutorials"
ORDER = ("domains", "pseudotime", "enhancement", "sections", "study")
"""Tutorials in their order. Later ones read the results of the first."""

TOLERANCE = 0.1
"""Relative tolerance, and absolute tolerance for small numbers, for differences between libraries and processors."""

_BLOCK = re.compile(r"^```(bash|python)\n(.*?)^```\n(?:\n?^```text\n(.*?)^```\n)?", flags=re.MULTILINE | re.DOTALL)
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?")


class Block(NamedTuple):
    """Code block of a tutorial."""

    language: str
    code: str
    shown: str | None
    """Expected output, or ``None`` if the tutorial shows none."""
    line: int


def blocks(text: str) -> list[Block]:
    """Return the code blocks of a tutorial in order."""
    return [
        Block(match[1], match[2], match[3], text.count("\n", 0, match.start(2)) + 1) for match in _BLOCK.finditer(text)
    ]


def same(printed: str, shown: str) -> bool:
    """Return whether two texts have equal words, and numbers equal within the tolerance."""
    if _NUMBER.sub("#", printed).split() != _NUMBER.sub("#", shown).split():
        return False
    pairs = zip(_NUMBER.findall(printed), _NUMBER.findall(shown), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=TOLERANCE, abs_tol=TOLERANCE) for a, b in pairs)


def run(block: Block, name: str, namespace: dict[str, Any]) -> str:
    """Run a block in the folder of the project, and return its output. Python blocks share a namespace."""
    if block.language == "bash":
        path = f"{ROOT / 'engine'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        command = ["bash", "-euo", "pipefail", "-c", block.code]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PATH": path}, check=False)
        if done.returncode:
            raise SystemExit(f"{name}, line {block.line}: ended with status {done.returncode}\n{done.stdout}")
        return done.stdout
    printed = io.StringIO()
    # Errors name the line of the tutorial.
    code = compile("\n" * (block.line - 1) + block.code, name, "exec")
    with contextlib.redirect_stdout(printed):
        exec(code, namespace)
    return printed.getvalue()


def tutorial(path: Path, *, write: bool) -> None:
    """Run a tutorial from top to bottom."""
    text = path.read_text(encoding="utf-8")
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(text):
        started = time.perf_counter()
        printed = run(block, path.name, namespace)
        print(f"{path.name}, line {block.line}: {time.perf_counter() - started:.0f} s", flush=True)
        if block.shown is None or same(printed, block.shown):
            continue
        if not write:
            raise SystemExit(
                f"{path.name}, line {block.line}: prints\n{printed}\nbut the tutorial shows\n{block.shown}"
            )
        text = text.replace(
            f"{block.code}```\n\n```text\n{block.shown}```", f"{block.code}```\n\n```text\n{printed}```"
        )
        path.write_text(text, encoding="utf-8")


def main() -> None:
    """Run all tutorials, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=ORDER, help=f"of {', '.join(ORDER)}")
    parser.add_argument("--write", action="store_true", help="write what is printed into the tutorials")
    arguments = parser.parse_args()
    os.chdir(ROOT)
    os.environ.setdefault("MPLBACKEND", "Agg")
    (ROOT / "results/tutorials").mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        tutorial(TUTORIALS / f"{name}.md", write=arguments.write)


if __name__ == "__main__":
    main()
