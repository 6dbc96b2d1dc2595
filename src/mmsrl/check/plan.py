"""The plan of a run: what ``main.nf`` needs to know, once everything is known to be right."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmsrl._errors import InputError
from mmsrl._gmt import read_gmt
from mmsrl.check.design import control_problems, covariates_of, default_control, design_problems
from mmsrl.check.earlier import UNREAD, check_earlier
from mmsrl.check.files import PATH_COLUMNS, absolute, check_files, is_remote
from mmsrl.check.fingerprint import fingerprints, installed
from mmsrl.check.params import backbone_problems, check_params, option_problems, preset_problems, seed_problems
from mmsrl.check.problems import report
from mmsrl.check.rows import Section, check_rows
from mmsrl.check.table import read_table
from mmsrl.map.reference import check_reference

PACKAGE_FOLDER = Path(__file__).resolve().parents[1]


def make_plan(sheet: Path, given: Mapping[str, Any], schema_dir: Path, *, look_at_files: bool) -> dict[str, Any]:
    """Check parameters and samplesheet, and return the plan of the run.

    Parameters
    ----------
    sheet
        Samplesheet: CSV, TSV, YAML or JSON.
    given
        Nextflow's ``params``.
    schema_dir
        Folder with ``nextflow_schema.json`` and ``assets/schema_input.json``.
    look_at_files
        Also look at the files that the samplesheet names, and make their paths absolute. Without it paths stay as
        written, for a place where the files cannot be seen.

    Returns
    -------
    dict
        ``samples`` (rows with ``id``, ``unit`` and ``covariates``; ``None`` for what is not given or not read),
        ``units`` (what is trained together), ``control`` (condition that others are compared with; ``None`` without
        conditions), ``start_from`` and ``start_after`` (results that sections go on from; ``None``: they begin anew),
        ``params`` (typed) and ``code`` (stage → fingerprint).

    Raises
    ------
    InputError
        With every fault that was found, one line each.
    """
    schema = _schema(schema_dir, "nextflow_schema.json")
    params, complaints = check_params(given, schema)
    complaints = complaints or [
        *preset_problems(params),
        *backbone_problems(params),
        *seed_problems(params, schema),
        *option_problems(params),
    ]
    start = params["start_from"] and str(params["start_from"])
    after = (params["start_after"] or "train") if start else None
    unread = UNREAD.get(after or "", ())
    messages = []
    if complaints:
        headline = f"{len(complaints)} wrong parameter{'s' if len(complaints) > 1 else ''}"
        messages.append("\n  ".join([headline, *complaints]))

    sections: list[Section] = []
    row_schema = _schema(schema_dir, "assets/schema_input.json")
    try:
        table = read_table(sheet)
        sections, problems = check_rows(table, row_schema)
        # What rows say together is known once each of them is right.
        if not problems:
            problems = design_problems(sections, table.unit, params["control"])
            if not any(complaint.startswith("--control ") for complaint in complaints):
                messages += control_problems(sections, params["control"], sheet.name)
        if look_at_files:
            wrong = {s["row"]: {p.column for p in problems if p.row == s["row"] and p.column} for s in sections}
            problems += [p for s in sections for p in check_files(s, sheet.parent, wrong[s["row"]], unread)]
        if problems:
            messages.append(report(problems, sheet.name, table.unit))
    except InputError as error:
        messages.append(str(error))
    # Read last of all in a run, by the markers: a fault in it would cost all that was computed before.
    gene_sets = params["gene_sets"]
    if look_at_files and isinstance(gene_sets, str) and Path(gene_sets).is_file():
        try:
            read_gmt(Path(gene_sets))
        except InputError as error:
            messages.append(str(error))
    reference = params["reference"]
    if look_at_files and isinstance(reference, str) and "://" not in reference:
        try:
            check_reference(Path(reference), params["reference_unit"])
        except InputError as error:
            messages.append(str(error))
    if look_at_files and start and after and not messages and not is_remote(start):
        messages += check_earlier(Path(start), after, _units(_samples(sections, row_schema)), params)
    if messages:
        raise InputError("\n".join(messages))

    samples = _samples(sections, row_schema)
    for sample in samples:
        sample |= dict.fromkeys(unread)
        for column in PATH_COLUMNS:
            if look_at_files and sample[column] is not None:
                sample[column] = absolute(sample[column], sheet.parent)
    return {
        "samples": samples,
        "units": _units(samples),
        "control": params["control"] or default_control(sections),
        "start_from": start,
        "start_after": after,
        "params": params,
        "code": fingerprints(PACKAGE_FOLDER, packages=installed()),
    }


def _samples(sections: list[Section], row_schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return rows as the plan has them, with ``None`` for what is not given."""
    columns = [name for name in row_schema["items"]["properties"] if name != "sample"]
    return [
        {"id": section["sample"], "unit": section["sample"]}
        | {name: section.get(name) for name in columns}
        | {"covariates": covariates_of(section)}
        for section in sections
    ]


def _units(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Gather samples into units, and give all samples of a unit its name and number of domains."""
    members: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        key = f"group {sample['group']}" if sample["group"] else f"sample {sample['id']}"
        members.setdefault(key, []).append(sample)
    units = []
    for together in members.values():
        unit = together[0]["group"] if len(together) > 1 else together[0]["id"]
        n_domains = next((s["n_domains"] for s in together if s["n_domains"] is not None), None)
        for sample in together:
            # A group of one is no group: its unit has the name of the sample.
            sample |= {"unit": unit, "n_domains": n_domains, "group": unit if len(together) > 1 else None}
        units.append({"id": unit, "samples": [s["id"] for s in together], "n_domains": n_domains})
    return units


def _schema(folder: Path, name: str) -> dict[str, Any]:
    path = folder / name
    try:
        schema: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"--schema-dir {folder}: {name} cannot be read ({error}); give the project's folder"
        ) from error
    return schema
