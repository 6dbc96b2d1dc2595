"""Reads what the report needs of an assembled sample; of the expression, the genes that are shown and no others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata.io import read_elem, sparse_dataset

from mmsrl import _keys
from mmsrl._hdf5 import open_stage_file
from mmsrl._sections import finest_image, spot_diameter, um_per_px
from mmsrl._tables import rows_of
from mmsrl.report.sample import METRICS, OF_COUNTS, Sample
from mmsrl.report.tissue import Gene, Section

ROWS = 20_000
"""Spots of which expression is read at a time."""


def read_sample(
    path: Path, genes_of: Callable[[str], Iterable[str]] = lambda unit: (), enhanced: Mapping[str, Path] | None = None
) -> Sample | None:
    """Read ``<sample>.mmsrl.h5ad``.

    Parameters
    ----------
    path
        The file.
    genes_of
        Genes to show of a sample of this unit; those that the sample lacks are left out.
    enhanced
        ``<unit>.enhanced.h5ad`` by unit.

    Returns
    -------
    The sample, or ``None`` for the file of a group, whose samples have files of their own.

    Raises
    ------
    InputError
        If a file is not the output of ``mmsrl-assemble``, or of ``mmsrl-enhance``.
    """
    with open_stage_file(path, "assemble") as file:
        facts = read_elem(file["uns"][_keys.UNS])
        if "samples" in facts:
            return None
        obs = read_elem(file["obs"])
        spatial = np.asarray(read_elem(file["obsm"][_keys.SPATIAL]), dtype=np.float64)
        colors = [str(color) for color in read_elem(file["uns"][_keys.DOMAIN_COLORS])]
        var = read_elem(file["var"])
        library = read_elem(file["uns"][_keys.UNS_SPATIAL]) if _keys.UNS_SPATIAL in file["uns"] else {}
        name, unit = str(facts[_keys.SAMPLE]), str(facts[_keys.UNIT])
        domains = obs[_keys.DOMAIN]
        umap = np.asarray(read_elem(file["obsm"][_keys.UMAP]), np.float64) if _keys.UMAP in file["obsm"] else None
        names = [gene for gene in genes_of(unit) if gene in var.index]
        raw = _columns(file["X"], var.index.get_indexer(pd.Index(names)))
    given = (enhanced or {}).get(unit)
    denoised = {} if given is None else _denoised(given, name, obs.index.astype(str).tolist(), names)
    genes = {gene: Gene(raw[:, i], denoised.get(gene)) for i, gene in enumerate(names)}
    image, scale = _image(library.get(name, {}))
    section = Section(
        barcodes=obs.index.astype(str).tolist(),
        x=spatial[:, 0],
        y=spatial[:, 1],
        diameter=spot_diameter(facts),
        square=facts.get(_keys.PLATFORM) == "visium_hd",
        domains=domains.astype(str).tolist(),
        colors=dict(zip(domains.cat.categories.astype(str), colors, strict=True)),
        values=_values(obs, facts.get(_keys.EXPRESSION) != _keys.NORMALISED),
        image=image,
        scale=scale,
        genes=genes,
        umap=umap,
        um_per_px=um_per_px(facts),
    )
    return Sample(name, unit, facts, len(var), section)


def _denoised(
    path: Path, sample: str, barcodes: Sequence[str], names: Iterable[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Read de-noised expression of a few genes, (n,) each; those that the file lacks are left out."""
    with open_stage_file(path, "enhance") as file:
        rows = rows_of(sample, barcodes, read_elem(file["obs"]), path.name)
        genes = read_elem(file["var"]).index
        return {gene: file["X"][:, genes.get_loc(gene)].astype(np.float64)[rows] for gene in names if gene in genes}


def _columns(matrix: h5py.Group, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Read a few columns of a sparse matrix, (n, len(columns)), a part of the rows at a time."""
    stored = sparse_dataset(matrix)
    values = np.zeros((stored.shape[0], len(columns)))
    for start in range(0, len(values), ROWS) if len(columns) else ():
        values[start : start + ROWS] = stored[start : start + ROWS][:, columns].toarray()
    return values


def _values(obs: pd.DataFrame, counted: bool) -> dict[str, npt.NDArray[np.float64]]:
    # Totals and percentages of values that were normalised before are no counts.
    told = [key for key in METRICS if key in obs and (counted or key not in OF_COUNTS)]
    columns = {METRICS[key]: obs[key].to_numpy(np.float64) for key in told}
    # A metric that is the same everywhere, such as a percentage of genes that the data do not have, shows nothing.
    return {title: values for title, values in columns.items() if len(np.unique(values[np.isfinite(values)])) > 1}


def _image(library: dict[str, Any]) -> tuple[npt.NDArray[np.uint8] | None, float]:
    """Return the finest tissue image there is and its scale, or ``None``."""
    found = finest_image(library)
    if found is None:
        return None, math.nan
    pixels, scale = found
    if pixels.dtype != np.uint8:  # scanpy's own reader keeps PNGs as floats in [0, 1]
        pixels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., :3]), scale
