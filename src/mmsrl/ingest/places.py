"""Spots of a matrix and rows of a table of positions, put together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.ingest.layout import Section
from mmsrl.ingest.positions import read_positions


class Places(NamedTuple):
    """Where the spots of a matrix are."""

    table: pd.DataFrame
    """A row for each spot that is kept: the columns of :class:`mmsrl.ingest.positions.Positions`."""
    kept: NDArray[np.bool_]
    """(n_spots,): those in the tissue, where the matrix is the raw one."""
    notes: list[str]
    """Warnings."""


def read_places(path: Path, barcodes: Sequence[str], section: Section) -> Places:
    """Read the positions of the spots of a matrix.

    Parameters
    ----------
    path
        Table of positions, not gzipped.
    barcodes
        (n_spots,) of the matrix.
    section
        Of which they are; says whether the matrix is filtered.

    Raises
    ------
    InputError
        The table cannot be read, lacks a spot, or is of another section than the matrix.
    """
    positions = read_positions(path)
    table, notes = positions.table, list(positions.notes)
    names = pd.Index([str(barcode) for barcode in barcodes])
    found = table.index.get_indexer(names)
    if (found < 0).all():
        bare, given = names.str.replace(_NUMBER, "", regex=True), table.index.str.replace(_NUMBER, "", regex=True)
        if bare.is_unique and given.is_unique and bare.isin(given).all():
            notes.append(
                f"{path.name}: barcodes end otherwise than those of the matrix; took {names[0]!r} for {bare[0]!r}"
            )
            found = given.get_indexer(bare)
    missing = names[found < 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of the {len(names)} barcodes of {section.matrix.name} are not in "
            f"{path.name}, e.g. {missing[0]!r} (there: {table.index[0]!r}); are both of the same section?"
        )
    there = np.zeros(len(table), dtype=bool)
    there[found] = True
    inside = table[_keys.IN_TISSUE].to_numpy() == 1
    kept = _in_tissue(inside[found], int((inside & ~there).sum()), bool(there.all()), names, path.name, section, notes)
    return Places(table.iloc[found[kept]].set_axis(names[kept], axis=0), kept, notes)


_NUMBER = r"-\d+$"


def _in_tissue(
    inside: NDArray[np.bool_],
    n_lacking: int,
    all_places: bool,
    names: pd.Index[str],
    source: str,
    section: Section,
    notes: list[str],
) -> NDArray[np.bool_]:
    """Return which spots of the matrix, (n_spots,), to keep: those in the tissue, where it is the raw one.

    Parameters
    ----------
    inside
        (n_spots,): `in_tissue` of the spots of the matrix.
    n_lacking
        Number of places in the tissue that are not in the matrix.
    all_places
        Whether the matrix has all places of the array.
    """
    n_outside, matrix = int((~inside).sum()), section.matrix.name
    if not inside.any():
        raise InputError(f"{source}: no barcode of {matrix} is in the tissue (in_tissue 1); is it of this section?")
    if section.filtered is False or (n_outside and all_places):
        what = "no filtered matrix" if section.filtered is False else f"{matrix} has all places of the array"
        notes.append(f"{what}: took the {inside.sum()} of {len(inside)} barcodes of the raw one in the tissue")
        return inside
    if n_outside:
        told = (
            f"{source}: {n_outside} of the {len(inside)} spots of {matrix} are outside the tissue (in_tissue 0), e.g. "
            f"{names[~inside][0]!r}"
        )
        if n_lacking:
            raise InputError(
                f"{told}, and {n_lacking} in the tissue are not in the matrix: the two are of different sections or "
                "runs, so places may be wrong; give the positions that were written with this matrix"
            )
        notes.append(f"{told}, though a filtered matrix has none of these; qc leaves them out")
    return np.ones(len(inside), dtype=bool)
