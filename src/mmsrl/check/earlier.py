"""Results of an earlier run that sections go on from: whether they are whole, and made as this run asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmsrl._errors import InputError
from mmsrl._files import read_summary
from mmsrl._hdf5 import open_stage_file
from mmsrl._stages import STAGES
from mmsrl.check.problems import listed
from mmsrl.parameters import PARAMETERS
from mmsrl.train.presets import with_defaults

OF_SECTION = {"ingest": ("ingest.json",), "qc": ("qc.h5ad", "qc.json"), "features": ("features.h5ad", "features.json")}
"""Endings of the files that are taken of each section, by their folder."""

OPTIONAL = {"ingest": ("outlines.parquet",), "features": ("tiles.tif",)}
"""Endings of files that not all sections have."""

OF_UNIT = {"train": ("embedding.h5ad", "training.tsv", "model.npz", "train.json")}
"""Endings of the files that are taken of each unit."""

UNREAD = {
    "qc": ("spaceranger_dir", "data_dir", "h5ad", "spatialdata"),
    "train": ("spaceranger_dir", "data_dir", "h5ad", "spatialdata", "image", "alignment"),
}
"""Columns of the samplesheet that are not read then."""

ANYWHERE = {"seed", "device", "image_cache", "backbone_options"}
"""Parameters of these stages that others read too, that change no result, or that summaries hold in another form."""

READ_LATER = {"preset", "batch_correction", "n_top_genes"}
"""Parameters of training that later stages read: they have to be those of the earlier run."""

_MOST_NAMED = 12


def skipped_stages(after: str) -> list[str]:
    """Return the stages that do not run: ``after`` and all before it."""
    stages = list(STAGES)
    return stages[: stages.index(after) + 1]


def earlier_files(after: str, units: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """List the files that are taken from an earlier run.

    Parameters
    ----------
    after
        ``qc`` or ``train``: the last stage whose files are taken.
    units
        ``id`` and ``samples`` of the units of the samplesheet.

    Returns
    -------
    list of dict
        For each file its ``path`` in the results, the ``ending`` of its name, the ``id`` of its section or unit, the
        sorted ``samples`` of its unit (``None`` for a file of a section), and whether it is ``required``.
    """
    sections = [{"id": sample, "samples": None} for unit in units for sample in unit["samples"]]
    together = [{"id": unit["id"], "samples": sorted(unit["samples"])} for unit in units]
    kinds = ((sections, OF_SECTION, True), (sections, OPTIONAL, False), (together, OF_UNIT, True))
    return [
        {"path": f"{stage}/{owner['id']}.{ending}", "ending": ending, "required": required, **owner}
        for owners, endings, required in kinds
        for owner in owners
        for stage in skipped_stages(after)
        for ending in endings.get(stage, ())
    ]


def check_earlier(folder: Path, after: str, units: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> list[str]:
    """Return a line for each way in which an earlier run does not fit.

    Parameters
    ----------
    folder
        ``--outdir`` of that run.
    after
        ``qc`` or ``train``: the last stage whose files are taken.
    units
        ``id`` and ``samples`` of the units of the samplesheet.
    params
        Typed, of this run.
    """
    said = f"--start_from {folder}"
    if not folder.is_dir():
        return [f"{said}: no such folder; give the results of an earlier run (its --outdir)"]
    there = {kind: _names(folder, *kind) for kind in (("qc", "qc.h5ad"), ("train", "train.json"))}
    if not there["qc", "qc.h5ad"]:
        return [
            f"{said}: it has no qc/<sample>.qc.h5ad; give the results of a run of mmsrl (its --outdir), which did not "
            "start from another one itself"
        ]
    samples = [sample for unit in units for sample in unit["samples"]]
    problems = _lacking("sample", samples, there["qc", "qc.h5ad"], said)
    if after == "train":
        problems += _lacking("unit", [unit["id"] for unit in units], there["train", "train.json"], said)
    problems = problems or _missing(folder, after, units, said)
    if problems:
        return problems
    try:
        for sample in samples:
            with open_stage_file(folder / f"qc/{sample}.qc.h5ad", "qc"):
                pass
        problems = (
            [] if after == "qc" else _other_sections(folder, units, said) + _several_trainings(folder, units, said)
        )
        return problems or _other_parameters(folder, after, units, params, said)
    except InputError as error:
        return [f"{said}: {error}"]


def _names(folder: Path, stage: str, ending: str) -> list[str]:
    return sorted(path.name.removesuffix(f".{ending}") for path in folder.glob(f"{stage}/*.{ending}"))


def _lacking(what: str, asked: Sequence[str], there: Sequence[str], said: str) -> list[str]:
    """Return a line that names what is asked for and not there, and what is."""
    lacking = [name for name in asked if name not in there]
    if not lacking:
        return []
    held = f"{listed(there[:_MOST_NAMED])}{' and more' if len(there) > _MOST_NAMED else ''}" if there else "none"
    more = "s" if len(lacking) > 1 else ""
    return [f"{said}: it has no {what}{more} {listed(lacking[:_MOST_NAMED])}; it has {held}"]


def _missing(folder: Path, after: str, units: Sequence[Mapping[str, Any]], said: str) -> list[str]:
    """Return a line that names the files of the results that are not there."""
    required = [file["path"] for file in earlier_files(after, units) if file["required"]]
    lacking = [path for path in required if not (folder / path).is_file()]
    if not lacking:
        return []
    more = f" and {len(lacking) - _MOST_NAMED} more" if len(lacking) > _MOST_NAMED else ""
    return [f"{said}: {listed(lacking[:_MOST_NAMED])}{more} is missing; copy the results whole, or run them again"]


def _other_sections(folder: Path, units: Sequence[Mapping[str, Any]], said: str) -> list[str]:
    """Return a line for each unit that was trained on other sections than those of the samplesheet."""
    problems = []
    for unit in units:
        trained = sorted(read_summary(folder / f"train/{unit['id']}.train.json")["result"]["samples"])
        if trained != sorted(unit["samples"]):
            problems.append(
                f"{said}: unit {unit['id']} was trained on {listed(trained)}, and the samplesheet has "
                f"{listed(sorted(unit['samples']))}; give the same sections, or --start_after qc"
            )
    return problems


def _several_trainings(folder: Path, units: Sequence[Mapping[str, Any]], said: str) -> list[str]:
    """Return a line for each unit that a published preset trained several times: the first training alone is kept."""
    problems = []
    for unit in units:
        read_out = folder / f"domains/{unit['id']}.domains.json"
        preset = read_summary(folder / f"train/{unit['id']}.train.json")["parameters"].get("preset")
        if preset == "default" or not read_out.is_file():
            continue
        times = read_summary(read_out)["result"]["members"]
        if times > 1:
            problems.append(
                f"{said}: unit {unit['id']} was trained {times} times (--n_seeds), of which the first alone is kept; "
                "give --start_after qc"
            )
    return problems


def _other_parameters(
    folder: Path, after: str, units: Sequence[Mapping[str, Any]], params: Mapping[str, Any], said: str
) -> list[str]:
    """Return a line for each parameter of a stage that does not run and had another value in the earlier run."""
    names = {
        stage: [unit["id"] if stage == "train" else unit["samples"][0] for unit in units]
        for stage in skipped_stages(after)
    }
    made_by = {
        stage: {id_: read_summary(folder / f"{stage}/{id_}.{stage}.json")["parameters"] for id_ in ids}
        for stage, ids in names.items()
    }
    preset = params["preset"]
    problems = []
    for parameter in PARAMETERS:
        name, asked = parameter.name, params[parameter.name]
        if parameter.stage not in made_by or name in ANYWHERE:
            continue
        if asked == parameter.default and name not in READ_LATER:
            continue
        for id_, made in made_by[parameter.stage].items():
            if name in made and with_defaults(preset, {name: made[name]}) != with_defaults(preset, {name: asked}):
                problems.append(
                    f"--{name} {_shown(asked)}: {id_} was made with {_shown(made[name])}, and {parameter.stage} is not "
                    f"run again with {said}; give {_shown(made[name])}, or begin earlier"
                )
                break
    return problems


def _shown(value: Any) -> str:
    return "nothing" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
