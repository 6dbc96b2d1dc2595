"""What conditions, donors and covariates say together: whether the conditions of a study can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from mmsrl.check.problems import Problem, listed, nearest, shown

Section = Mapping[str, Any]
"""Values of one row by column; ``row`` is its number."""

COVARIATE = "covariate_"
"""What the names of columns of covariates begin with."""

_MOST_NAMED = 12
"""Rows that a message names at most."""


def covariates_of(section: Section) -> dict[str, str]:
    """Return the covariates of a row by name, without the prefix of their columns."""
    return {column.removeprefix(COVARIATE): value for column, value in section.items() if column.startswith(COVARIATE)}


def default_control(sections: Iterable[Section]) -> str | None:
    """Return the condition of the first row that has one."""
    return next((section["condition"] for section in sections if "condition" in section), None)


def control_problems(sections: Sequence[Section], control: str | None, sheet: str) -> list[str]:
    """Return a line where ``--control`` is given and no row has that condition.

    Parameters
    ----------
    sections
        Rows of the samplesheet.
    control
        As given; ``None``: not given.
    sheet
        File name of the samplesheet.
    """
    conditions = list(dict.fromkeys(section["condition"] for section in sections if "condition" in section))
    if control is None or control in conditions:
        return []
    if not conditions:
        return [f"--control {control}: no row of {sheet} has a condition; add the column condition, or leave it out"]
    spelt = {condition.lower(): condition for condition in conditions}
    guess = nearest(control, spelt)
    hint = f"did you mean {spelt[guess]}?" if guess else f"the conditions are {listed(conditions)}"
    return [f"--control {control}: no row of {sheet} has this condition; {hint}"]


def design_problems(sections: Sequence[Section], unit: str, control: str | None) -> list[Problem]:
    """Tell why the conditions of a study cannot be compared.

    A fault that makes others meaningless is told alone.

    Parameters
    ----------
    sections
        Rows of the samplesheet, all values right by themselves.
    unit
        What rows are called: ``row`` or ``entry``.
    control
        Condition that others are compared with; ``None``: that of the first row that has one.

    Returns
    -------
    list of Problem
        Empty where no row has a condition, or where the conditions can be compared.
    """
    said = _Wording(unit)
    if problems := _gaps(sections, said):
        return problems
    if default_control(sections) is None:
        return []
    if problems := _levels(sections, said):
        return problems
    if problems := [*_groups(sections, said), *_donors_of_conditions(sections, said)]:
        return problems
    conditions = [section["condition"] for section in sections]
    return _model(sections, said, control if control is not None and control in conditions else conditions[0])


class _Wording:
    """Names rows in messages."""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def rows(self, sections: Sequence[Section]) -> str:
        """Return ``row 3``, or ``rows 3, 5``; of many rows the first ones and how many more."""
        numbers = [str(section["row"]) for section in sections]
        if len(numbers) == 1:
            return f"{self.unit} {numbers[0]}"
        plural = "entries" if self.unit == "entry" else f"{self.unit}s"
        more = f" and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else ""
        return f"{plural} {listed(numbers[:_MOST_NAMED])}{more}"


def _by_condition(sections: Sequence[Section]) -> dict[str, list[Section]]:
    arms: dict[str, list[Section]] = {}
    for section in sections:
        arms.setdefault(section["condition"], []).append(section)
    return arms


def _gaps(sections: Sequence[Section], said: _Wording) -> list[Problem]:
    """Columns of the design that some rows have and others lack."""
    columns = dict.fromkeys(c for s in sections for c in s if c in ("condition", "donor") or c.startswith(COVARIATE))
    problems = []
    for column in columns:
        lacking = [section for section in sections if column not in section]
        if lacking:
            text = (
                f"{said.rows(lacking)} {'has' if len(lacking) == 1 else 'have'} no {column}, though other rows have "
                "one; give one to every row, or to none"
            )
            problems.append(Problem(lacking[0]["row"], text, column=column))
    return problems


def _levels(sections: Sequence[Section], said: _Wording) -> list[Problem]:
    """A study of one condition, and conditions of one section."""
    arms = _by_condition(sections)
    if len(arms) == 1:
        text = (
            f"{said.rows(sections)}: all have this condition, and there is nothing to compare it with; name a second "
            "condition, or leave the column empty"
        )
        return [Problem(sections[0]["row"], text, column="condition", value=next(iter(arms)))]
    problems = []
    for condition, members in arms.items():
        if len(members) < 2:
            guess = nearest(condition, [other.lower() for other in arms if other != condition], likeness=0.7)
            spelt = next((other for other in arms if other != condition and other.lower() == guess), None)
            hint = f" (did you mean {spelt}?)" if spelt else ""
            text = (
                f"{said.rows(members)} is the only section of this condition{hint}, and a comparison needs at least "
                "two; add one, or leave this section out"
            )
            problems.append(Problem(members[0]["row"], text, column="condition", value=condition))
    return problems


def _groups(sections: Sequence[Section], said: _Wording) -> list[Problem]:
    """Conditions each of which is alone in its only group."""
    apart = []
    for condition, members in _by_condition(sections).items():
        group = members[0].get("group")
        mates = {section["condition"] for section in sections if section.get("group") == group}
        if group is not None and mates == {condition} and all(member.get("group") == group for member in members):
            apart.append((condition, group, members))
    if not apart:
        return []
    where = " and ".join(f"{said.rows(m)} (condition {shown(c)}) alone in group {shown(g)}" for c, g, m in apart)
    text = (
        f"{where}: domains of the conditions would be learned apart, and no difference told from that of the groups; "
        "put all sections of the comparison in one group, or leave group empty"
    )
    return [Problem(apart[0][2][0]["row"], text, column="group")]


def _donors_of_conditions(sections: Sequence[Section], said: _Wording) -> list[Problem]:
    """Conditions whose sections are all of one donor."""
    problems = []
    for condition, members in _by_condition(sections).items():
        donors = {member.get("donor") for member in members}
        if len(donors) == 1 and None not in donors:
            text = (
                f"{said.rows(members)}: all sections of condition {shown(condition)} are of this donor, and one donor "
                "is one replicate; add sections of another donor"
            )
            problems.append(Problem(members[0]["row"], text, column="donor", value=donors.pop()))
    return problems


def _model(sections: Sequence[Section], said: _Wording, control: str) -> list[Problem]:
    """Covariates that tell the condition or each other, and replicates too few for the model."""
    kept, blocks = _blocks(sections, control)
    replicates, varying = _replicates(kept)
    covariates = [name for name in covariates_of(sections[0]) if name not in varying]
    arms = _by_condition(kept)
    constant = np.ones((len(replicates), 1))
    conditions = _dummies([replicate["condition"] for replicate in replicates])
    by_covariate = {name: _dummies([replicate[COVARIATE + name] for replicate in replicates]) for name in covariates}

    problems = []
    for name, columns in by_covariate.items():
        if _rank(constant, columns, conditions) < _rank(constant, columns) + conditions.shape[1]:
            problems.append(_confounded(arms, name, said))
    if problems:
        return problems
    donors = [_dummies([replicate["donor"] for replicate in replicates])] if blocks else []
    others = [constant, *donors, *by_covariate.values()]
    names = listed([*(["donor"] if blocks else []), *(COVARIATE + name for name in covariates)])
    everywhere = said.rows(kept)
    rank = _rank(*others, conditions)
    if rank < _rank(*others) + conditions.shape[1]:
        text = f"{everywhere}: {names} together tell the condition of every section; leave one of them out"
        return [Problem(kept[0]["row"], text, column="condition")]
    # What is the same of all sections of a donor is in the donors' own columns, and no fault.
    if not blocks and by_covariate and _rank(*others) < sum(columns.shape[1] for columns in others):
        text = f"{everywhere}: of {names} one follows from the others; leave one of them out"
        return [Problem(kept[0]["row"], text, column=COVARIATE + covariates[-1])]
    if len(replicates) - rank < 1:
        what = "donors within conditions" if "donor" in sections[0] else "sections"
        text = (
            f"{everywhere}: {len(replicates)} replicates ({what}) are too few for a comparison that accounts for "
            f"{names}: nothing is left to estimate variation from; add sections, or leave out a covariate"
        )
        return [Problem(kept[0]["row"], text, column="condition")]
    return []


def _blocks(sections: Sequence[Section], control: str) -> tuple[list[Section], bool]:
    """Return the sections that are compared, and whether donors are blocks of the design.

    They are where at least two have sections of the control and of another condition; those of one condition then say
    nothing.
    """
    conditions: dict[str, set[str]] = {}
    for section in sections:
        if "donor" in section:
            conditions.setdefault(section["donor"], set()).add(section["condition"])
    paired = {donor for donor, of_donor in conditions.items() if len(of_donor) > 1}
    if sum(control in conditions[donor] for donor in paired) < 2:
        return list(sections), False
    return [section for section in sections if section["donor"] in paired], True


def _replicates(sections: Sequence[Section]) -> tuple[list[Section], set[str]]:
    """Return one section of each replicate, and the covariates that differ within one."""
    first: dict[object, Section] = {}
    varying: set[str] = set()
    for section in sections:
        key = (section["condition"], section["donor"]) if "donor" in section else section["row"]
        replicate = first.setdefault(key, section)
        own = covariates_of(section)
        varying |= {name for name, value in covariates_of(replicate).items() if value != own[name]}
    return list(first.values()), varying


def _dummies(values: Sequence[str]) -> np.ndarray:
    """Return a column of 0 and 1 for each value but the first: (n, levels - 1)."""
    levels = list(dict.fromkeys(values))[1:]
    return np.array([[value == level for level in levels] for value in values], dtype=float).reshape(len(values), -1)


def _rank(*blocks: np.ndarray) -> int:
    return int(np.linalg.matrix_rank(np.column_stack(blocks)))


def _confounded(arms: Mapping[str, Sequence[Section]], name: str, said: _Wording) -> Problem:
    """Say which condition has values of a covariate that no other condition has."""
    column = COVARIATE + name
    values = {condition: {member[column] for member in members} for condition, members in arms.items()}
    # Conditions that share no value with the first, not even by way of a third, cannot be told from the covariate.
    reached, found = set(), {next(iter(arms))}
    while found:
        condition = found.pop()
        reached.add(condition)
        found |= {other for other in arms if values[other] & values[condition]} - reached
    apart = next(condition for condition in arms if condition not in reached)
    text = (
        f"condition {shown(apart)} cannot be told from {column}: {said.rows(arms[apart])} have "
        f"{listed(map(shown, sorted(values[apart])))}, which no section of {listed(map(shown, sorted(reached)))} has; "
        "leave the covariate out, or add sections of both that share a value"
    )
    return Problem(arms[apart][0]["row"], text, column=column)
