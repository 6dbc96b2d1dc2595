"""Readers of assembled samples. Of the expression matrix, they read only the genes that the page shows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pandas as pd
from anndata.io import read_elem, sparse_dataset

from mmsrl import _keys
from mmsrl._hdf5 import open_stage_file
from mmsrl._sections import finest_image, has_square_bins, spot_diameter, um_per_px
from mmsrl._tables import rows_of
from mmsrl.page.sample import METRICS, OF_COUNTS, Mate, Sample
from mmsrl.page.tissue import Gene, Section

ROWS = 20_000
"""Number of spots whose expression is read at a time."""


def read_mate(path: Path) -> Mate | None:
    """Read the part of ``<sample>.mmsrl.h5ad`` that the pages of other samples need.

    Returns
    -------
    Part of the sample, or ``None`` for the file of a group, which has one file per sample as well.

    Raises
    ------
    InputError
        If the file is not the output of ``mmsrl-assemble``.
    """
    with open_stage_file(path, "assemble") as file:
        facts = read_elem(file["uns"][_keys.UNS])
        if "samples" in facts:
            return None
        obs = file["obs"]
        domains = read_elem(obs[_keys.DOMAIN])
        has_pseudotime = _keys.PSEUDOTIME_RANK in obs
        rank = (
            np.asarray(read_elem(obs[_keys.PSEUDOTIME_RANK]), np.float64)
            if has_pseudotime
            else np.full(len(domains), np.nan)
        )
        return Mate(
            name=str(facts[_keys.SAMPLE]),
            unit=str(facts[_keys.UNIT]),
            domains=domains.astype(str).tolist(),
            colors=_colors(file, domains),
            rank=rank,
            umap=_umap(file),
        )


def read_sample(path: Path, genes: Iterable[str] = (), enhanced: Path | None = None) -> Sample:
    """Read ``<sample>.mmsrl.h5ad``.

    Parameters
    ----------
    path
        File of the sample.
    genes
        Genes to show. Genes that the sample lacks are ignored.
    enhanced
        ``<unit>.enhanced.h5ad``.

    Raises
    ------
    InputError
        If a file is not the output of ``mmsrl-assemble``, or of ``mmsrl-enhance``.
    """
    with open_stage_file(path, "assemble") as file:
        facts = read_elem(file["uns"][_keys.UNS])
        obs = read_elem(file["obs"])
        spatial = np.asarray(read_elem(file["obsm"][_keys.SPATIAL]), dtype=np.float64)
        colors, umap = _colors(file, obs[_keys.DOMAIN].array), _umap(file)
        var = read_elem(file["var"])
        library = read_elem(file["uns"][_keys.UNS_SPATIAL]) if _keys.UNS_SPATIAL in file["uns"] else {}
        names = [gene for gene in genes if gene in var.index]
        raw = _columns(file["X"], var.index.get_indexer(pd.Index(names)))
    name, barcodes = str(facts[_keys.SAMPLE]), obs.index.astype(str).tolist()
    denoised = {} if enhanced is None else _denoised(enhanced, name, barcodes, names)
    image, scale = _image(library.get(name, {}))
    counted = facts.get(_keys.EXPRESSION) != _keys.NORMALISED
    section = Section(
        barcodes=barcodes,
        x=spatial[:, 0],
        y=spatial[:, 1],
        diameter=spot_diameter(facts),
        square=has_square_bins(facts),
        domains=obs[_keys.DOMAIN].astype(str).tolist(),
        colors=colors,
        values=_values(obs, counted),
        image=image,
        scale=scale,
        genes={gene: Gene(raw[:, i], denoised.get(gene)) for i, gene in enumerate(names)},
        umap=umap,
        um_per_px=um_per_px(facts),
        expression_unit="ln(1 + scaled counts)" if counted else "normalised values as given",
    )
    return Sample(name, str(facts[_keys.UNIT]), facts, len(var), section, _design(obs))


def _colors(file: h5py.File, domains: pd.Categorical) -> dict[str, str]:
    """Return the colour of each domain."""
    colors = [str(color) for color in read_elem(file["uns"][_keys.DOMAIN_COLORS])]
    return dict(zip(domains.categories.astype(str), colors, strict=True))


def _umap(file: h5py.File) -> npt.NDArray[np.float64] | None:
    return np.asarray(read_elem(file["obsm"][_keys.UMAP]), np.float64) if _keys.UMAP in file["obsm"] else None


def _design(obs: pd.DataFrame) -> dict[str, str]:
    """Return condition, donor and covariates by their title; a section has one value of each."""
    columns = [name for name in obs if name in (_keys.CONDITION, _keys.DONOR) or str(name).startswith(_keys.COVARIATE)]
    titles = {name: str(name).removeprefix(_keys.COVARIATE).capitalize() for name in columns}
    return {titles[name]: str(obs[name].iloc[0]) for name in columns if obs[name].notna().iloc[0]}


def _denoised(
    path: Path, sample: str, barcodes: Sequence[str], names: Iterable[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """Read de-noised expression of some genes, (n,) each. Genes that the file lacks are ignored."""
    with open_stage_file(path, "enhance") as file:
        rows = rows_of(sample, barcodes, read_elem(file["obs"]), path.name)
        genes = read_elem(file["var"]).index
        return {gene: file["X"][:, genes.get_loc(gene)].astype(np.float64)[rows] for gene in names if gene in genes}


def _columns(matrix: h5py.Group, columns: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Read some columns of a sparse matrix in blocks of rows, as an array of shape (n, len(columns))."""
    stored = sparse_dataset(matrix)
    values = np.zeros((stored.shape[0], len(columns)))
    for start in range(0, len(values), ROWS) if len(columns) else ():
        values[start : start + ROWS] = stored[start : start + ROWS][:, columns].toarray()
    return values


def _values(obs: pd.DataFrame, counted: bool) -> dict[str, npt.NDArray[np.float64]]:
    # Totals and percentages of normalised values are not counts.
    shown = [key for key in METRICS if key in obs and (counted or key not in OF_COUNTS)]
    columns = {METRICS[key]: obs[key].to_numpy(np.float64) for key in shown}
    # A constant metric shows nothing, such as a mitochondrial percentage without mitochondrial genes.
    return {title: values for title, values in columns.items() if len(np.unique(values[np.isfinite(values)])) > 1}


def _image(library: dict[str, Any]) -> tuple[npt.NDArray[np.uint8] | None, float]:
    """Return the tissue image of the highest resolution and its scale, or ``None`` without an image."""
    finest = finest_image(library)
    if finest is None:
        return None, math.nan
    pixels, scale = finest
    if pixels.dtype != np.uint8:  # scanpy reads PNG files as floats from 0 to 1
        pixels = np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., :3]), scale
