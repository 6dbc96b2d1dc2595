"""What conditions, donors and covariates say together: whether the conditions of a study can be compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmsrl import _keys
from mmsrl._design import Assignment, compare, replicates_of
from mmsrl.check.problems import Problem, listed, nearest, shown

Section = Mapping[str, Any]
"""Values of one row by column; ``row`` is its number."""

_MOST_NAMED = 12
"""Rows that a message names at most."""


def covariates_of(section: Section) -> dict[str, str]:
    """Return the covariates of a row by name, without the prefix of their columns."""
    return {
        column.removeprefix(_keys.COVARIATE): value
        for column, value in section.items()
        if column.startswith(_keys.COVARIATE)
    }


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
    columns = dict.fromkeys(
        c for s in sections for c in s if c in ("condition", "donor") or c.startswith(_keys.COVARIATE)
    )
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
    """Conditions that covariates leave no way to compare with the control."""
    assignments = [Assignment(s["sample"], s["condition"], s.get("donor"), covariates_of(s)) for s in sections]
    replicates = replicates_of(assignments)
    arms = _by_condition(sections)
    problems = []
    for condition in arms:
        if condition == control:
            continue
        found = compare(replicates, [True] * len(replicates), condition, control)
        if not isinstance(found, str):
            continue
        telling = [
            name
            for name in covariates_of(sections[0])
            if not {s[_keys.COVARIATE + name] for s in arms[condition]}
            & {s[_keys.COVARIATE + name] for s in arms[control]}
        ]
        if telling:
            problems.append(_confounded(condition, control, arms, telling, said))
            continue
        both = sorted([*arms[control], *arms[condition]], key=lambda section: section["row"])
        text = f"{said.rows(both)}: {found}; leave out a covariate, or add sections"
        problems.append(Problem(both[0]["row"], text, column="condition", value=condition))
    return problems


def _confounded(
    condition: str, control: str, arms: Mapping[str, Sequence[Section]], telling: Sequence[str], said: _Wording
) -> Problem:
    """Say which covariate has no value in common for a condition and the control."""
    column = _keys.COVARIATE + telling[0]
    values = listed(shown(value) for value in sorted({section[column] for section in arms[condition]}))
    text = (
        f"condition {shown(condition)} cannot be told from {listed(_keys.COVARIATE + name for name in telling)}: "
        f"{said.rows(arms[condition])} have {values}, which no section of {shown(control)} has; leave the covariate "
        "out, or add sections of both that share a value"
    )
    return Problem(arms[condition][0]["row"], text, column=column)
