"""Validation of the rows of a samplesheet, each on its own and against each other."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema
from jsonschema.exceptions import ValidationError

from mmsrl._keys import COVARIATE
from mmsrl.check.problems import Problem, listed, nearest, plain, shown
from mmsrl.check.table import Row, Table

Section = dict[str, Any]
"""Values of one row by column, with the types of the schema; ``row`` is the row number."""

_OTHER_WORDS = {
    **dict.fromkeys(("arm", "treatment"), "condition"),
    **dict.fromkeys(("animal", "individual", "patient", "subject"), "donor"),
    **{name: f"{COVARIATE}{name}" for name in ("age", "batch", "sex", "slide")},
}
"""Columns of the samplesheet by common synonyms."""

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def check_rows(table: Table, schema: Mapping[str, Any]) -> tuple[list[Section], list[Problem]]:
    """Check every row against the schema, and the rows against each other.

    Parameters
    ----------
    table
        Samplesheet as written.
    schema
        Content of ``assets/schema_input.json``.

    Returns
    -------
    sections
        All rows, with their valid values only.
    problems
        All problems, including those of ``table``.
    """
    rules = {column: rule for _, column in _columns(table) if (rule := _rule(column, schema["items"])) is not None}
    problems = list(table.problems)
    suspected: set[str] = set()
    for place, column in _columns(table):
        if column not in rules:
            guess = _guess(column, schema["items"])
            suspected |= {guess} if guess else set()
            problems.append(Problem(place, f"unknown column; {_hint(column, guess, schema['items'])}", column=column))

    validator = jsonschema.Draft202012Validator(schema["items"])
    sections: list[Section] = []
    for row in table.rows:
        values = {c: _cast(v, rules[c]["type"]) for c, v in row.values.items() if c in rules}
        for error in list(validator.iter_errors(values)):
            problem = _problem(error, row, table, suspected)
            if problem is not None:
                problems.append(problem)
            if error.path:
                values.pop(str(error.path[0]), None)
        sections.append({"row": row.number, **values})
    if not table.rows and not problems:
        problems.append(Problem(0, "there are no rows below the column names; add one for each sample"))

    problems += _repeated_samples(sections, table.unit)
    problems += _group_problems(sections, table.unit)
    return sections, problems


def _columns(table: Table) -> Iterator[tuple[int, str]]:
    """Yield every column with the number of the row that names it (the header or an entry)."""
    if table.columns is not None:
        yield from ((table.header, column) for column in table.columns if column)
    else:
        yield from ((row.number, column) for row in table.rows for column in row.named)


def _rule(column: str, rules: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the schema of a column by its name or pattern; ``None`` for an unknown column."""
    named: Mapping[str, Any] | None = rules["properties"].get(column)
    return named or next((rule for form, rule in rules["patternProperties"].items() if re.search(form, column)), None)


def _guess(column: str, rules: Mapping[str, Any]) -> str | None:
    """Return the known column that an unknown one most likely stands for; ``None`` without a guess."""
    spelt = plain(column)
    if spelt in _OTHER_WORDS:
        return _OTHER_WORDS[spelt]
    covariate = _covariate(column)
    bare = covariate.removeprefix(COVARIATE)
    if spelt == bare:
        return nearest(column, rules["properties"])
    return bare if bare in rules["properties"] else covariate if _rule(covariate, rules) else None


def _covariate(column: str) -> str:
    """Return the covariate column for a name with a misspelt prefix or none."""
    return COVARIATE + re.sub(r"[^a-z0-9]+", "_", re.sub(r"^cov[a-z]*_", "", plain(column)))


def _hint(column: str, guess: str | None, rules: Mapping[str, Any]) -> str:
    if guess is not None and guess.startswith(COVARIATE):
        return f"columns of covariates begin with {COVARIATE}: name it {guess}"
    if guess is not None:
        return f"did you mean {guess}?"
    covariate = _covariate(column)
    hint = f", or {covariate} if it is a covariate of a comparison" if _rule(covariate, rules) else ""
    return f"the columns are {listed(rules['properties'])}{hint}"


def _cast(value: str, kind: str) -> str | int | float:
    if kind == "number" and _NUMBER.fullmatch(value):
        return float(value)
    return int(value) if kind == "integer" and _WHOLE_NUMBER.fullmatch(value) else value


def _problem(error: ValidationError, row: Row, table: Table, suspected: set[str]) -> Problem | None:
    text = str(error.schema.get("errorMessage", error.message))  # type: ignore[union-attr]
    if error.path:
        column = str(error.path[0])
        return Problem(row.number, text, column=column, value=row.values[column])
    if error.validator in ("required", "anyOf"):
        missing = _required(error)
        if missing & suspected:
            return None  # the misspelt column is reported already
        if table.columns is not None and not missing & set(table.columns):
            return Problem(table.header, f"no column {' or '.join(sorted(missing, reverse=True))}; add it")
    return Problem(row.number, text)


def _required(error: ValidationError) -> set[str]:
    """Return the columns required by a failed ``required``, or by an ``anyOf`` of several."""
    rule: Any = error.validator_value
    if error.validator == "required":
        return set(rule)
    return {column for alternative in rule for column in alternative["required"]}


def _repeated_samples(sections: list[Section], unit: str) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for section in sections:
        sample = section.get("sample")
        if sample in first:
            text = f"{unit} {first[sample]} has this sample already; every row needs a name of its own"
            yield Problem(section["row"], text, column="sample", value=sample)
        elif sample is not None:
            first[sample] = section["row"]


def _group_problems(sections: list[Section], unit: str) -> Iterator[Problem]:
    groups: dict[str, list[Section]] = defaultdict(list)
    for section in sections:
        if "group" in section:
            groups[section["group"]].append(section)
    rows = {section["sample"]: section for section in sections if "sample" in section}
    for group, members in groups.items():
        clash = rows.get(group)
        if clash is not None and (clash.get("group") != group or len(members) > 1):
            text = (
                f"{unit} {clash['row']} is a sample of this name; results would overwrite each other; rename the group"
            )
            yield Problem(members[0]["row"], text, column="group", value=group)
        counted = [member for member in members if "n_domains" in member]
        for member in counted[1:]:
            if member["n_domains"] != counted[0]["n_domains"]:
                text = (
                    f"group {shown(group)} has n_domains {counted[0]['n_domains']} on {unit} {counted[0]['row']}; "
                    "sections trained together share one number"
                )
                yield Problem(member["row"], text, column="n_domains", value=str(member["n_domains"]))
