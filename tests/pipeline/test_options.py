"""Nextflow passes every parameter to the commands that take it, and the shell hands its value on unchanged."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from generate import MODULE_OF
from pipeline.runs import ROOT

from mmsrl._stages import STAGES
from mmsrl.parameters import PARAMETERS, parameters_of

HOSTILE = 'it\'s "$HOME" `id` $(id) \\ ; & *'
EXAMPLES: dict[str, Any] = {"integer": 3, "number": 2.5, "boolean": False, "string": HOSTILE}
INCLUDED = ("conf/params.config", "conf/base.config", "conf/args.config", "conf/modules.config")
OF_TASK = {"device": "device_of_task", "block_size": "block_size_of_task"}
"""Values that depend on the task and replace those of the parameters, as in conf/resources.config."""
PROCESS = """\
process {name} {{
    input:
    val go
    output:
    stdout
    script:
    "{python} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' {name} ${{task.ext.args}}"
}}
"""


@pytest.fixture
def passed(tmp_path: Path) -> Any:
    """Run a process of the name of each real one, and return the arguments that the shell passes to its command."""
    names = sorted({MODULE_OF.get(stage, stage).upper() for stage in STAGES})
    python = ROOT / ".venv/bin/python"
    processes = "".join(PROCESS.format(name=name, python=python) for name in names)
    calls = "".join(f"    {name}(true).view()\n" for name in names)
    (tmp_path / "main.nf").write_text(f"{processes}workflow {{\n{calls}}}\n")
    of_task = "".join(f"    ext.{name} = '{value}'\n" for name, value in OF_TASK.items())
    (tmp_path / "task.config").write_text(f"process {{\n{of_task}}}\n")
    (tmp_path / "params.config").write_text("params.outdir = 'results'")
    files = [*(ROOT / name for name in INCLUDED), "params.config", "task.config"]
    (tmp_path / "nextflow.config").write_text("".join(f"includeConfig '{file}'\n" for file in files))

    def run(params: dict[str, Any]) -> dict[str, dict[str, str]]:
        (tmp_path / "params.json").write_text(json.dumps(params))
        command = [ROOT / "engine/nextflow", "-q", "run", "main.nf", "-params-file", "params.json"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        printed = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
        return {name: dict(zip(words[::2], words[1::2], strict=True)) for name, *words in printed}

    return run


def expected(values: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Return the options of each process, of the parameters in ``values``."""
    options: dict[str, dict[str, str]] = {MODULE_OF.get(stage, stage).upper(): {} for stage in STAGES}
    for stage in STAGES:
        for parameter in parameters_of(stage):
            if parameter.name in values and parameter.stage in STAGES:  # the others are files, which modules name
                value = values[parameter.name]
                text = str(value).lower() if parameter.type == "boolean" else str(value)
                options[MODULE_OF.get(stage, stage).upper()][f"--{parameter.name.replace('_', '-')}"] = text
    return options


def test_every_command_gets_each_of_its_parameters_as_given(passed):
    values = {p.name: p.choices[-1] if p.choices else EXAMPLES[p.type] for p in PARAMETERS if p.stage in STAGES}
    assert passed(values) == expected(values | OF_TASK)


@pytest.mark.parametrize("nothing", [None, "", "null"])
def test_what_is_not_given_is_left_to_the_command(passed, nothing):
    names = [p.name for p in PARAMETERS if p.stage in STAGES]
    assert passed(dict.fromkeys(names, nothing)) == expected(OF_TASK)
