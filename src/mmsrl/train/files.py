"""Read the input of the train stage, and write its embedding, model and losses."""

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
"""Array of a model file with all values that are not arrays, as JSON in bytes."""


def read_sections(
    counts: Sequence[Path], features: Sequence[Path], *, backed: Literal["r"] | None = None
) -> list[ad.AnnData]:
    """Read the sections of a unit, sorted by sample, with image features in ``obsm``.

    Parameters
    ----------
    counts
        ``<sample>.qc.h5ad`` of each section.
    features
        ``<sample>.features.h5ad`` of sections with image features.
    backed
        Leave the counts on disk.

    Raises
    ------
    InputError
        If a file is damaged or not written by mmsrl, or if features belong to no section or lack a spot.
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
            raise InputError(
                f"{path.name}: spot {missing} of sample {sample} has no image features; compute them again"
            )
        sections[sample].obsm[_keys.IMAGE] = np.asarray(described.obsm[_keys.IMAGE])[rows]
        if len(counts) > 1:  # joint components need the descriptors; for one section these large arrays stay on disk
            sections[sample].obsm[_keys.IMAGE_DESCRIPTOR] = spot_descriptors(described, rows)
        described.file.close()
    # The order of the files must not change the result.
    return [sections[sample] for sample in sorted(sections)]


def write_model(path: Path, model: Mapping[str, Any]) -> None:
    """Write :attr:`mmsrl.train.api.Training.model` in NumPy's ``.npz`` format.

    The name of an array is its path in the model, joined by slashes. All other values are JSON. The file contains no
    executable code, and NumPy alone can read it.
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
    """Read a model that :func:`write_model` wrote.

    Raises
    ------
    InputError
        If the file is damaged or not a model of mmsrl.
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
    # The error of NumPy, zlib or zipfile depends on the position of the damage.
    except Exception as error:
        raise InputError(f"{path.name}: no model of mmsrl-train, or truncated; copy it again") from error
    keys = {"preset", "settings", "genes"}
    if not isinstance(model, dict) or not keys <= model.keys():
        raise InputError(f"{path.name}: no model of mmsrl-train: it must have {', '.join(sorted(keys))}")
    return model


def write_embedding(path: Path, result: Training) -> None:
    """Write the result of training as AnnData (:func:`mmsrl.train.api.as_anndata`)."""
    with atomic_path(path) as temporary:
        as_anndata(result).write_h5ad(temporary, compression="gzip")


def write_history(path: Path, history: Sequence[Row]) -> None:
    """Write one line per epoch: epoch, seconds and all loss terms. Without epochs, write only the header."""
    columns = None if history else ["epoch", "seconds", "total"]
    write_text(path, pd.DataFrame(history, columns=columns).to_csv(sep="\t", index=False, float_format="%.7g"))
