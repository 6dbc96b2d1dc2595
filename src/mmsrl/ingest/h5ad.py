"""Reader of `.h5ad` files of any platform, limited to the parts that the internal form needs."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from anndata.io import read_elem
from numpy.typing import NDArray
from scipy import sparse

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._hdf5 import open_hdf5
from mmsrl.ingest.choice import Candidate, choose_matrix
from mmsrl.ingest.cleaning import MAX_DOUBLED, must_have_genes
from mmsrl.ingest.columns import plain
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.coordinates import Places, places_of
from mmsrl.ingest.genes import features_of, text_of
from mmsrl.ingest.images import pictures_of
from mmsrl.ingest.matrix import Counts, check_names, check_size, checked
from mmsrl.ingest.positions import array_obs, check_array, check_coordinates, check_one_section
from mmsrl.ingest.units import scale_of_columns, stacked_fields

ROWS_AT_ONCE = 4096
"""Number of rows of a dense matrix read at a time."""

COUNT_LAYERS = ("counts", "count", "rawcounts", "rawcount", "raw", "umicounts", "umis", "umi")
"""Names of layers with counts, spelt as :func:`mmsrl.ingest.columns.plain` returns them."""

MAX_STACKED = 0.01
"""Maximum share of spots with the coordinates of another in a single section. Single-cell platforms with rounded
centroids stay below."""


class Look(NamedTuple):
    """Annotations and coordinates of the spots in an `.h5ad` file."""

    obs: pd.DataFrame
    """(n_spots, …), with a text index."""
    places: Places

    @property
    def barcodes(self) -> NDArray[np.object_]:
        """Names of the spots, (n_spots,)."""
        return self.obs.index.to_numpy(dtype=object)


def look(path: Path) -> Look:
    """Check that a file is AnnData with spots, coordinates and genes, without reading expression.

    Raises
    ------
    InputError
        See :func:`read_h5ad`.
    """
    with _opened(path) as file:
        return _look(file, path.name)


def read_h5ad(path: Path, sample: str, expression: str | None = None) -> Content:
    """Read expression, names, coordinates and images of an `.h5ad` file.

    Parameters
    ----------
    path
        The file.
    sample
        Name of the section, which selects its images.
    expression
        See :func:`mmsrl.ingest.choice.choose_matrix`.

    Raises
    ------
    InputError
        The file is damaged or not AnnData, or has no coordinates or no expression of the requested kind.
    """
    with _opened(path) as file:
        found = _look(file, path.name)
        chosen = choose_matrix(_candidates(file), path.name, expression)
        library, notes = _library(file, sample)
    features, columns = features_of(chosen.var)
    pictures, no_pictures = pictures_of(_entry(library, "images"))
    return content_of_table(
        counts=checked(Counts(chosen.matrix, found.barcodes, features), path.name, chosen.expression),
        obs=found.obs,
        spatial=found.places.spatial,
        pictures=pictures,
        scalefactors=scalefactors_of(library),
        source=path.name,
        notes=[
            *chosen.notes,
            *map(info, [*found.places.notes, *columns]),
            *map(warning, [*notes, *no_pictures]),
        ],
        um_per_px=found.places.um_per_unit,
        expression=chosen.expression,
    )


def _opened(path: Path) -> AbstractContextManager[h5py.File]:
    return open_hdf5(path, "AnnData", "write it anew with anndata >= 0.8")


def _look(file: h5py.File, name: str) -> Look:
    _must_be_anndata(file, name)
    obs: pd.DataFrame = read_elem(file["obs"])
    obs = obs.set_axis(pd.Index(text_of(obs.index), dtype=object), axis=0)
    barcodes = obs.index.to_numpy(dtype=object)
    _must_have_genes(file, len(obs), name)
    check_names(barcodes, name)
    elements = dict(file["obsm"].items()) if "obsm" in file else {}
    try:
        places = places_of(elements, obs, read_elem)
    except InputError as error:
        transposed = "varm" in file and _keys.SPATIAL in file["varm"]
        hint = "; varm has it: rows are genes here, write adata.T" if transposed else ""
        raise InputError(f"{name}: {error}{hint}") from error
    check_one_section(barcodes, name)
    # Duplicate cells, which only the counts reveal, are removed later.
    max_stacked = MAX_DOUBLED + MAX_STACKED
    check_coordinates(places.spatial, barcodes, name, max_stacked)
    array, _ = array_obs(obs, places.spatial, name)
    if _keys.ARRAY_ROW in array:
        check_array(array[_keys.ARRAY_ROW].to_numpy(), array[_keys.ARRAY_COL].to_numpy(), barcodes, name, max_stacked)
    return Look(obs, places)


def _must_be_anndata(file: h5py.File, name: str) -> None:
    """Raise InputError if a file is not AnnData, or in a format of anndata before 0.7."""
    missing = [part for part in ("obs", "var") if part not in file]
    if missing:
        raise InputError(f"{name}: HDF5, but no AnnData (it has no {' and '.join(missing)})")
    if isinstance(file["mod"] if "mod" in file else None, h5py.Group):
        there = ", ".join(file["mod"])
        raise InputError(
            f"{name}: MuData, of the modalities {there}; write the one with genes: mdata.mod[…].write_h5ad"
        )
    if isinstance(file["obs"], h5py.Dataset):
        raise InputError(
            f"{name}: written by anndata before 0.7; write it anew: anndata.read_h5ad({name!r}).write_h5ad(…), and "
            "check that it has the counts"
        )


def _must_have_genes(file: h5py.File, n_spots: int, name: str) -> None:
    """Raise InputError if there is no matrix, or none of its features is a gene."""
    candidates = _candidates(file)
    if not candidates:
        choose_matrix([], name, None)
    largest = max(candidates, key=lambda candidate: candidate.n_genes)
    check_size(n_spots, largest.n_genes, name)
    must_have_genes(features_of(largest.var())[0], name)


def content_of_table(
    *,
    counts: Counts,
    obs: pd.DataFrame,
    spatial: NDArray[np.float64],
    pictures: dict[str, NDArray[np.uint8]],
    scalefactors: dict[str, float],
    source: str,
    notes: list[dict[str, str]],
    um_per_px: float | None = None,
    um_per_px_from: str = "the names of their columns",
    expression: str = _keys.COUNTS,
) -> Content:
    """Build the content of a section from AnnData.

    Parameters
    ----------
    counts
        Expression with its names, (n_spots, n_features).
    obs
        (n_spots, …) annotations. In-tissue flag, array positions and the unit of coordinates are taken from them.
    spatial
        (n_spots, 2) coordinates x, y.
    pictures, scalefactors
        Images and scale factors.
    source
        Name of the file, for messages.
    notes
        Messages of the reader.
    um_per_px, um_per_px_from
        Length of one coordinate unit in µm and its source, if ``obs`` does not state it.
    expression
        Kind of values: ``counts`` or ``normalised``.

    Raises
    ------
    InputError
        See :func:`mmsrl.ingest.positions.array_obs`.
    """
    array, remarks = array_obs(obs, spatial, source)
    unit = scale_of_columns(obs, spatial)
    stacked = stacked_fields(obs, spatial)
    return Content(
        counts=counts,
        obs=array,
        spatial=spatial,
        pictures=pictures,
        scalefactors=scalefactors,
        source=source,
        notes=[*notes, *map(info, remarks), *map(warning, [stacked] if stacked else [])],
        platform=unit.platform if unit else None,
        um_per_px=unit.um_per_px if unit else um_per_px,
        um_per_px_from=unit.why if unit else um_per_px_from,
        max_stacked=MAX_STACKED,
        expression=expression,
    )


def scalefactors_of(library: dict[str, Any]) -> dict[str, float]:
    """Return the positive scale factors of an entry of `uns['spatial']`.

    Arrays of one number are accepted, because R writes no scalars.
    """
    singles = {name: np.asarray(value).ravel() for name, value in _entry(library, "scalefactors").items()}
    numbers = {name: pd.to_numeric(text_of(v), errors="coerce")[0] for name, v in singles.items() if v.size == 1}
    return {name: float(value) for name, value in numbers.items() if 0 < value < float("inf")}


def _candidates(file: h5py.File) -> list[Candidate]:
    """Return the matrices of a file that may hold counts: layers named so, X and raw.X."""
    layers = [f"layers/{key}" for key in counts_named(file["layers"] if "layers" in file else ())]
    places = [*((place, "var") for place in [*layers, "X"]), ("raw/X", "raw/var")]
    existing = [(place, var, _shape(file[place])) for place, var in places if place in file]
    return [
        Candidate(_python_name(place), int(shape[1]), partial(_csr, file[place]), partial(read_elem, file[var]))
        for place, var, shape in existing
        if len(shape) == 2
    ]


def _shape(element: h5py.Group | h5py.Dataset) -> tuple[int, ...]:
    """Return the shape of a matrix. Reading one value detects unknown compression filters."""
    values = element["data"] if isinstance(element, h5py.Group) else element
    if values.size:
        values[:1]
    return element.shape if isinstance(element, h5py.Dataset) else tuple(element.attrs["shape"])


def _python_name(place: str) -> str:
    """Return a path in the file as written in Python: `raw.X`, `layers['counts']`."""
    folder, _, key = place.rpartition("/")
    return f"layers[{key!r}]" if folder == "layers" else place.replace("/", ".")


def counts_named(layers: Iterable[str]) -> list[str]:
    """Return the layers named after counts, in order of preference."""
    named = (key for key in layers if plain(key) in COUNT_LAYERS)
    return sorted(named, key=lambda key: COUNT_LAYERS.index(plain(key)))


def csr_of(matrix: Any) -> sparse.csr_matrix:
    """Convert a sparse or dense matrix to CSR float32."""
    return sparse.csr_matrix(matrix, dtype=np.float32)


def _csr(element: h5py.Group | h5py.Dataset) -> sparse.csr_matrix:
    if isinstance(element, h5py.Dataset) and element.ndim == 2:
        blocks = range(0, element.shape[0], ROWS_AT_ONCE)
        rows = [sparse.csr_matrix(element[start : start + ROWS_AT_ONCE], dtype=np.float32) for start in blocks]
        return sparse.vstack(rows, format="csr") if rows else sparse.csr_matrix(element.shape, dtype=np.float32)
    return sparse.csr_matrix(read_elem(element), dtype=np.float32)


def _library(file: h5py.File, sample: str) -> tuple[dict[str, Any], list[str]]:
    """Return the entry of `uns['spatial']` of the sample: the one named after it, or the only one."""
    key = f"uns/{_keys.UNS_SPATIAL}"
    if key not in file or not isinstance(file[key], h5py.Group):
        return {}, []
    if {"images", "scalefactors"} & set(file[key]):  # an entry without name
        return _images_and_factors(file[key]), []
    # Entries that are not groups apply to all, such as `is_single` of CELLxGENE.
    names = [name for name in file[key] if isinstance(file[key][name], h5py.Group)]
    chosen = sample if sample in names else names[0] if len(names) == 1 else None
    if chosen is None:
        return {}, [f"uns['spatial'] has images of {', '.join(names)}, none named {sample}; took none"] if names else []
    element = file[f"{key}/{chosen}"]
    # HDF5 stores a library name with slashes as nested groups.
    while isinstance(element, h5py.Group) and len(element) == 1 and not {"images", "scalefactors"} & set(element):
        element = next(iter(element.values()))
    return _images_and_factors(element), []


def _images_and_factors(library: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """Read images and scale factors of a library, but not its metadata, which may have unknown types."""
    if not isinstance(library, h5py.Group):
        return {}
    return {name: read_elem(library[name]) for name in ("images", "scalefactors") if name in library}


def _entry(library: dict[str, Any], name: str) -> dict[str, Any]:
    entry = library.get(name)
    return entry if isinstance(entry, dict) else {}
