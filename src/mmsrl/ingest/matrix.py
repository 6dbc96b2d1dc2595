"""Readers of count matrices of Cell Ranger and Space Ranger: HDF5 (versions 2 and 3) and three text files."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import io, sparse

from mmsrl import _keys
from mmsrl._counts import not_counts
from mmsrl._errors import InputError
from mmsrl._hdf5 import open_hdf5
from mmsrl.ingest.look import refuse_header, three_files, unquoted


class Counts(NamedTuple):
    """Count matrix with the names of its spots and features."""

    matrix: sparse.csr_matrix
    """(n_spots, n_features), float32."""
    barcodes: NDArray[Any]
    """(n_spots,) str."""
    features: pd.DataFrame
    """(n_features, 4) text columns ``symbol``, ``gene_ids``, ``feature_types`` and ``genome``, empty if unknown."""


def read_10x_h5(path: Path) -> Counts:
    """Read a feature-barcode matrix in HDF5.

    Version 3 has one group `matrix`, version 2 has one group for every genome.

    Raises
    ------
    InputError
        The file is not HDF5, is truncated, or is not a 10x matrix.
    """
    with open_hdf5(path, "10x feature-barcode matrix") as file:
        if "matrix" in file:
            counts = _read_version_3(file["matrix"])
        else:
            genomes = [name for name, group in file.items() if isinstance(group, h5py.Group) and "barcodes" in group]
            if not genomes:
                raise InputError(
                    f"{path.name}: HDF5, but no 10x feature-barcode matrix (it has no group `matrix`, only "
                    f"{_some(file.keys())})"
                )
            counts = _beside([_read_version_2(file[name], name) for name in genomes], path)
    return checked(counts, path.name)


def _read_version_3(group: h5py.Group) -> Counts:
    features = group["features"]
    ids = _text(features["id"])
    return Counts(
        _spots_by_features(group),
        _text(group["barcodes"]),
        pd.DataFrame(
            {
                "symbol": _text(features["name"]),
                "gene_ids": ids,
                "feature_types": _text(features["feature_type"]),
                "genome": _text(features["genome"]) if "genome" in features else "",
            }
        ),
    )


def _read_version_2(group: h5py.Group, genome: str) -> Counts:
    features = {"symbol": _text(group["gene_names"]), "gene_ids": _text(group["genes"])}
    return Counts(
        _spots_by_features(group),
        _text(group["barcodes"]),
        pd.DataFrame({**features, "feature_types": "Gene Expression", "genome": genome}),
    )


def _spots_by_features(group: h5py.Group) -> sparse.csr_matrix:
    # CSC of features × barcodes, as stored by 10x, is CSR of barcodes × features.
    n_features, n_spots = (int(n) for n in group["shape"][()])
    return sparse.csr_matrix(
        (group["data"][()].astype(np.float32), group["indices"][()], group["indptr"][()]), shape=(n_spots, n_features)
    )


def _beside(parts: list[Counts], path: Path) -> Counts:
    for part in parts[1:]:
        if not np.array_equal(part.barcodes, parts[0].barcodes):
            raise InputError(f"{path.name}: its genomes have different barcodes; give the matrix of one genome")
    return Counts(
        sparse.hstack([part.matrix for part in parts], format="csr"),
        parts[0].barcodes,
        pd.concat([part.features for part in parts], ignore_index=True),
    )


def read_10x_mtx(path: Path) -> tuple[Counts, list[Path]]:
    """Read a matrix in three text files, plain or gzipped.

    Parameters
    ----------
    path
        Folder of the three files, or path of the matrix. The prefix of its name applies to the other two.

    Returns
    -------
    counts
        The matrix with its names.
    files
        Paths of the three files.

    Raises
    ------
    InputError
        A file is missing or damaged, or the shapes do not match.
    """
    matrix_path, barcodes_path, features_path = three_files(path)
    folder = matrix_path.parent
    barcodes = _read_tsv(barcodes_path)[0].to_numpy(dtype=object)
    refuse_header(barcodes.tolist(), barcodes_path.name)
    table = _read_tsv(features_path)
    try:
        if io.mminfo(matrix_path)[4] == "pattern":
            raise InputError(
                f"{folder.name}/{matrix_path.name}: says which genes are there (pattern), not how often; give counts"
            )
        matrix = sparse.csr_matrix(io.mmread(matrix_path).T, dtype=np.float32)
    except (ValueError, OSError, EOFError, zlib.error, OverflowError) as error:
        raise InputError(f"{folder.name}/{matrix_path.name}: damaged ({error}); copy it anew") from error
    if matrix.shape != (len(barcodes), len(table)):
        raise InputError(
            f"{folder.name}: {matrix_path.name} has {matrix.shape[1]} features x {matrix.shape[0]} barcodes, but "
            f"{features_path.name} has {len(table)} and {barcodes_path.name} {len(barcodes)} rows; "
            "the three files don't belong together"
        )
    features = pd.DataFrame(
        {
            "symbol": table[1] if 1 in table else table[0],
            "gene_ids": table[0],
            "feature_types": table[2] if 2 in table else "",
            "genome": "",
        }
    )
    return checked(Counts(matrix, barcodes, features), folder.name), [matrix_path, barcodes_path, features_path]


def _read_tsv(path: Path) -> pd.DataFrame:
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8") as handle:
            # Keep names such as "NA" as text, and quotes as part of names unless R quoted all of them.
            table = pd.read_csv(handle, sep="\t", header=None, dtype=str, keep_default_na=False, quoting=3)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, OSError, EOFError, zlib.error, UnicodeError) as error:
        raise InputError(f"{path.parent.name}/{path.name}: empty or damaged ({error}); copy it anew") from error
    return table.apply(lambda column: pd.Series(unquoted(column.tolist())))


def checked(counts: Counts, name: str, expression: str = _keys.COUNTS) -> Counts:
    """Validate a matrix and its names, and bring it to canonical format (sorted indices, no explicit zeros).

    Parameters
    ----------
    counts
        The matrix with its names. Modified in place.
    name
        Name of the file, for messages.
    expression
        ``counts`` requires whole numbers from 0; ``normalised`` accepts any values.

    Raises
    ------
    InputError
        Shapes do not match, there are no spots, genes or counts, barcodes are not unique, or values are not counts.
    """
    matrix = counts.matrix
    if matrix.shape != (len(counts.barcodes), len(counts.features)):
        raise InputError(
            f"{name}: matrix of {matrix.shape} for {len(counts.barcodes)} spots, {len(counts.features)} genes"
        )
    check_size(matrix.shape[0], matrix.shape[1], name)
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise InputError(f"{name}: damaged matrix ({error}); copy it anew") from error
    fault = not_counts(matrix.data)
    if fault and expression == _keys.COUNTS:
        raise InputError(f"{name}: {fault} ({_where(counts)}); raw counts (UMIs) are whole numbers from 0")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    if matrix.nnz == 0:
        raise InputError(f"{name}: all {'counts' if expression == _keys.COUNTS else 'values'} are 0")
    check_names(counts.barcodes, name)
    return counts


def _where(counts: Counts) -> str:
    """Name the spot and gene of the first value that is not a count."""
    matrix = counts.matrix
    with np.errstate(invalid="ignore"):
        odd = ~((matrix.data >= 0) & (matrix.data == np.round(matrix.data)) & np.isfinite(matrix.data))
    first = int(np.flatnonzero(odd)[0])
    spot = int(np.searchsorted(matrix.indptr, first, side="right")) - 1
    gene = counts.features["symbol"].iloc[matrix.indices[first]]
    return f"the first of spot {counts.barcodes[spot]!r} and gene {gene!r}"


def check_size(n_spots: int, n_genes: int, name: str) -> None:
    """Raise InputError if there are no spots or no genes."""
    if 0 in (n_spots, n_genes):
        raise InputError(f"{name}: empty, {n_spots} spots x {n_genes} genes")


def check_names(names: NDArray[Any], source: str) -> None:
    """Check that the names of spots, (n_spots,), are unique and not empty.

    Raises
    ------
    InputError
        A name is empty or duplicated. The message names the file ``source`` and a spot.
    """
    bare = np.flatnonzero(pd.Series(names, dtype=object).astype(str).str.strip() == "")
    if len(bare):
        raise InputError(
            f"{source}: {len(bare)} of {len(names)} spots have no name, e.g. in row {bare[0] + 1}; name all spots"
        )
    duplicated = pd.Index(names).duplicated()
    if duplicated.any():
        raise InputError(
            f"{source}: {duplicated.sum()} barcodes come more than once, e.g. {names[duplicated][0]!r}; "
            "make them unique"
        )


def _text(dataset: h5py.Dataset) -> NDArray[Any]:
    values = dataset[()]
    return np.array([value.decode() if isinstance(value, bytes) else str(value) for value in values], dtype=object)


def _some(names: Any) -> str:
    listed = sorted(names)
    return ", ".join(f"`{name}`" for name in listed[:5]) + (", …" if len(listed) > 5 else "") or "nothing"
