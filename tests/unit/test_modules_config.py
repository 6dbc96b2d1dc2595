"""``conf/modules.config`` hands every parameter to the command that takes it, spelt as the command spells it."""

import importlib
import re
from pathlib import Path

import click
import pytest

from mmsrl.parameters import PARAMETERS, STAGES, WORKFLOW_GROUPS

CONFIG = (Path(__file__).parents[2] / "conf/modules.config").read_text(encoding="utf-8")
COMMANDS = [stage for stage in STAGES if stage not in WORKFLOW_GROUPS]

ONE_FOR_ONE = """\
.findAll { key -> !(params[key] in task.ext.unset) }
.collect { key -> "--${key.replace('_', '-')} ${params[key]}" }
.join(' ')"""
"""What is not set is left out, so that the command's own default holds; the rest is passed with its value."""


SKIPS = {parameter.name for parameter in PARAMETERS if parameter.name.startswith("skip_")}
"""Whether a process runs, which its command is not told."""


QUOTED = """.toString().replace("'", "'\\\\''")"""
"""Blocks that pass free text put it between quotes that nothing in it can end."""


def block_of(stage: str) -> str:
    """Return what the configuration says about a process; empty where it says nothing."""
    found = re.search(rf"^    withName: '{stage.upper()}' \{{$(.*?)^    \}}$", CONFIG, flags=re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def passed_to(stage: str) -> set[str]:
    """Return the names of the parameters that a process passes to its command."""
    block = block_of(stage)
    if stage == "page":  # of the task that draws figures, which has arguments for both
        block = re.findall(r"ext\.page_args = .*", block_of("figures"))[0]
    elif stage == "figures":
        block = re.sub(r"ext\.page_args = .*", "", block)
    listed = re.search(r"\[([^\[\]]*)\]\s*\.findAll", block)
    named = re.findall(r"'(\w+)'", listed[1]) if listed else re.findall(r"params\.(\w+)", block)
    # Whose value depends on what the task got (conf/resources.config).
    return {*named, *re.findall(r"--(\w+) \$\{task\.ext\.\1\}", block)}


def command_of(stage: str) -> click.Command:
    command = importlib.import_module(f"mmsrl.{stage}.cli").main
    assert isinstance(command, click.Command)
    return command


@pytest.mark.parametrize("stage", COMMANDS)
def test_every_parameter_of_a_stage_reaches_its_command(stage):
    own = {parameter.name for parameter in PARAMETERS if parameter.stage == stage}
    assert own - passed_to(stage) == set()


@pytest.mark.parametrize("stage", COMMANDS)
def test_commands_know_the_options_they_are_given(stage):
    known = {parameter.name: parameter for parameter in PARAMETERS}
    options = {option.name: option for option in command_of(stage).params}
    for name in passed_to(stage) - {"outdir", "publish_dir_mode", "use_gpu"} - SKIPS:
        assert name in known, f"{name} is no parameter of the pipeline"
        option = options[name]
        assert f"--{name.replace('_', '-')}" in option.opts
        # A flag would take no value, but every parameter is passed with one: --use-image false.
        assert isinstance(option, click.Option) and not option.is_flag and option.nargs == 1


@pytest.mark.parametrize("stage", [stage for stage in COMMANDS if ".findAll" in block_of(stage)])
def test_parameters_are_passed_one_for_one_and_left_out_where_they_are_not_set(stage):
    assert ONE_FOR_ONE in re.sub(r"^ +", "", block_of(stage), flags=re.MULTILINE)


@pytest.mark.parametrize(
    "parameter",
    [
        p
        for p in PARAMETERS
        if p.stage in COMMANDS
        and p.type == "string"
        and QUOTED not in block_of(p.stage if p.stage != "page" else "figures")
    ],
    ids=lambda parameter: parameter.name,
)
def test_values_that_are_passed_without_quotes_need_none(parameter):
    assert parameter.choices or parameter.pattern, "free text needs the quoting that the title of the report has"
    assert all(re.fullmatch(r"[\w.-]+", choice) for choice in parameter.choices)
    if parameter.pattern:
        hostile = [
            f"{before}{sign}x" for before in ("", "a", "a=b", "timm/a", "1") for sign in " '\"`$;&|<>(){}*?!#\\\n"
        ]
        assert not [text for text in hostile if re.search(parameter.pattern, text)]
