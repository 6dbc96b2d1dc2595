"""Validation of pipeline parameters: names, types, bounds and combinations."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from mmsrl.check.problems import listed, nearest, printable, shown
from mmsrl.train.presets import PRESETS, Published, with_defaults

_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")
_NULLS = ("", "null")
_KINDS = {"integer": "a whole number", "number": "a number", "boolean": "true or false", "string": "text"}
_SITE_GROUPS = ("execution_options", "institutional_config_options")
"""Groups of the schema that describe the computing site, not the analysis."""


def properties_of(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the schema of every parameter in ``nextflow_schema.json`` by name."""
    return {name: rule for group in schema["$defs"].values() for name, rule in group["properties"].items()}


def check_params(given: Mapping[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Cast parameters to their types and check them against the schema.

    Parameters
    ----------
    given
        Nextflow's ``params``. Any value may be text, because strict parsers do not cast. ``null`` and empty text
        select the default.
    schema
        Content of ``nextflow_schema.json``: JSON Schema 2020-12 in the format of nf-schema.

    Returns
    -------
    params
        Typed value of every parameter in the schema; ``None`` without value or default.
    problems
        One line for each unknown or invalid parameter. Institutional profiles (recognised by ``config_profile_…``)
        define parameters of their own, so with such a profile only likely misspellings are reported as unknown.
    """
    properties = properties_of(schema)
    of_science = [name for group, g in schema["$defs"].items() if group not in _SITE_GROUPS for name in g["properties"]]
    at_institution = any(given.get(name) for name in given if name.startswith("config_profile_"))
    problems = []
    params: dict[str, Any] = {name: rule.get("default") for name, rule in properties.items()}
    for name, value in given.items():
        if name in properties:
            if value is not None and value not in _NULLS:
                params[name] = _cast(value, properties[name]["type"])
        elif at_institution and not nearest(name, of_science, likeness=0.8):
            continue  # defined by the profile
        elif not _is_twin(name, given):
            guess = nearest(name, properties)
            hint = f"did you mean --{guess}?" if guess else "--help lists all parameters"
            problems.append(f"unknown parameter --{printable(name)}; {hint}")

    values = {name: value for name, value in params.items() if value is not None}
    validator = jsonschema.Draft202012Validator(schema)
    # A value of the wrong type violates other rules too: report the type only.
    errors: dict[str, ValidationError] = {}
    for error in sorted(validator.iter_errors(values), key=lambda e: e.validator != "type"):
        if error.validator == "required":
            missing = [n for n in error.validator_value if n not in values]
            errors.update(dict.fromkeys(missing, error))
        else:
            errors.setdefault(str(error.path[0]), error)
    problems += [_message(name, given.get(name), properties[name], errors[name]) for name in params if name in errors]
    return params, problems


def preset_problems(params: Mapping[str, Any]) -> list[str]:
    """Return one line for each parameter that is incompatible with the preset.

    Parameters
    ----------
    params
        Typed, from :func:`check_params`.
    """
    chosen = params["preset"]
    problems = []
    given = {}
    for name, value in params.items():
        owners = [preset for preset, settings in PRESETS.items() if hasattr(settings, name)]
        if value is None or not owners:
            continue
        if chosen in owners:
            given[name] = value
        else:
            problems.append(f"--{name} is a setting of {listed(owners)}, not of --preset {chosen}: leave it out")
    settings = replace(PRESETS[chosen], **given)
    if isinstance(settings, Published):
        if not settings.can_mask(settings.n_top_genes):
            problems.append(
                f"--hidden_dim {settings.hidden_dim}: masked reconstruction compares this many hidden values with "
                f"{settings.n_top_genes} genes; leave it out, or give --masked_weight 0"
            )
    elif (params["n_seeds"] or 1) > 1:
        problems.append(
            f"--n_seeds {params['n_seeds']}: --preset {chosen} trains its whole ensemble at once; leave it out"
        )
    return problems


def backbone_problems(params: Mapping[str, Any]) -> list[str]:
    """Return one line for each setting of a timm model, unless ``backbone`` names exactly one timm model.

    Parameters
    ----------
    params
        Typed, from :func:`check_params`.
    """
    models = [part for part in params["backbone"].split("+") if part.startswith("timm/")]
    if len(models) == 1:
        return []
    return [
        f"--{name} needs exactly one timm model, but --backbone {params['backbone']} names {len(models) or 'none'}: "
        "leave it out, or set the backbone to timm/ and the name of the model"
        for name in ("backbone_weights", "backbone_options")
        if params[name] is not None
    ]


def seed_problems(params: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return a line if a random seed of the run exceeds the maximum.

    Parameters
    ----------
    params
        Typed, from :func:`check_params`.
    schema
        Content of ``nextflow_schema.json``.
    """
    first = with_defaults(params["preset"], {"seed": params["seed"]})["seed"]
    last, maximum = first + (params["n_seeds"] or 1) - 1, properties_of(schema)["seed"]["maximum"]
    text = (
        f"--seed {first}: the last of {params['n_seeds']} trainings would use seed {last}, but the maximum is "
        f"{maximum}; give a smaller seed"
    )
    return [text] if last > maximum else []


def option_problems(params: Mapping[str, Any]) -> list[str]:
    """Return a line for each parameter that contradicts the start of the run or a skipped stage.

    Parameters
    ----------
    params
        Typed, from :func:`check_params`.
    """
    problems = []
    if params["start_after"] and not params["start_from"]:
        problems.append("--start_after is for --start_from: give the results of an earlier run too, or leave it out")
    if params["start_from"] and params["start_after"] != "qc" and (params["n_seeds"] or 1) > 1:
        problems.append(
            f"--n_seeds {params['n_seeds']}: results hold only the first training of a unit; leave it out, or give "
            "--start_after qc"
        )
    if params["skip_enhance"]:
        requested = [name for name in ("n_enhanced_genes", "enhanced_genes") if params[name] is not None]
        problems += [
            f"--{name} requests de-noised expression, but --skip_enhance skips it: leave one out" for name in requested
        ]
    return problems


def _is_twin(name: str, given: Mapping[str, Any]) -> bool:
    """Return whether Nextflow added ``name``: some releases add ``nTopGenes`` to a given ``n-top-genes``."""
    return any(re.sub(r"-(\w)", lambda m: m[1].upper(), other) == name for other in given if "-" in other)


def _cast(value: Any, kind: str) -> Any:
    """Return ``value`` cast to the type of the schema if possible, else unchanged."""
    if kind == "string" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, float) and value.is_integer() and kind == "integer":
        return int(value)
    if not isinstance(value, str):
        return value
    text = value.strip()
    if kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "number" and _NUMBER.fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    return value


def _allowed(rule: Mapping[str, Any]) -> str:
    """Describe the allowed values of a parameter."""
    if "enum" in rule:
        return f"one of {listed(rule['enum'])}"
    if "errorMessage" in rule:
        return str(rule["errorMessage"])
    kind = _KINDS[rule["type"]]
    low, high = rule.get("minimum"), rule.get("maximum")
    if "exclusiveMinimum" in rule:
        return f"{kind}, more than {rule['exclusiveMinimum']}"
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    if low is not None:
        return f"{kind}, at least {low}"
    return kind if high is None else f"{kind}, at most {high}"


def _message(name: str, value: Any, rule: Mapping[str, Any], error: ValidationError) -> str:
    if error.validator == "required":
        return f"--{name} is needed: {rule['description']}"
    if value is True and rule["type"] != "boolean":
        return f"--{name} must be {_allowed(rule)}, but no value was given"
    text = str(value).lower() if isinstance(value, bool) else value
    return f"--{name} must be {_allowed(rule)}, not {shown(text)}"
