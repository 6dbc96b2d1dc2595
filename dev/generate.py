"""Writes what follows from the parameter table: ``python dev/generate.py`` in the project's folder."""

from __future__ import annotations

import json
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from mmsrl._files import write_text
from mmsrl._parameter import Parameter
from mmsrl._stages import GROUPS, STAGES, WORKFLOW_GROUPS
from mmsrl.parameters import PARAMETERS, parameters_of

PIPELINE = "mmsrl/mmsrl"
"""Name of the pipeline in the manifest of ``nextflow.config``."""

DESCRIPTION = "Spatial domains from gene expression, histology and location"
"""Description of the pipeline in the manifest of ``nextflow.config``."""

MODULE_OF = {"page": "figures"}
"""Module of a stage that has none of its own: one task writes pages and figures."""

_BY_HAND = "Made by `make generate` from src/mmsrl/parameters.py: edit there."


def schema_json() -> str:
    """Return ``nextflow_schema.json``: JSON Schema 2020-12 in the form of nf-schema, one group a stage."""
    groups = {f"{group}_options": _group(group) for group in _groups()}
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"https://raw.githubusercontent.com/{PIPELINE}/main/nextflow_schema.json",
        "title": f"{PIPELINE} pipeline parameters",
        "description": DESCRIPTION,
        "type": "object",
        "$defs": groups,
        "allOf": [{"$ref": f"#/$defs/{name}"} for name in groups],
    }
    return json.dumps(schema, indent=4, ensure_ascii=False) + "\n"


def params_config() -> str:
    """Return ``conf/params.config``: the default of every parameter."""
    lines = [f"// {_BY_HAND}", "params {"]
    width = max(len(parameter.name) for parameter in PARAMETERS)
    for group in _groups():
        lines.append(f"    // {GROUPS[group]}")
        lines += [f"    {p.name:<{width}} = {_groovy(p.default)}" for p in _of(group)]
        lines.append("")
    return "\n".join([*lines[:-1], "}"]) + "\n"


def args_config() -> str:
    """Return ``conf/args.config``: the parameters that each process passes to its command.

    Modules pass paths of the group ``input_output`` themselves, because tasks see them as staged files.
    """
    texts = [p.name for p in PARAMETERS if p.type == "string" and not p.choices and p.stage not in WORKFLOW_GROUPS]
    lines = [f"// {_BY_HAND}", "process {", "    // Parameters whose value is free text."]
    lines += _list("    ext.texts = ", texts)
    for stage in STAGES:
        names = [parameter.name for parameter in parameters_of(stage) if parameter.stage not in WORKFLOW_GROUPS]
        if names:
            process = MODULE_OF.get(stage, stage).upper()
            lines += [f"    withName: '{process}' {{", *_list("        ext.options = ", names), "    }"]
    return "\n".join([*lines, "}"]) + "\n"


def _list(start: str, names: list[str]) -> list[str]:
    """Return the lines of a list in Nextflow's configuration, with the code before it."""
    text = f"{start}[{', '.join(map(repr, names))}]"
    return textwrap.wrap(text, 120, subsequent_indent=" " * (len(start) + 1), break_on_hyphens=False)


def parameters_md() -> str:
    """Return ``docs/parameters.md``."""
    lines = [
        "# Parameters",
        "",
        f"<!-- {_BY_HAND} -->",
        "",
        "On the command line of the pipeline a parameter is spelt `--n_top_genes 3000`; in a file for `-params-file`, "
        "`n_top_genes: 3000`. The console command of the stage (`mmsrl-train --n-top-genes 3000`) takes it with "
        "hyphens.",
    ]
    for group in _groups():
        command = "" if group in WORKFLOW_GROUPS else f" (`mmsrl-{group}`)"
        lines += ["", f"## {GROUPS[group]}{command}", ""]
        lines += ["| parameter | type | default | allowed | meaning |", "| --- | --- | --- | --- | --- |"]
        lines += [_row(parameter) for parameter in _of(group)]
    return "\n".join(lines) + "\n"


def _groups() -> list[str]:
    """Return the groups that have parameters."""
    unknown = {p.stage for p in PARAMETERS} - GROUPS.keys()
    if unknown:
        raise ValueError(f"groups without a title in GROUPS: {', '.join(sorted(unknown))}")
    return [group for group in GROUPS if any(_of(group))]


def _of(group: str) -> Iterator[Parameter]:
    return (parameter for parameter in PARAMETERS if parameter.stage == group)


def _group(group: str) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "title": GROUPS[group],
        "type": "object",
        "description": WORKFLOW_GROUPS.get(group, f"Parameters of the stage `{group}`."),
        "properties": {parameter.name: _property(parameter) for parameter in _of(group)},
    }
    required = [parameter.name for parameter in _of(group) if parameter.required]
    return schema | ({"required": required} if required else {})


def _property(parameter: Parameter) -> dict[str, Any]:
    """Return the schema of a parameter; what is not limited is left out."""
    limits = {
        "default": parameter.default,
        "format": parameter.format,
        "exists": True if parameter.format == "file-path" else None,
        "mimetype": "text/csv" if parameter.schema else None,
        "schema": parameter.schema,
        "enum": list(parameter.choices) or None,
        "pattern": parameter.pattern,
        "errorMessage": parameter.pattern_words,
        "minimum": parameter.minimum,
        "exclusiveMinimum": parameter.above,
        "maximum": parameter.maximum,
        "hidden": parameter.hidden or None,
    }
    return {
        "type": parameter.type,
        "description": parameter.help,
        **{key: value for key, value in limits.items() if value is not None},
    }


def _groovy(value: str | int | float | bool | None) -> str:
    if value is None:
        return "null"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"'{escaped}'"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _row(parameter: Parameter) -> str:
    if parameter.default is None:
        default = "required" if parameter.required else ""
    else:
        default = f"`{_groovy(parameter.default).strip(chr(39))}`"
    if parameter.choices:
        allowed = ", ".join(f"`{choice}`" for choice in parameter.choices)
    elif parameter.minimum is not None and parameter.maximum is not None:
        allowed = f"{parameter.minimum} to {parameter.maximum}"
    elif parameter.above is not None:
        allowed = f"more than {parameter.above}"
    elif parameter.minimum is not None:
        allowed = f"at least {parameter.minimum}"
    else:
        allowed = "" if parameter.maximum is None else f"at most {parameter.maximum}"
    meaning = parameter.help.replace("|", "\\|")
    return f"| `{parameter.name}` | {parameter.type} | {default} | {allowed} | {meaning} |"


FILES = {
    "nextflow_schema.json": schema_json,
    "conf/params.config": params_config,
    "conf/args.config": args_config,
    "docs/parameters.md": parameters_md,
}
"""Generated files, relative to the project's folder, and what writes each."""


def stale(project: Path) -> list[str]:
    """Return the generated files of a project that are missing or out of date."""
    return [
        name
        for name, make in FILES.items()
        if not (project / name).is_file() or (project / name).read_text(encoding="utf-8") != make()
    ]


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail and list the files that are out of date.")
@click.option(
    "--project", type=click.Path(exists=True, file_okay=False, path_type=Path), default=".", show_default=True
)
def main(check: bool, project: Path) -> None:
    """Write the files that follow from the parameter table."""
    names = stale(project)
    if not check:
        for name in names:
            write_text(project / name, FILES[name]())
    for name in names:
        click.echo(f"{name} is out of date; run make generate" if check else f"wrote {name}", err=check)
    sys.exit(1 if check and names else 0)


if __name__ == "__main__":
    main()
