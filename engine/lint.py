"""``python engine/lint.py FILE|FOLDER…``: run Nextflow's strict linter and two more rules.

It reads ``.nf`` files only. The linter of this release reports false errors in closures of configuration files.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from jars import LINTER, java_command
from mmsrl._errors import InputError, MmsrlError

# Strings and comments, longest opening first; an unfinished one runs to the end of the file.
_TEXT = re.compile(
    r'"""(?:\\.|[^\\])*?(?:"""|\Z)'
    r"|'''(?:\\.|[^\\])*?(?:'''|\Z)"
    r"|//[^\n]*"
    r"|/\*.*?(?:\*/|\Z)"
    r'|"(?:\\.|[^"\\\n])*"'
    r"|'(?:\\.|[^'\\\n])*'",
    re.DOTALL,
)

# Interpolation in a double-quoted string: ${expression} or $name, but not \\${shell_variable}.
_INTERPOLATION = re.compile(r"(?<!\\)\$(?:\{[^}]*\}|\w+)")

RULES = (
    (re.compile(r"\bChannel\s*\."), "use `channel.` in lower case: later versions drop `Channel.`"),
    (
        re.compile(r"(?<![\w.])it\b"),
        "name the closure's parameter: later versions drop the implicit `it`",
    ),
)


def nf_files(paths: Sequence[str]) -> list[Path]:
    """Return the ``.nf`` files among ``paths`` and below the folders among them."""
    files: list[Path] = []
    for path in map(Path, paths):
        if not path.exists():
            raise InputError(f"{path}: no such file or folder")
        files += sorted(path.rglob("*.nf")) if path.is_dir() else [path] if path.suffix == ".nf" else []
    if not files:
        raise InputError(f"no .nf file in {', '.join(paths)}")
    return files


def blank_text(source: str) -> str:
    """Replace strings and comments by spaces, keeping lines, columns and interpolated expressions."""

    def blank(match: re.Match[str]) -> str:
        kept = re.sub(r"[^\n]", " ", match[0])
        for part in _INTERPOLATION.finditer(match[0]) if match[0].startswith('"') else ():
            kept = kept[: part.start()] + part[0] + kept[part.end() :]
        return kept

    return _TEXT.sub(blank, source)


def own_findings(file: Path) -> list[str]:
    """Return a ``file:line:column: message`` for everything in ``file`` that breaks one of `RULES`."""
    lines = blank_text(file.read_text(encoding="utf-8")).splitlines()
    return [
        f"{file}:{number}:{match.start() + 1}: {message}"
        for number, line in enumerate(lines, start=1)
        for pattern, message in RULES
        for match in pattern.finditer(line)
    ]


def main(paths: Sequence[str]) -> int:
    """Lint files; return 0 if there are no findings."""
    files = nf_files(paths)
    findings = [finding for file in files for finding in own_findings(file)]
    print("\n".join(findings), end="\n" if findings else "", flush=True)
    command = java_command(LINTER, "nextflow.cli.Launcher")
    status = subprocess.run([*command, "lint", *map(str, files)]).returncode
    return status or bool(findings)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MmsrlError as error:
        sys.exit(f"lint: error: {error}")
