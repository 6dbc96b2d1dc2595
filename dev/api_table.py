"""Write docs/api.md, the table of all functions of the Python API, from their docstrings."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path

from mmsrl import datasets, pp, tl

TARGET = Path("docs/api.md")

HEAD = """# Python API

`make api` renders the full documentation of these functions into `build/api`. [usage.md](usage.md#python) has an
example and the conventions. `make generate` writes this table.

| function | purpose |
| --- | --- |
"""


def table() -> str:
    """Return the content of docs/api.md."""
    rows = []
    for module in (datasets, pp, tl):
        for name in module.__all__:
            purpose = (inspect.getdoc(getattr(module, name)) or "").split("\n\n")[0].replace("\n", " ")
            rows.append(f"| `{module.__name__}.{name}` | {purpose} |\n")
    # Cross-references are for the rendered page.
    return (HEAD + "".join(rows)).replace(":func:", "").replace("``", "`")


def main(arguments: list[str]) -> int:
    """Write the table, or check that it is up to date; return the exit status."""
    text = table()
    if TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in arguments:
        print(f"{TARGET} is out of date; run make generate", file=sys.stderr)
        return 1
    TARGET.write_text(text, encoding="utf-8")
    print(f"wrote {TARGET}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
