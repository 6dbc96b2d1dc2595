"""Reference: a trained unit in the folder of the results of a run."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._files import read_summary

if TYPE_CHECKING:
    from anndata import AnnData

FILES = {"model": ("train", "model.npz"), "domains": ("domains", "domains.csv"), "counts": ("qc", "qc.h5ad")}
"""Folder and ending of the name of each file. Names begin with the unit, or with the section for counts."""


class ReferenceFiles(NamedTuple):
    """Files of a trained unit."""

    unit: str
    model: Path
    domains: Path
    counts: list[Path]
    """One file for each section, sorted by sample."""


class Reference(NamedTuple):
    """Content of a trained unit."""

    unit: str
    model: dict[str, Any]
    """Model written by ``mmsrl-train``."""
    sections: list[AnnData]
    """Sections sorted by sample, with raw counts and ``obs['domain']``."""


def find_reference(folder: Path, unit: str | None = None) -> ReferenceFiles:
    """Find the files of a trained unit.

    Parameters
    ----------
    folder
        Results of the run (its ``--outdir``).
    unit
        Name of the unit. Required if there are several.

    Raises
    ------
    InputError
        The folder or a file is missing, or the unit is ambiguous or unknown.
    """
    from mmsrl._tables import read_domains

    if not folder.is_dir():
        raise InputError(f"reference {folder}: no such folder; give the results of an earlier run (its --outdir)")
    stage, ending = FILES["model"]
    units = sorted(path.name.removesuffix(f".{ending}") for path in folder.glob(f"{stage}/*.{ending}"))
    if not units and list(folder.glob("train/*.model.pt")):
        raise InputError(f"reference {folder}: it is of an earlier version of mmsrl; run the reference again")
    if not units:
        raise InputError(f"reference {folder}: there is no {stage}/<unit>.{ending}; give the results of an earlier run")
    if unit is None and len(units) > 1:
        listed = ", ".join(units)
        raise InputError(f"reference {folder}: it holds {len(units)} units ({listed}); name one: reference_unit")
    if unit is not None and unit not in units:
        raise InputError(f"reference {folder}: it holds no unit {unit}; reference_unit may be {', '.join(units)}")
    name = unit or units[0]
    domains = _file(folder, "domains", name)
    samples = sorted(set(read_domains(domains)[_keys.SAMPLE]))
    counts = [_file(folder, "counts", sample) for sample in samples]
    return ReferenceFiles(name, _file(folder, "model", name), domains, counts)


def _file(folder: Path, kind: str, of: str) -> Path:
    stage, ending = FILES[kind]
    path = folder / stage / f"{of}.{ending}"
    if not path.is_file():
        raise InputError(f"reference {folder}: {stage}/{path.name} is missing; copy the results whole")
    return path


def check_reference(folder: Path, unit: str | None = None) -> ReferenceFiles:
    """Find a reference, and check that sections can be mapped onto it, without reading all of it.

    Raises
    ------
    InputError
        As :func:`find_reference`; also if a file is damaged, or the unit was trained with another preset than
        ``default`` or on normalised values.
    """
    from mmsrl._hdf5 import open_stage_file

    files = find_reference(folder, unit)
    summary = folder / "train" / f"{files.unit}.train.json"
    if summary.is_file():
        trained = read_summary(summary)
        _must_be_mappable(files.unit, trained["parameters"].get("preset"), trained["result"].get("expression"))
    try:
        with zipfile.ZipFile(files.model) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{files.model.name}: no model of mmsrl-train, or truncated; copy it anew") from error
    if damaged:
        raise InputError(f"{files.model.name}: damaged; copy it anew")
    for path in files.counts:
        with open_stage_file(path, "qc"):
            pass
    return files


def read_reference(folder: Path | str, unit: str | None = None) -> Reference:
    """Read a trained unit.

    Raises
    ------
    InputError
        Files are missing or damaged, or the unit was trained with another preset than ``default`` or on normalised
        values.
    """
    from mmsrl._sections import read_unit
    from mmsrl.train.files import read_model

    files = find_reference(Path(folder), unit)
    model = read_model(files.model)
    sections = read_unit(files.counts, files.domains)
    expression = {section.uns[_keys.UNS].get(_keys.EXPRESSION, _keys.COUNTS) for section in sections}
    _must_be_mappable(files.unit, model["preset"], *expression)
    return Reference(files.unit, model, sections)


def _must_be_mappable(unit: str, preset: str | None, *expression: str | None) -> None:
    """Raise InputError if other sections cannot be projected onto the embedding of a unit."""
    if preset is not None and preset != "default":
        raise InputError(
            f"reference {unit}: it was trained with preset {preset}, whose embedding is of its own spots alone; train "
            "the reference with preset default"
        )
    if _keys.NORMALISED in expression:
        raise InputError(
            f"reference {unit}: its expression was normalised before, so that nobody knows its depth; a reference "
            "needs raw counts"
        )
