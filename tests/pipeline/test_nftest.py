"""The runner of nf-test suites for machines without nf-test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pipeline.runs import ROOT

PROCESS = """
process COUNT {
    input:
    path folder

    output:
    path 'count.txt', emit: count

    script:
    "ls ${folder} | wc -l > count.txt"
}
"""
SUITE = """
nextflow_process {
    script '../main.nf'
    process 'COUNT'

    test('counts files') {
        when { process { "input[0] = file('%s')" } }
        then { assert path(process.out.count[0]).text.trim() == '%d' }
    }
}
"""


def run(root: Path) -> subprocess.CompletedProcess[str]:
    (root / "nf-test.config").write_text("config { testsDir '.' }")
    (root / "nextflow.config").touch()
    (root / "main.nf").write_text(PROCESS)
    environment = {**os.environ, "PATH": os.defpath}  # nf-test itself must not be found
    command = [sys.executable, ROOT / "engine/nftest.py"]
    return subprocess.run(command, cwd=root, env=environment, text=True, capture_output=True, timeout=300, check=False)


def test_a_second_run_leaves_the_data_that_tasks_were_given(tmp_path: Path) -> None:
    data, root = tmp_path / "data", tmp_path / "project"
    (root / "tests").mkdir(parents=True)
    data.mkdir()
    for name in "abc":
        (data / name).touch()
    (root / "tests/main.nf.test").write_text(SUITE % (data, 3))

    runs = [run(root), run(root)]

    assert [done.returncode for done in runs] == [0, 0], runs[1].stdout
    assert "1 passed, 0 failed" in runs[1].stdout
    assert sorted(path.name for path in data.iterdir()) == ["a", "b", "c"]

    (root / "tests/main.nf.test").write_text(SUITE % (data, 4))
    failing = run(root)
    assert failing.returncode == 1
    assert "0 passed, 1 failed" in failing.stdout
