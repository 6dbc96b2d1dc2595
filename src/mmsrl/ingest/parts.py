"""Names of the files of a section in Space Ranger output, 10x downloads and GEO. No file is opened."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import NamedTuple

_SHEET = r"\.(?:parquet|csv|tsv|txt)"
_MATRIX = r"feature_(?:bc|cell)_matrix"
_FILE = re.compile(
    r"(?P<prefix>|.*?[_.\- ])(?:"
    rf"(?P<filtered>filtered_{_MATRIX}\.h5)"
    rf"|(?P<raw>raw_{_MATRIX}\.h5)"
    rf"|(?:(?P<kept>filtered|raw)_{_MATRIX}[_.\-])?(?P<triple>matrix\.mtx|barcodes\.tsv|features\.tsv|genes\.tsv)"
    rf"|(?P<positions>tissue_positions(?:_list)?{_SHEET})"
    r"|(?P<scalefactors>scalefactors_json\.json)"
    r"|(?P<hires>tissue_hires_image\.(?:png|jpe?g|tiff?))"
    r"|(?P<lowres>tissue_lowres_image\.(?:png|jpe?g|tiff?))"
    r"|(?P<outlines>(?:graphclust_annotated_)?cell_segmentations\.geojson)"
    rf"|(?P<aggregation>aggregation\.csv|aggr_tissue_positions{_SHEET})"
    r")(?:\.gz)?",
    re.IGNORECASE,
)
_ENDINGS = r"(?:\.tar|\.tar\.gz|\.tgz|\.tar\.bz2|\.tbz2?|\.tar\.xz|\.txz|\.zip)"
_ARCHIVE = re.compile(
    rf"(?P<prefix>|.*?[_.\- ])(?:outs|spatial|binned_outputs|segmented_outputs|(?:filtered|raw)_{_MATRIX}){_ENDINGS}",
    re.IGNORECASE,
)
_FOLDER = re.compile(
    rf"(?P<prefix>|.*?[_.\- ])(?:(?P<spatial>spatial)|(?P<filtered>filtered|raw)_{_MATRIX}"
    r"|(?P<bins>binned_outputs)|(?P<cells>segmented_outputs))",
    re.IGNORECASE,
)
_BIN = re.compile(r"square_(\d{3})um", re.IGNORECASE)

CELL = "cell"
"""Bin size of segmented cells."""

MATRICES = ("filtered", "filtered_triple", "raw", "raw_triple", "triple")
"""Kinds of parts with counts, in order of preference."""


class Part(NamedTuple):
    """File of a section."""

    kind: str
    """``filtered`` or ``raw`` (HDF5), ``filtered_triple``, ``raw_triple`` or ``triple`` (three text files, with the
    matrix as ``path``), ``positions``, ``scalefactors``, ``hires``, ``lowres``, ``outlines``, ``aggregation`` or
    ``archive``."""
    prefix: str
    """Prefix of the file name, or of its folder's name, before the name that Space Ranger gives."""
    path: Path

    @property
    def lost(self) -> bool:
        """Whether the file is a broken link."""
        return not self.path.exists() and self.path.is_symlink()


def is_wanted(path: str) -> bool:
    """Return whether a path in an archive is that of a file of a section, or of an archive of such files."""
    names = path.split("/")
    # macOS adds a `._x` to every `x`.
    if any(name.startswith(".") or name == "__MACOSX" for name in names):
        return False
    return _FILE.fullmatch(names[-1]) is not None or _ARCHIVE.fullmatch(names[-1]) is not None


def bin_of(folder: Path) -> int | None:
    """Return the bin size in µm from the name of a folder; ``None`` for other names."""
    named = _BIN.fullmatch(Path(os.path.realpath(folder)).name)
    return int(named.group(1)) if named else None


def entries(folder: Path) -> list[Path]:
    """Return the files and folders in a folder, except hidden ones."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX")


def parts_of(folder: Path) -> list[Part]:
    """Return the files of a section in ``folder`` and in its `spatial` and matrix folders."""
    found = _files(folder)
    for child in entries(folder):
        named = _FOLDER.fullmatch(child.name)
        if named is None or not child.is_dir():
            continue
        prefix = named.group("prefix")
        if named.group("spatial"):
            found += [part._replace(prefix=part.prefix or prefix) for part in _files(child)]
        elif named.group("filtered"):
            inside = [part.path for part in _files(child) if part.kind.endswith("triple")]
            matrix = inside[0] if inside else child / "matrix.mtx"
            found.append(Part(f"{named.group('filtered').lower()}_triple", prefix, matrix))
    return found


def units_of(folder: Path) -> dict[int | str, Path]:
    """Return the folders of bins, by size in µm, and of segmented cells, by ``"cell"``, in Visium HD output."""
    bins: dict[int, Path] = {}
    for place in [folder, *_folders(folder, "bins")]:
        for child in entries(place):
            size = bin_of(child) if child.is_dir() else None
            if size is not None:
                bins.setdefault(size, child)
    units: dict[int | str, Path] = {size: bins[size] for size in sorted(bins)}
    for child in _folders(folder, "cells"):
        if {part.kind for part in parts_of(child)} & {*MATRICES, "outlines"}:
            units.setdefault(CELL, child)
    return units


def unit_prefixes(folder: Path) -> list[str]:
    """Return the prefixes of folders of bins and cells in ``folder``; empty if one of them has no prefix."""
    matches = [_FOLDER.fullmatch(child.name) for kind in ("bins", "cells") for child in _folders(folder, kind)]
    found = {named.group("prefix") for named in matches if named}
    return [] if "" in found else sorted(found)


def is_part(folder: Path) -> bool:
    """Return whether the name of a folder marks it as part of a section."""
    return _FOLDER.fullmatch(folder.name) is not None or bin_of(folder) is not None


def _folders(folder: Path, kind: str) -> list[Path]:
    found = ((_FOLDER.fullmatch(child.name), child) for child in entries(folder) if child.is_dir())
    # Folders without prefix first: others may be copies.
    return [
        child
        for _, child in sorted((named.group("prefix"), child) for named, child in found if named and named.group(kind))
    ]


def _files(folder: Path) -> list[Part]:
    found = []
    for path in entries(folder):
        if path.is_dir():
            continue
        packed = _ARCHIVE.fullmatch(path.name)
        if packed:
            found.append(Part("archive", packed.group("prefix"), path))
        named = _FILE.fullmatch(path.name)
        if named is None:
            continue
        kind = next(kind for kind, value in named.groupdict().items() if value and kind not in ("prefix", "kept"))
        if kind == "triple":
            if not os.path.basename(named.group("triple")).lower().startswith("matrix"):
                continue
            kind = f"{named.group('kept').lower()}_triple" if named.group("kept") else "triple"
        found.append(Part(kind, named.group("prefix"), path))
    return found
