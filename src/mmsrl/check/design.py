"""Validation of the study design: whether conditions, donors and covariates allow a comparison."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mmsrl import _keys
from mmsrl._design import Assignment, compare, replicates_of
from mmsrl.check.problems import Problem, listed, nearest, shown

Section = Mapping[str, Any]
"""Values of one row by column; ``row`` is the row number."""

_MAX_ROWS_NAMED = 12
"""Maximum number of rows named in a message."""


def covariates_of(section: Section) -> dict[str, str]:
    """Return the covariates of a row by name, without the column prefix."""
    return {
        column.removeprefix(_keys.COVARIATE): value
        for column, value in section.items()
        if column.startswith(_keys.COVARIATE)
    }


def default_control(sections: Iterable[Section]) -> str | None:
    """Return the first condition in the samplesheet; ``None`` if no row has a condition."""
    return next((section["condition"] for section in sections if "condition" in section), None)


def control_problems(sections: Sequence[Section], control: str | None, sheet: str) -> list[str]:
    """Return a line if ``--control`` names a condition that no row has.

    Parameters
    ----------
    sections
        Rows of the samplesheet.
    control
        Value of ``--control``; ``None`` if not given.
    sheet
        File name of the samplesheet.
    """
    conditions = list(dict.fromkeys(section["condition"] for section in sections if "condition" in section))
    if control is None or control in conditions:
        return []
    if not conditions:
        return [f"--control {control}: no row of {sheet} has a condition; add the column condition, or leave it out"]
    condition_of = {condition.lower(): condition for condition in conditions}
    guess = nearest(control, condition_of)
    hint = f"did you mean {condition_of[guess]}?" if guess else f"the conditions are {listed(conditions)}"
    return [f"--control {control}: no row of {sheet} has this condition; {hint}"]


def design_problems(sections: Sequence[Section], unit: str, control: str | None) -> list[Problem]:
    """Return the reasons why the conditions of a study cannot be compared.

    A problem that invalidates later checks is reported alone.

    Parameters
    ----------
    sections
        Valid rows of the samplesheet.
    unit
        Word for a row: ``row`` or ``entry``.
    control
        Reference condition. ``None`` selects the condition of the first row that has one.

    Returns
    -------
    list of Problem
        Empty if no row has a condition or all conditions can be compared.
    """
    wording = _Wording(unit)
    if problems := _gaps(sections, wording):
        return problems
    if default_control(sections) is None:
        return []
    if problems := _levels(sections, wording):
        return problems
    if problems := [*_groups(sections, wording), *_donors_of_conditions(sections, wording)]:
        return problems
    conditions = [section["condition"] for section in sections]
    return _model(sections, wording, control if control is not None and control in conditions else conditions[0])


class _Wording:
    """Wording of rows in messages."""

    def __init__(self, unit: str) -> None:
        self.unit = unit

    def rows(self, sections: Sequence[Section]) -> str:
        """Return ``row 3`` or ``rows 3, 5``. Long lists end with the number of rows left out."""
        numbers = [str(section["row"]) for section in sections]
        if len(numbers) == 1:
            return f"{self.unit} {numbers[0]}"
        plural = "entries" if self.unit == "entry" else f"{self.unit}s"
        more = f" and {len(numbers) - _MAX_ROWS_NAMED} more" if len(numbers) > _MAX_ROWS_NAMED else ""
        return f"{plural} {listed(numbers[:_MAX_ROWS_NAMED])}{more}"


def _by_condition(sections: Sequence[Section]) -> dict[str, list[Section]]:
    arms: dict[str, list[Section]] = {}
    for section in sections:
        arms.setdefault(section["condition"], []).append(section)
    return arms


def _gaps(sections: Sequence[Section], wording: _Wording) -> list[Problem]:
    """Return design columns that only some rows fill in."""
    columns = dict.fromkeys(
        c for s in sections for c in s if c in ("condition", "donor") or c.startswith(_keys.COVARIATE)
    )
    problems = []
    for column in columns:
        incomplete = [section for section in sections if column not in section]
        if incomplete:
            text = (
                f"{wording.rows(incomplete)} {'has' if len(incomplete) == 1 else 'have'} no {column}, but other rows "
                "have one; give one to every row, or to none"
            )
            problems.append(Problem(incomplete[0]["row"], text, column=column))
    return problems


def _levels(sections: Sequence[Section], wording: _Wording) -> list[Problem]:
    """Return a problem for a single condition, or for conditions with a single section."""
    arms = _by_condition(sections)
    if len(arms) == 1:
        text = (
            f"{wording.rows(sections)}: all have this condition, so there is nothing to compare it with; add a second "
            "condition, or leave the column empty"
        )
        return [Problem(sections[0]["row"], text, column="condition", value=next(iter(arms)))]
    problems = []
    for condition, members in arms.items():
        if len(members) < 2:
            guess = nearest(condition, [other.lower() for other in arms if other != condition], likeness=0.7)
            meant = next((other for other in arms if other != condition and other.lower() == guess), None)
            hint = f" (did you mean {meant}?)" if meant else ""
            text = (
                f"{wording.rows(members)} is the only section of this condition{hint}, and a comparison needs at least "
                "two; add one, or leave this section out"
            )
            problems.append(Problem(members[0]["row"], text, column="condition", value=condition))
    return problems


def _groups(sections: Sequence[Section], wording: _Wording) -> list[Problem]:
    """Return a problem for conditions that are confounded with a group."""
    confounded = []
    for condition, members in _by_condition(sections).items():
        group = members[0].get("group")
        mates = {section["condition"] for section in sections if section.get("group") == group}
        if group is not None and mates == {condition} and all(member.get("group") == group for member in members):
            confounded.append((condition, group, members))
    if not confounded:
        return []
    where = " and ".join(
        f"{wording.rows(m)} (condition {shown(c)}) alone in group {shown(g)}" for c, g, m in confounded
    )
    text = (
        f"{where}: condition and group are confounded, as domains are learned for each group separately; "
        "put all sections of the comparison in one group, or leave group empty"
    )
    return [Problem(confounded[0][2][0]["row"], text, column="group")]


def _donors_of_conditions(sections: Sequence[Section], wording: _Wording) -> list[Problem]:
    """Return a problem for each condition with a single donor."""
    problems = []
    for condition, members in _by_condition(sections).items():
        donors = {member.get("donor") for member in members}
        if len(donors) == 1 and None not in donors:
            text = (
                f"{wording.rows(members)}: all sections of condition {shown(condition)} are of this donor, and one "
                "donor is one replicate; add sections of another donor"
            )
            problems.append(Problem(members[0]["row"], text, column="donor", value=donors.pop()))
    return problems


def _model(sections: Sequence[Section], wording: _Wording, control: str) -> list[Problem]:
    """Return a problem for each condition whose linear model cannot be fitted."""
    assignments = [Assignment(s["sample"], s["condition"], s.get("donor"), covariates_of(s)) for s in sections]
    replicates = replicates_of(assignments)
    arms = _by_condition(sections)
    problems = []
    for condition in arms:
        if condition == control:
            continue
        comparison = compare(replicates, [True] * len(replicates), condition, control)
        if not isinstance(comparison, str):
            continue
        confounders = [
            name
            for name in covariates_of(sections[0])
            if not {s[_keys.COVARIATE + name] for s in arms[condition]}
            & {s[_keys.COVARIATE + name] for s in arms[control]}
        ]
        if confounders:
            problems.append(_confounded(condition, control, arms, confounders, wording))
            continue
        both = sorted([*arms[control], *arms[condition]], key=lambda section: section["row"])
        text = f"{wording.rows(both)}: {comparison}; leave out a covariate, or add sections"
        problems.append(Problem(both[0]["row"], text, column="condition", value=condition))
    return problems


def _confounded(
    condition: str, control: str, arms: Mapping[str, Sequence[Section]], covariates: Sequence[str], wording: _Wording
) -> Problem:
    """Return the problem of covariates without a value shared by a condition and the control."""
    column = _keys.COVARIATE + covariates[0]
    values = listed(shown(value) for value in sorted({section[column] for section in arms[condition]}))
    text = (
        f"condition {shown(condition)} is confounded with {listed(_keys.COVARIATE + name for name in covariates)}: "
        f"{wording.rows(arms[condition])} have {values}, which no section of {shown(control)} has; leave the covariate "
        "out, or add sections of both conditions with the same value"
    )
    return Problem(arms[condition][0]["row"], text, column=column)
