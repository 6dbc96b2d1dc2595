"""Join of the spots of a matrix with a table of positions."""

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
from mmsrl.ingest.positions import BARCODE, COLUMNS, check_coordinates, read_positions


class Places(NamedTuple):
    """Positions of the spots of a matrix."""

    table: pd.DataFrame
    """(n_kept, 5), with the columns of :class:`mmsrl.ingest.positions.Positions`."""
    kept: NDArray[np.bool_]
    """Mask of the kept spots, (n_spots,). Of a raw matrix, spots in the tissue are kept."""
    notes: list[str]
    """Warnings."""


def read_places(path: Path, barcodes: Sequence[str], section: Section) -> Places:
    """Read the positions of the spots of a matrix.

    Parameters
    ----------
    path
        Table of positions, not gzipped.
    barcodes
        (n_spots,) barcodes of the matrix.
    section
        Files of the section, which tell whether the matrix is filtered.

    Raises
    ------
    InputError
        The table cannot be read, lacks a spot, or belongs to another section.
    """
    positions = read_positions(path)
    table, notes = positions.table, list(positions.notes)
    names = pd.Index([str(barcode) for barcode in barcodes])
    found = table.index.get_indexer(names)
    if (found < 0).all():
        bare, given = _bare(names, table.index)
        if bare.is_unique and given.is_unique and bare.isin(given).all():
            found = given.get_indexer(bare)
            notes.append(
                f"{path.name}: barcodes have other prefixes or suffixes than those of the matrix; matched {names[0]!r} "
                f"with {table.index[found[0]]!r}"
            )
    missing = names[found < 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of the {len(names)} barcodes of {section.matrix.name} are not in "
            f"{path.name}, e.g. {missing[0]!r} (there: {table.index[0]!r}); are both of the same section?"
        )
    used = np.zeros(len(table), dtype=bool)
    used[found] = True
    inside = table[_keys.IN_TISSUE].to_numpy() == 1
    kept = _in_tissue(inside[found], int((inside & ~used).sum()), bool(used.all()), names, path.name, section, notes)
    placed = table.iloc[found[kept]].set_axis(names[kept], axis=0)
    if len(placed) < 2:
        raise InputError(f"{path.name}: only one spot; a section needs several")
    check_coordinates(placed[list(COLUMNS[4:])].to_numpy(), placed.index.to_numpy(), path.name, 0.0)
    return Places(placed, kept, notes)


def _bare(names: pd.Index[str], given: pd.Index[str]) -> tuple[pd.Index[str], pd.Index[str]]:
    """Return the barcodes in two lists of names without prefixes and suffixes.

    If both lists have prefixes, only numbers at the end are removed, because sections share barcodes.
    """
    parts = [index.to_series().str.extract(f"^(.*?){BARCODE}") for index in (names, given)]
    if any(part[1].isna().any() for part in parts) or all((part[0] != "").all() for part in parts):
        return names.str.replace(_NUMBER, "", regex=True), given.str.replace(_NUMBER, "", regex=True)
    return pd.Index(parts[0][1]), pd.Index(parts[1][1])


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
    """Return a mask of the spots to keep, (n_spots,) bool: those in the tissue for a raw matrix, else all.

    Parameters
    ----------
    inside
        (n_spots,) bool, `in_tissue` of the spots of the matrix.
    n_lacking
        Number of positions in the tissue that are not in the matrix.
    all_places
        Whether the matrix has all positions of the array.
    """
    n_outside, matrix = int((~inside).sum()), section.matrix.name
    if not inside.any():
        raise InputError(f"{source}: no barcode of {matrix} is in the tissue (in_tissue 1); is it of this section?")
    if section.filtered is False or (n_outside and all_places):
        reason = "no filtered matrix" if section.filtered is False else f"{matrix} has all places of the array"
        notes.append(f"{reason}: took the {inside.sum()} of {len(inside)} barcodes of the raw one in the tissue")
        return inside
    if n_outside:
        text = (
            f"{source}: {n_outside} of the {len(inside)} spots of {matrix} are outside the tissue (in_tissue 0), e.g. "
            f"{names[~inside][0]!r}"
        )
        if n_lacking:
            raise InputError(
                f"{text}, and {n_lacking} in the tissue are not in the matrix: the two are of different sections or "
                "runs, so places may be wrong; give the positions that were written with this matrix"
            )
        notes.append(f"{text}, though a filtered matrix has none of these; qc leaves them out")
    return np.ones(len(inside), dtype=bool)
