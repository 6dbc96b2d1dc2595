"""Commands take the parameters that the configuration and the modules pass to them."""

import importlib
import re
from pathlib import Path

import click
import pytest
from generate import MODULE_OF

from mmsrl._stages import STAGES, WORKFLOW_GROUPS
from mmsrl.parameters import PARAMETERS

PROJECT = Path(__file__).parents[2]
CONFIG = (PROJECT / "conf/args.config").read_text(encoding="utf-8")
COLUMNS = {"ingest": {"spatialdata"}}
"""Options of a command that are columns of the samplesheet, and have the name of a parameter of another command."""


def passed_to(stage: str) -> set[str]:
    """Return the parameters that ``conf/args.config`` lists for the process of a stage."""
    process = MODULE_OF.get(stage, stage).upper()
    listed = re.search(rf"withName: '{process}' \{{\s+ext\.options = \[(.*?)\]", CONFIG, flags=re.DOTALL)
    return set(re.findall(r"'(\w+)'", listed[1])) if listed and stage != "figures" else set()


@pytest.mark.parametrize("stage", STAGES)
def test_options_that_are_parameters_are_passed_and_no_others(stage):
    command = importlib.import_module(f"mmsrl.{stage}.cli").main
    assert isinstance(command, click.Command)
    options = {option.name: option for option in command.params if isinstance(option, click.Option)}
    module = PROJECT / f"modules/local/{MODULE_OF.get(stage, stage)}/main.nf"
    # Modules pass these as staged files.
    staged = {p.name for p in PARAMETERS if p.stage in WORKFLOW_GROUPS and p.name in options}
    assert passed_to(stage) | staged == ({p.name for p in PARAMETERS} & options.keys()) - COLUMNS.get(stage, set())
    for name in staged:
        assert re.search(rf"['-]{name.replace('_', '-')}\b", module.read_text(encoding="utf-8")), name
    for name in passed_to(stage) | staged:
        assert f"--{name.replace('_', '-')}" in options[name].opts
        # A flag would take no value, but every parameter is passed with one: --use-image false.
        assert not options[name].is_flag and options[name].nargs == 1


@pytest.mark.parametrize("parameter", [p for p in PARAMETERS if p.choices], ids=lambda parameter: parameter.name)
def test_choices_need_no_quotes(parameter):
    assert all(re.fullmatch(r"[\w.-]+", choice) for choice in parameter.choices)
