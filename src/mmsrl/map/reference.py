"""A trained unit in the folder of its results: its files, whether they are whole, and what is read of them."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._files import read_summary

if TYPE_CHECKING:
    from anndata import AnnData

MODEL, DOMAINS, COUNTS = "model.npz", "domains.csv", "qc.h5ad"
"""What the names of the files end with; their folders are those of the stages."""


class ReferenceFiles(NamedTuple):
    """Files of a trained unit."""

    unit: str
    model: Path
    domains: Path
    counts: list[Path]
    """Of every section, sorted by sample."""


class Reference(NamedTuple):
    """A trained unit, read."""

    unit: str
    model: dict[str, Any]
    """As ``mmsrl-train`` wrote it."""
    sections: list[AnnData]
    """Its sections, sorted by sample, with raw counts and ``obs['domain']``."""


def find_reference(folder: Path, unit: str | None = None) -> ReferenceFiles:
    """Find the files of a trained unit in the folder of a run's results.

    Parameters
    ----------
    folder
        ``--outdir`` of that run.
    unit
        Which unit; needed only where there are several.

    Raises
    ------
    InputError
        If the folder or one of the files is missing, or it is not clear which unit is meant.
    """
    from mmsrl._tables import read_domains

    if not folder.is_dir():
        raise InputError(f"reference {folder}: no such folder; give the results of an earlier run (its --outdir)")
    units = sorted(path.name.removesuffix(f".{MODEL}") for path in folder.glob(f"train/*.{MODEL}"))
    if not units and list(folder.glob("train/*.model.pt")):
        raise InputError(f"reference {folder}: it is of an earlier version of mmsrl; run the reference again")
    if not units:
        raise InputError(f"reference {folder}: there is no train/<unit>.{MODEL}; give the results of an earlier run")
    if unit is None and len(units) > 1:
        listed = ", ".join(units)
        raise InputError(f"reference {folder}: it holds {len(units)} units ({listed}); name one: reference_unit")
    if unit is not None and unit not in units:
        raise InputError(f"reference {folder}: it holds no unit {unit}; reference_unit may be {', '.join(units)}")
    name = unit or units[0]
    domains = _file(folder, "domains", name, DOMAINS)
    samples = sorted(set(read_domains(domains)[_keys.SAMPLE]))
    counts = [_file(folder, "qc", sample, COUNTS) for sample in samples]
    return ReferenceFiles(name, folder / "train" / f"{name}.{MODEL}", domains, counts)


def _file(folder: Path, stage: str, of: str, ending: str) -> Path:
    path = folder / stage / f"{of}.{ending}"
    if not path.is_file():
        raise InputError(f"reference {folder}: {stage}/{path.name} is missing; copy the results whole")
    return path


def check_reference(folder: Path, unit: str | None = None) -> ReferenceFiles:
    """Find a reference and see, without reading it all, that sections can be mapped onto it.

    Raises
    ------
    InputError
        As :func:`find_reference` does, and if a file is damaged, the unit was not trained with ``default``, or on
        values that were normalised before.
    """
    from mmsrl._hdf5 import open_stage_file

    found = find_reference(folder, unit)
    summary = folder / "train" / f"{found.unit}.train.json"
    if summary.is_file():
        trained = read_summary(summary)
        _must_be_mappable(found.unit, trained["parameters"].get("preset"), trained["result"].get("expression"))
    try:
        with zipfile.ZipFile(found.model) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(f"{found.model.name}: no model of mmsrl-train, or truncated; copy it anew") from error
    if damaged:
        raise InputError(f"{found.model.name}: damaged; copy it anew")
    for path in found.counts:
        with open_stage_file(path, "qc"):
            pass
    return found


def read_reference(folder: Path | str, unit: str | None = None) -> Reference:
    """Read a trained unit from the folder of a run's results.

    Raises
    ------
    InputError
        If files are missing or damaged, the unit was not trained with ``default``, or on values that were normalised
        before.
    """
    from mmsrl._sections import read_unit
    from mmsrl.train.files import read_model

    found = find_reference(Path(folder), unit)
    model = read_model(found.model)
    sections = read_unit(found.counts, found.domains)
    expression = {section.uns[_keys.UNS].get(_keys.EXPRESSION, _keys.COUNTS) for section in sections}
    _must_be_mappable(found.unit, model["preset"], *expression)
    return Reference(found.unit, model, sections)


def _must_be_mappable(unit: str, preset: str | None, *expression: str | None) -> None:
    """Raise InputError where a unit's embedding cannot be made of other sections."""
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
