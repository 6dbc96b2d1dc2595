"""Plan of a run: the validated input of ``main.nf``."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from mmsrl._errors import InputError
from mmsrl._gmt import read_gmt
from mmsrl.check.design import control_problems, covariates_of, default_control, design_problems
from mmsrl.check.earlier import UNREAD, check_earlier, earlier_files
from mmsrl.check.files import PATH_COLUMNS, absolute, check_files, is_remote
from mmsrl.check.fingerprint import fingerprints, installed
from mmsrl.check.params import backbone_problems, check_params, option_problems, preset_problems, seed_problems
from mmsrl.check.problems import report
from mmsrl.check.rows import Section, check_rows
from mmsrl.check.table import read_table
from mmsrl.map.reference import FILES, check_reference

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
        Whether to check the files named in the samplesheet and make their paths absolute. ``False`` keeps paths as
        written, for a machine without access to the files.

    Returns
    -------
    dict
        ``samples``: rows with ``id``, ``unit`` and ``covariates``, and ``None`` for values not given or not read.
        ``units``: groups of samples that are trained together.
        ``control``: reference condition of the comparison, ``None`` without conditions.
        ``start_from``, ``start_after``: earlier results to continue from, and the last stage to reuse; ``None`` for a
        run from scratch.
        ``earlier``: files of the earlier run to take (:func:`mmsrl.check.earlier.earlier_files`).
        ``reference``: ``folder``, ``unit`` and ``files`` (:data:`mmsrl.map.reference.FILES`), or ``None``.
        ``params``: typed parameters.
        ``code``: fingerprint of each stage.

    Raises
    ------
    InputError
        Any check fails. The message lists all problems, one line each.
    """
    schema = _schema(schema_dir, "nextflow_schema.json")
    params, wrong_params = check_params(given, schema)
    wrong_params = wrong_params or [
        *preset_problems(params),
        *backbone_problems(params),
        *seed_problems(params, schema),
        *option_problems(params),
    ]
    start = params["start_from"] and str(params["start_from"])
    after = (params["start_after"] or "train") if start else None
    unread = UNREAD.get(after or "", ())
    messages = []
    if wrong_params:
        headline = f"{len(wrong_params)} wrong parameter{'s' if len(wrong_params) > 1 else ''}"
        messages.append("\n  ".join([headline, *wrong_params]))
    control = None if any(line.startswith("--control ") for line in wrong_params) else params["control"]
    row_schema = _schema(schema_dir, "assets/schema_input.json")
    sections, sheet_messages = _check_sheet(sheet, row_schema, control, unread, look_at_files)
    messages += sheet_messages
    if look_at_files:
        messages += _check_parameter_files(params)
    if look_at_files and start and after and not messages and not is_remote(start):
        messages += check_earlier(Path(start), after, _units(_samples(sections, row_schema)), params)
    if messages:
        raise InputError("\n".join(messages))

    samples = _samples(sections, row_schema)
    units = _units(samples)
    for sample in samples:
        sample |= dict.fromkeys(unread)
        for column in PATH_COLUMNS:
            if look_at_files and sample[column] is not None:
                sample[column] = absolute(sample[column], sheet.parent)
    return {
        "samples": samples,
        "units": units,
        "control": params["control"] or default_control(sections),
        "start_from": start,
        "start_after": after,
        "earlier": earlier_files(after, units) if after else [],
        "reference": params["reference"]
        and {"folder": params["reference"], "unit": params["reference_unit"], "files": FILES},
        "params": params,
        "code": fingerprints(PACKAGE_FOLDER, packages=installed()),
    }


def _check_sheet(
    sheet: Path, row_schema: Mapping[str, Any], control: str | None, unread: Collection[str], look_at_files: bool
) -> tuple[list[Section], list[str]]:
    """Return the rows of the samplesheet, and the messages on its problems."""
    messages: list[str] = []
    try:
        table = read_table(sheet)
        sections, problems = check_rows(table, row_schema)
    except InputError as error:
        return [], [str(error)]
    # The design is checked only if every row is valid.
    if not problems:
        problems = design_problems(sections, table.unit, control)
        messages += control_problems(sections, control, sheet.name)
    if look_at_files:
        wrong = {s["row"]: {p.column for p in problems if p.row == s["row"] and p.column} for s in sections}
        problems += [p for s in sections for p in check_files(s, sheet.parent, wrong[s["row"]], unread)]
    if problems:
        messages.append(report(problems, sheet.name, table.unit))
    return sections, messages


def _check_parameter_files(params: Mapping[str, Any]) -> list[str]:
    """Check files named by parameters, which only the last stages read: an error there would waste the whole run."""
    gene_sets, reference = params["gene_sets"], params["reference"]
    messages = []
    try:
        if isinstance(gene_sets, str) and Path(gene_sets).is_file():
            read_gmt(Path(gene_sets))
    except InputError as error:
        messages.append(str(error))
    try:
        if isinstance(reference, str) and "://" not in reference:
            check_reference(Path(reference), params["reference_unit"])
    except InputError as error:
        messages.append(str(error))
    return messages


def _samples(sections: list[Section], row_schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the samples of the plan, with ``None`` for values not given."""
    columns = [name for name in row_schema["items"]["properties"] if name != "sample"]
    return [
        {"id": section["sample"], "unit": section["sample"]}
        | {name: section.get(name) for name in columns}
        | {"covariates": covariates_of(section)}
        for section in sections
    ]


def _units(samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Group samples into units; all samples of a unit get its name and number of domains."""
    members: dict[str, list[dict[str, Any]]] = {}
    for sample in samples:
        key = f"group {sample['group']}" if sample["group"] else f"sample {sample['id']}"
        members.setdefault(key, []).append(sample)
    units = []
    for together in members.values():
        unit = together[0]["group"] if len(together) > 1 else together[0]["id"]
        n_domains = next((s["n_domains"] for s in together if s["n_domains"] is not None), None)
        for sample in together:
            # A group with one sample is not a group: its unit is named after the sample.
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
