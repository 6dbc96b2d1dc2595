"""Reading and writing of the HDF5 files of the stages, with clear errors for damaged or wrong files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import h5py

from mmsrl import _keys
from mmsrl._errors import InputError, MmsrlError

if TYPE_CHECKING:
    from anndata import AnnData

_ABOUT = (f"uns/{_keys.UNS}/{_keys.SAMPLE}",)
_SECTION = ("X", "obs", "var", f"obsm/{_keys.SPATIAL}", f"uns/{_keys.UNS_SPATIAL}", *_ABOUT)

NEEDED: dict[str, tuple[str, ...]] = {
    "ingest": _SECTION,
    "qc": _SECTION,
    "features": ("obs", "var", f"obsm/{_keys.IMAGE}", *_ABOUT),
    "train": (
        f"obs/{_keys.SAMPLE}",
        f"obs/{_keys.BARCODE}",
        f"obsm/{_keys.EMBEDDING}",
        f"obsm/{_keys.SPATIAL}",
    ),
    "trajectory": (
        f"obs/{_keys.SAMPLE}",
        f"obs/{_keys.BARCODE}",
        f"obs/{_keys.PSEUDOTIME}",
        f"obs/{_keys.PSEUDOTIME_RANK}",
        f"obsm/{_keys.UMAP}",
    ),
    "enhance": ("X", f"obs/{_keys.SAMPLE}", f"obs/{_keys.BARCODE}", "var"),
    "assemble": ("var", f"obs/{_keys.DOMAIN}", f"obsm/{_keys.SPATIAL}", f"uns/{_keys.UNS}/{_keys.UNIT}"),
}
"""Required paths in the file of each stage (``docs/architecture.md``)."""

COUNTED = ("ingest", "qc")
"""Stages with raw counts in ``X``."""


@contextmanager
def open_hdf5(path: Path, kind: str, remedy: str = "copy it anew") -> Iterator[h5py.File]:
    """Open an HDF5 file, and convert errors of reading in the block to InputError.

    Parameters
    ----------
    path
        The file.
    kind
        Expected format, for the message.
    remedy
        Remedy for an HDF5 file of another format.

    Raises
    ------
    InputError
        The file is not HDF5, is truncated, or lacks an element that the block reads.
    """
    # This import registers the filters Zstandard and Blosc, which the documentation of anndata recommends.
    import hdf5plugin  # noqa: F401

    try:
        with h5py.File(path, "r") as file:
            try:
                yield file
            except OSError as error:
                lacking = _lacking_filters(file)
                if lacking:
                    raise InputError(
                        f"{path.name}: compressed with {lacking}, which is neither HDF5's own nor of the package "
                        "hdf5plugin; write it anew with compression='gzip'"
                    ) from error
                raise
    except (MmsrlError, MemoryError):
        raise
    # h5py and anndata raise various errors for damaged files.
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path.name}: not HDF5, or truncated ({_line(error)}); copy it anew") from error
    except Exception as error:
        raise InputError(f"{path.name}: damaged {kind} ({_line(error)}); {remedy}") from error


@contextmanager
def open_stage_file(path: Path, stage: str) -> Iterator[h5py.File]:
    """Open the `.h5ad` file of a stage as HDF5, after a check of its elements.

    Raises
    ------
    InputError
        The file is damaged, or not written by ``stage``.
    """
    with open_hdf5(path, "AnnData", f"copy it anew, or run mmsrl-{stage} again") as file:
        missing = [place for place in NEEDED[stage] if place not in file]
        if missing:
            raise InputError(
                f"{path.name}: has no {', '.join(missing)}; give the .h5ad that mmsrl-{stage} wrote, unchanged"
            )
        form = file["X"].attrs.get("encoding-type") if stage in COUNTED else "csr_matrix"
        if form != "csr_matrix":
            raise InputError(
                f"{path.name}: X is stored as {form}, but raw counts as csr_matrix were expected; "
                f"give the .h5ad that mmsrl-{stage} wrote, unchanged"
            )
        yield file


def read_stage_file(path: Path, stage: str, *, backed: Literal["r"] | None = None) -> AnnData:
    """Read the `.h5ad` file of a stage. With ``backed="r"``, ``X`` stays on disk.

    Raises
    ------
    InputError
        The file is damaged, or not written by ``stage``.
    """
    import anndata  # slow to import, and not needed by `check`

    with open_stage_file(path, stage):
        return anndata.read_h5ad(path, backed=backed)


def write_compact(path: Path, adata: AnnData) -> None:
    """Write AnnData with gzip compression. Matrices are a quarter smaller than those of anndata."""
    import anndata

    parts = ("obs", "var", "uns", "obsm", "varm", "obsp", "varp")
    anndata.AnnData(**{part: getattr(adata, part) for part in parts}).write_h5ad(path, compression="gzip")
    with h5py.File(path, "r+") as file:
        _write_matrix(file, "X", adata.X)
        for name, layer in adata.layers.items():
            _write_matrix(file, f"layers/{name}", layer)


def _write_matrix(file: h5py.File, place: str, matrix: Any) -> None:
    """Write a matrix in the format of anndata with the shuffle filter, which improves compression.

    The values of a sparse matrix are not shuffled, because counts and their logarithms recur as whole numbers.
    """
    from anndata.io import write_elem
    from scipy.sparse import issparse

    if not issparse(matrix):
        write_elem(file, place, matrix, dataset_kwargs={"compression": "gzip", "shuffle": True})
        return
    write_elem(file, place, type(matrix)(matrix.shape, dtype=matrix.dtype))
    group = file[place]
    for part in ("data", "indices", "indptr"):
        del group[part]
        values = getattr(matrix, part)
        group.create_dataset(part, data=values, maxshape=(None,), compression="gzip", shuffle=part != "data")


def _lacking_filters(file: h5py.File) -> str:
    """Return the unavailable compression filters of a file; empty if all are available."""
    found: dict[int, str] = {}

    def look(_: str, element: h5py.Group | h5py.Dataset) -> None:
        if isinstance(element, h5py.Dataset):
            made = element.id.get_create_plist()
            for number in range(made.get_nfilters()):
                code, _, _, name = made.get_filter(number)
                if not h5py.h5z.filter_avail(code):
                    found[code] = name.decode("utf-8", "replace").partition(" ")[0]

    file.visititems(look)
    return ", ".join(f"{name} (HDF5 filter {code})" for code, name in sorted(found.items()))


def _line(error: Exception) -> str:
    """Return the first line of an error message, without the location that anndata appends."""
    return str(error).strip().partition("\n")[0]
