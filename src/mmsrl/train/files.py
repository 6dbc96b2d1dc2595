"""The train stage's files: what it reads, and its embedding and losses."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import anndata as ad
import numpy as np
import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._files import atomic_path, plain, write_text
from mmsrl._hdf5 import read_stage_file
from mmsrl._sections import sample_of
from mmsrl.features.nodes import spot_descriptors
from mmsrl.train.api import Training, as_anndata

if TYPE_CHECKING:
    from mmsrl.train.fit import Row

_DESCRIPTION = "model"
"""Array of a model's file that holds all but its arrays: JSON, as bytes."""


def read_sections(
    counts: Sequence[Path], features: Sequence[Path], *, backed: Literal["r"] | None = None
) -> list[ad.AnnData]:
    """Read the sections of a unit, sorted by sample, image features in ``obsm``; backed, counts stay on disk.

    Raises
    ------
    InputError
        If a file is damaged or not one of mmsrl, features belong to no section, or lack a spot.
    """
    sections = {}
    for path in counts:
        adata = read_stage_file(path, "qc", backed=backed)
        sample = sample_of(adata)
        if sample in sections:
            raise InputError(f"{path.name}: sample {sample} is given twice")
        sections[sample] = adata
    for path in features:
        described = read_stage_file(path, "features", backed="r")
        sample = sample_of(described)
        if sample not in sections:
            raise InputError(f"{path.name}: sample {sample} is not among the counts ({', '.join(sections)})")
        rows = described.obs_names.get_indexer(sections[sample].obs_names)
        if (rows < 0).any():
            missing = sections[sample].obs_names[int(rows.argmin())]
            raise InputError(f"{path.name}: spot {missing} of sample {sample} has no image features; make them again")
        sections[sample].obsm[_keys.IMAGE] = np.asarray(described.obsm[_keys.IMAGE])[rows]
        if len(counts) > 1:  # components are taken jointly; of one section, the wide descriptor stays on disk
            sections[sample].obsm[_keys.IMAGE_DESCRIPTOR] = spot_descriptors(described, rows)
        described.file.close()
    # The order of arrival must not matter for the result.
    return [sections[sample] for sample in sorted(sections)]


def write_model(path: Path, model: Mapping[str, Any]) -> None:
    """Write what training left of its model, as :attr:`mmsrl.train.api.Training.model` has it: NumPy's .npz.

    Arrays are named by their place in the model, with slashes between; all else is JSON. Nothing that could run is
    written, and no more than NumPy is needed to read it.
    """
    arrays: dict[str, np.ndarray] = {}

    def described(value: Any, place: str) -> Any:
        if isinstance(value, Mapping):
            return {key: described(part, f"{place}/{key}" if place else str(key)) for key, part in value.items()}
        if isinstance(value, np.ndarray):
            arrays[place] = value
            return None
        return plain(value)

    text = json.dumps(described(model, ""))
    arrays[_DESCRIPTION] = np.frombuffer(text.encode(), dtype=np.uint8)
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(handle, **arrays)  # type: ignore[arg-type]


def read_model(path: Path) -> dict[str, Any]:
    """Read what :func:`write_model` wrote.

    Raises
    ------
    InputError
        The file is damaged or not of mmsrl.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        model: dict[str, Any] = json.loads(arrays.pop(_DESCRIPTION).tobytes())
        for place, array in arrays.items():
            *parents, name = place.split("/")
            part = model
            for parent in parents:
                part = part[parent]
            part[name] = array
    except MemoryError:
        raise
    # What NumPy, zlib and zipfile raise for a damaged file depends on where the damage is.
    except Exception as error:
        raise InputError(f"{path.name}: no model of mmsrl-train, or truncated; copy it anew") from error
    keys = {"preset", "settings", "genes"}
    if not isinstance(model, dict) or not keys <= model.keys():
        raise InputError(f"{path.name}: not the model of mmsrl-train, which has {', '.join(sorted(keys))}")
    return model


def write_embedding(path: Path, result: Training) -> None:
    """Write :func:`mmsrl.train.api.as_anndata` of a training."""
    with atomic_path(path) as temporary:
        as_anndata(result).write_h5ad(temporary, compression="gzip")


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one line an epoch: epoch, seconds and every loss term; the header alone where nothing was trained."""
    columns = None if history else ["epoch", "seconds", "total"]
    write_text(path, pd.DataFrame(history, columns=columns).to_csv(sep="\t", index=False, float_format="%.7g"))
