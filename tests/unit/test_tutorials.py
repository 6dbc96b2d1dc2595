"""Tutorials are run by ``make tutorials``, which takes minutes; here is what can be told at once."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from tutorials import ORDER, ROOT, TUTORIALS, Block, blocks, run, same

from mmsrl import pp, tl

TEXT = """
```bash
echo 7 domains
```

```text
7 domains
```

```python
x = 1
```

Words.

```text
not what the block above prints
```
"""


def test_code_is_read_with_what_it_prints() -> None:
    assert blocks(TEXT) == [
        Block("bash", "echo 7 domains\n", "7 domains\n", 3),
        Block("python", "x = 1\n", None, 11),
    ]


def test_blocks_are_run_one_after_the_other() -> None:
    namespace: dict[str, object] = {}
    assert run(Block("bash", "echo a; echo b\n", None, 1), "x.md", namespace) == "a\nb\n"
    assert run(Block("python", "x = 2\n", None, 1), "x.md", namespace) == ""
    assert run(Block("python", "print(x + 1)\n", None, 1), "x.md", namespace) == "3\n"
    with pytest.raises(SystemExit, match=r"x\.md, line 7: ended with status 4"):
        run(Block("bash", "exit 4\necho late\n", None, 7), "x.md", namespace)


def test_numbers_may_differ_a_little_and_words_not_at_all() -> None:
    assert same("ARI  0.601\nn 100\n", "ARI 0.61\nn 98\n")
    assert not same("ARI 0.601", "ARI 0.8")
    assert not same("n 100", "n 80")
    assert not same("MBP 1.0", "PLP1 1.0")
    assert not same("1 2", "1")


@pytest.mark.parametrize("name", ORDER)
def test_tutorial_uses_what_there_is(name: str) -> None:
    found = blocks((TUTORIALS / f"{name}.md").read_text(encoding="utf-8"))
    assert {block.language for block in found} == {"bash", "python"}
    assert any(block.shown for block in found)
    for block in found:
        for path in re.findall(r"assets/demo/[\w./]+", block.code):
            assert Path(ROOT, path).exists(), path
        if block.language == "python":
            for node in ast.walk(ast.parse(block.code)):
                if isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("mmsrl.tl", "mmsrl.pp"):
                    assert node.attr in dir(tl if ast.unparse(node.value) == "mmsrl.tl" else pp)
        else:
            for verb, text in re.findall(r"\bmmsrl-(\w+)((?:[^\n]*\\\n)*[^\n]*)", block.code):
                options = {o for p in importlib.import_module(f"mmsrl.{verb}.cli").main.params for o in p.opts}
                assert set(re.findall(r"(?<= )--[\w-]+", text)) <= options


def test_all_tutorials_are_run_and_listed() -> None:
    assert {path.stem for path in TUTORIALS.glob("*.md")} == {*ORDER, "README"}
    listed = re.findall(r"\]\((\w+)\.md\)", (TUTORIALS / "README.md").read_text(encoding="utf-8"))
    assert listed == list(ORDER)
