"""Which studies can be compared, and what is said of those that cannot."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmsrl._errors import InputError
from mmsrl.check.design import design_problems
from mmsrl.check.plan import make_plan

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_fingerprints(monkeypatch: pytest.MonkeyPatch) -> None:
    """They take a second, and say nothing of a design."""
    monkeypatch.setattr("mmsrl.check.plan.fingerprints", lambda _folder, **_: {})


def plan(folder: Path, columns: str, *rows: str, suffix: str = ".csv", **params: Any) -> dict[str, Any]:
    """Return the plan of a samplesheet with these columns besides sample and source."""
    lines = [f"s{number},/s{number}.h5ad,{row}" for number, row in enumerate(rows)]
    sheet = folder / f"sheet{suffix}"
    if suffix == ".csv":
        sheet.write_text("\n".join([f"sample,h5ad,{columns}", *lines]))
    else:
        names = ["sample", "h5ad", *columns.split(",")]
        sheet.write_text(json.dumps([dict(zip(names, line.split(","), strict=True)) for line in lines]))
    return make_plan(sheet, {"input": str(sheet), "outdir": "results"} | params, PROJECT, look_at_files=False)


def complaint(folder: Path, columns: str, *rows: str, **more: Any) -> str:
    with pytest.raises(InputError) as caught:
        plan(folder, columns, *rows, **more)
    return str(caught.value)


FOUR = ("a", "a", "b", "b")
GOOD: dict[str, tuple[str, ...]] = {
    "no design": ("group", "g", "g"),
    "two conditions": ("condition", *FOUR),
    "three conditions": ("condition", *FOUR, "c", "c"),
    "donors of one condition each": ("condition,donor", "a,d1", "a,d2", "b,d3", "b,d4"),
    "donors of both conditions": ("condition,donor", "a,d1", "a,d2", "b,d1", "b,d2"),
    "some donors of one condition": ("condition,donor", "a,d1", "a,d2", "b,d1", "b,d2", "a,d3", "b,d4"),
    "several sections of a donor": ("condition,donor", "a,d1", "a,d1", "a,d2", "b,d3", "b,d4", "b,d4"),
    "a balanced covariate": ("condition,covariate_sex", "a,f", "a,m", "b,f", "b,m"),
    "an unbalanced covariate": ("condition,covariate_batch", "a,1", "a,1", "a,2", "b,1", "b,2", "b,2"),
    "covariates that tell each other": (
        "condition,covariate_x,covariate_y",
        "a,1,f",
        "a,2,m",
        "b,1,f",
        "b,2,m",
        "a,1,f",
    ),
    "a covariate that is the same everywhere": ("condition,covariate_lab", "a,x", "a,x", "b,x", "b,x"),
    "a covariate of the donors that are blocks": ("condition,donor,covariate_sex", "a,1,f", "a,2,m", "b,1,f", "b,2,m"),
    "one group": ("condition,group", "a,g", "a,g", "b,g", "b,g"),
    "groups of both conditions": ("condition,group", "a,g", "b,g", "a,h", "b,h"),
    "a section outside the group": ("condition,group", "a,g", "a,g", "b,g", "b,"),
    "donor and covariate without condition": ("donor,covariate_sex", "d1,f", "d1,f"),
}


@pytest.mark.parametrize("name", GOOD)
def test_a_study_that_can_be_compared_passes(tmp_path: Path, name: str) -> None:
    columns, *rows = GOOD[name]
    samples = plan(tmp_path, columns, *rows)["samples"]

    # What the rows say is in the plan, under the names of the columns.
    for sample, row in zip(samples, rows, strict=True):
        said = dict(zip(columns.split(","), row.split(","), strict=True))
        assert sample["condition"] == said.get("condition")
        assert sample["donor"] == said.get("donor")
        assert sample["covariates"] == {c.removeprefix("covariate_"): v for c, v in said.items() if "_" in c}


def test_the_control_is_the_first_condition_unless_another_is_named(tmp_path: Path) -> None:
    assert plan(tmp_path, "condition", "b", "b", "a", "a")["control"] == "b"
    assert plan(tmp_path, "condition", "b", "b", "a", "a", control="a")["control"] == "a"
    assert plan(tmp_path, "group", "g", "g")["control"] is None


def test_numbers_stay_text_in_every_format(tmp_path: Path) -> None:
    rows = ("condition,donor,covariate_batch", "1,01,1.0", "1,2,2", "2,3,1.0", "2,4,2")
    for suffix in (".csv", ".json"):
        first = plan(tmp_path, *rows, suffix=suffix, control=1)["samples"][0]
        assert (first["condition"], first["donor"], first["covariates"]) == ("1", "01", {"batch": "1.0"})


BAD: dict[str, tuple[tuple[str, ...], dict[str, Any], list[str]]] = {
    "condition on some rows": (("condition", "a", "a", "b", "b", "", ""), {}, ["rows 6, 7 have no condition"]),
    "donor on some rows": (("condition,donor", "a,1", "a,2", "b,3", "b,"), {}, ["row 5 has no donor"]),
    "covariate on some rows": (("covariate_sex", "f", ""), {}, ["row 3 has no covariate_sex"]),
    "one condition": (("condition", "a", "a", "a"), {}, ["rows 2, 3, 4", "nothing to compare it with"]),
    "one section of a condition": (("condition", *FOUR, "c"), {}, ["row 6", "'c'", "only section of this condition"]),
    "a condition misspelt once": (("condition", *["ctrl"] * 3, "x", "x", "ctlr"), {}, ["row 7", "did you mean ctrl?"]),
    "one donor of a condition": (
        ("condition,donor", "a,d1", "a,d2", "b,d3", "b,d3"),
        {},
        ["rows 4, 5", "'d3'", "condition 'b'"],
    ),
    "control that no row has": (("condition", *FOUR), {"control": "c"}, ["--control c", "conditions are a, b"]),
    "control misspelt": (("condition", "Ctrl", "Ctrl", "b", "b"), {"control": "crtl"}, ["did you mean Ctrl?"]),
    "control without conditions": (("group", "g", "g"), {"control": "a"}, ["--control a", "has a condition"]),
    "control of another form": (("condition", *FOUR), {"control": "a b"}, ["--control must be", "'a b'"]),
    "a covariate that tells the condition": (
        ("condition,covariate_batch", "a,1", "a,2", "b,3", "b,3"),
        {},
        ["condition 'b' is confounded with covariate_batch: rows 4, 5 have '3'"],
    ),
    "a covariate that tells one of three": (
        ("condition,covariate_batch", "a,1", "a,1", "b,1", "b,1", "c,2", "c,2", "c,2"),
        {},
        ["condition 'c' is confounded", "rows 6, 7, 8", "no section of 'a'"],
    ),
    "covariates that tell the condition together": (
        ("condition,covariate_x,covariate_y", *["a,1,f"] * 3, "b,2,f", *["b,1,m"] * 2),
        {},
        ["rows 2, 3, 4, 5, 6, 7", "cannot be told from x, y"],
    ),
    "too few sections for the covariates": (
        ("condition,covariate_x", "a,1", "a,2", "b,1", "b,3"),
        {},
        ["rows 2, 3, 4, 5", "4 replicates", "x + condition"],
    ),
    "too few donors for the covariates": (
        ("condition,donor,covariate_x", "a,d1,1", "a,d2,2", "b,d3,1", "b,d4,3", "b,d4,3"),
        {},
        ["rows 2, 3, 4, 5, 6", "4 replicates"],
    ),
    "conditions in groups of their own": (
        ("condition,group", "a,g", "a,g", "b,h", "b,h"),
        {},
        ["rows 2, 3 (condition 'a') alone in group 'g'", "rows 4, 5 (condition 'b')", "in one group"],
    ),
    "one condition in a group of its own": (
        ("condition,group", "a,g", "a,g", "b,", "b,"),
        {},
        ["rows 2, 3 (condition 'a') alone in group 'g'"],
    ),
    "condition misspelt": (("conditon", *FOUR), {"control": "a"}, ["column conditon", "did you mean condition?"]),
    "a covariate without the prefix": (("condition,sex", "a,f", "b,f"), {}, ["column sex", "name it covariate_sex"]),
    "a covariate of any name": (("strain", "x", "y"), {}, ["or covariate_strain if it is a covariate"]),
    "another prefix": (("covar_Dose", "x", "y"), {}, ["name it covariate_dose"]),
    "condition as a covariate": (("covariate_condition", "x", "y"), {}, ["did you mean condition?"]),
    "a condition with a space": (("condition", "a b", "a b", "c", "c"), {}, ["row 2", "row 3", "letters, digits"]),
    "a control character in a covariate": (("covariate_x", "a\x07", "b"), {}, ["row 2", "control characters"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_study_that_cannot_be_compared_is_told_once_with_its_rows(tmp_path: Path, name: str) -> None:
    (columns, *rows), params, expected = BAD[name]
    message = complaint(tmp_path, columns, *rows, **params)

    for part in expected:
        assert part in message
    faults = [line for line in message.splitlines() if ": " in line]
    assert len(faults) == (2 if "space" in name else 1), message


def test_rows_are_named_as_the_file_counts_them(tmp_path: Path) -> None:
    assert "entries 3, 4 have no condition" in complaint(
        tmp_path, "condition,donor", "a,1", "a,2", ",3", ",4", suffix=".json"
    )


def test_a_design_is_refused_exactly_where_least_squares_cannot_tell_the_conditions() -> None:
    """Against estimability as such: whether the difference is in the row space of all columns, redundant ones too."""
    rng = random.Random(0)
    outcomes = set()
    for _ in range(300):
        sections = [
            {
                "row": i,
                "sample": f"s{i}",
                "condition": c,
                "covariate_x": rng.choice("1234"),
                "covariate_y": rng.choice("12"),
            }
            for i, c in enumerate("aaabbb")
        ]
        columns = [
            [float(section[name] == value) for section in sections]
            for name in ("condition", "covariate_x", "covariate_y")
            for value in sorted({section[name] for section in sections})
        ]
        design = np.array(columns).T
        difference = np.zeros(design.shape[1])
        difference[:2] = -1, 1
        estimable = np.allclose(difference @ np.linalg.pinv(design) @ design, difference)
        some_left = np.linalg.matrix_rank(design) < len(sections)
        assert (design_problems(sections, "row", None) == []) == (estimable and some_left)
        outcomes.add((estimable, some_left))
    assert len(outcomes) >= 3
