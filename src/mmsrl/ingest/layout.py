"""Search for the files of a section in a folder: Space Ranger output, downloads and GEO folders."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from mmsrl._errors import InputError
from mmsrl.ingest import parts
from mmsrl.ingest.parts import CELL, MATRICES, Part

_DEPTH, _FOLDERS = 6, 2000
"""Maximum depth and number of folders searched."""

_SKIPPED = ("SPATIAL_RNA_COUNTER_CS", "SPATIAL_RNA_AGGREGATOR_CS", "analysis", "web_summaries")
"""Folders of Space Ranger without sections but with thousands of files."""

_OTHER_HDF5 = ("molecule_info", "feature_slice", "raw_probe_bc_matrix")
"""Prefixes of other HDF5 files of Space Ranger."""

_FALL_BACK_UM = 8
"""Bin size in µm that replaces missing segmented cells, as recommended by 10x."""


class BinSizeError(InputError):
    """Error caused by the requested bin size, not by the folder."""


class Section(NamedTuple):
    """Files of one section (and one bin size)."""

    name: str
    """Name of the folder in messages, relative to the given folder or archive."""
    matrix: Path
    """HDF5 file, or `matrix.mtx` of three text files."""
    filtered: bool | None
    """Whether the matrix is filtered. ``False`` for a raw matrix, which includes spots outside the tissue; ``None`` if
    unknown."""
    positions: Path | None
    """Positions of spots; ``None`` for segmented cells."""
    outlines: Path | None
    """Polygons of segmented cells; ``None`` for spots and bins."""
    scalefactors: Path | None
    images: dict[str, Path]
    """Images ``hires`` and ``lowres``, if there are any."""
    bin_um: int | None
    """Visium HD bin size in µm, from the name of the folder."""

    def parts(self) -> list[Path]:
        """Return all files."""
        others = (self.positions, self.outlines, self.scalefactors, *self.images.values())
        return [self.matrix, *(path for path in others if path is not None)]


def parse_bin_size(text: int | str | None) -> int | str | None:
    """Parse a bin size of the samplesheet: an integer in µm, or ``"cell"``.

    Raises
    ------
    BinSizeError
        The text is neither.
    """
    if text is None or isinstance(text, int) or text == CELL:
        return text
    if not text.isdecimal():
        raise BinSizeError(f"bin size {text!r} is neither a whole number of micrometres nor {CELL!r}")
    return int(text)


def find_section(root: Path, bin_size: int | str | None, name: str = "") -> tuple[Section, list[tuple[str, str]]]:
    """Find the files of the section in a folder: Space Ranger `outs`, a parent of it, a download or a GEO folder.

    File names may have the sample as prefix. Files may be gzipped, and lie flat or in the folders of Space Ranger.
    Links are followed, and circular links end the search.

    Parameters
    ----------
    root
        The folder.
    bin_size
        Visium HD bin size in µm, or ``"cell"``. ``None`` requires that there is one only.
    name
        Name of the folder in messages; empty for its own name.

    Returns
    -------
    section
        The files.
    notes
        Level and text of messages on choices made.

    Raises
    ------
    BinSizeError
        There are no bins of this size.
    InputError
        There is no section, more than one, or a required file is missing.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give Space Ranger's `outs`, or an archive of it")
    bin_size = parse_bin_size(bin_size)
    name = name or root.name
    folder = _place_of_section(root, name)
    notes: list[tuple[str, str]] = []
    units = parts.units_of(folder)
    if units:
        prefixes = parts.unit_prefixes(folder)
        if len(prefixes) > 1:
            raise _several(prefixes, _called(folder, root, name))
        chosen = _choose(units, bin_size, _called(folder, root, name), notes)
        folder = units[chosen]
        return _section(folder, _called(folder, root, name)), notes
    return _agreed(_section(folder, _called(folder, root, name)), bin_size), notes


def inner_archives(root: Path, bin_size: int | str | None, name: str) -> tuple[Path, list[Path]] | None:
    """Return the folder and paths of archives with parts of the section; ``None`` if ``root`` has them unpacked.

    10x distributes `<sample>_filtered_feature_bc_matrix.h5` beside `<sample>_spatial.tar.gz`.
    """
    places = list(_places(root))
    bin_size = parse_bin_size(bin_size)
    # If a section is unpacked, search archives only for other bins or cells.
    kind = "" if bin_size is None else "segmented_outputs" if bin_size == CELL else "binned_outputs"
    whole = [place for place in places if _is_whole(place)]
    for place in whole or places:
        found = [part.path for part in parts.parts_of(place) if part.kind == "archive"]
        if whole:
            there = not kind or bin_size in parts.units_of(place)
            found = [] if there else [path for path in found if kind in path.name.lower()]
        if found:
            _of_one_section([part for part in parts.parts_of(place) if not whole], _called(place, root, name))
            return place, found
    return None


def read_scalefactors(path: Path) -> dict[str, float]:
    """Read the scale factors by name. Numbers may be text or lists of one element; other entries are skipped.

    Raises
    ------
    InputError
        The file is not a JSON object.
    """
    try:
        content: Any = json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, OSError, UnicodeError) as error:
        raise InputError(f"{path.name}: not JSON ({error}); copy it anew") from error
    if not isinstance(content, dict):
        raise InputError(f"{path.name}: a JSON object was expected, with `spot_diameter_fullres` and others")
    numbers = {name: _number(value) for name, value in content.items()}
    return {name: value for name, value in numbers.items() if 0 < value < float("inf")}


def _number(value: Any) -> float:
    """Return a number from JSON, also from text or nested lists of one element; 0 for anything else."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        return 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _called(folder: Path, root: Path, name: str) -> str:
    """Return the name of a folder relative to the given one, for messages."""
    inside = os.path.relpath(folder, root)
    return name if inside == "." else f"{name}/{inside}"


def _places(root: Path) -> Iterator[Path]:
    """Yield folders that may hold a section, breadth first, without descending into sections."""
    level, seen = [root], {Path(os.path.realpath(root))}
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            yield folder
            if _is_whole(folder):
                continue
            for child in parts.entries(folder):
                if child.name in _SKIPPED or parts.is_part(child) or not child.is_dir():
                    continue
                if not os.access(child, os.R_OK | os.X_OK):
                    continue
                real = Path(os.path.realpath(child))
                if real not in seen and len(seen) < _FOLDERS:
                    seen.add(real)
                    below.append(child)
        level = below


def _is_whole(folder: Path) -> bool:
    kinds = {part.kind for part in parts.parts_of(folder) if not part.lost}
    return _is_section(kinds) or bool(parts.units_of(folder))


def _is_section(kinds: set[str]) -> bool:
    return bool(kinds & set(MATRICES)) and bool(kinds & {"positions", "outlines", "aggregation"})


def _place_of_section(root: Path, name: str) -> Path:
    """Return the only folder with a section."""
    places = list(_places(root))
    whole = [place for place in places if _is_whole(place)]
    # The folder itself, or `outs` in it, whatever lies beside.
    if root in whole or root / "outs" in whole:
        return root if root in whole else root / "outs"
    if len(whole) > 1:
        named = ", ".join(os.path.relpath(place, root) for place in whole[:5]) + (", …" if len(whole) > 5 else "")
        raise InputError(f"{name}: holds {len(whole)} sections ({named}); give each a row of its own, and its folder")
    if not whole:
        raise InputError(_what_is_missing(places, root, name))
    return whole[0]


def _what_is_missing(places: list[Path], root: Path, name: str) -> str:
    """Describe what the folder closest to a section lacks."""
    kinds: set[str] = set()
    for place in places:
        found = parts.parts_of(place)
        for part in found:
            if part.lost:
                link = f"{_called(part.path, root, name)} is a link to {os.readlink(part.path)!r}, which is not there"
                return f"{link}; copy the file itself (cp -L, rsync -L)"
        kinds = {part.kind for part in found if part.kind != "archive"}
        if kinds:
            place_name = _called(place, root, name)
            if not kinds & set(MATRICES):
                names = [path.name for path in parts.entries(place) if path.name.endswith((".h5", ".h5.gz"))]
                other = next((name for name in names if not name.startswith(_OTHER_HDF5)), None)
                remedy = f"; if {other} is it, rename it so" if other else _above(place)
                return (
                    f"{place_name}: has {_shown(found)}, but no filtered_feature_bc_matrix(.h5), nor a raw one, nor "
                    f"segmented cells{remedy}"
                )
            return (
                f"{place_name}: has {_shown(found)}, but no positions (spatial/tissue_positions.csv, "
                f"tissue_positions_list.csv or tissue_positions.parquet), nor cell_segmentations.geojson{_above(place)}"
            )
    listed = ", ".join(path.name for path in parts.entries(root)[:5])
    there = f"holds no section, only {listed}" if listed else "is empty"
    return (
        f"{name}: {there}; give Space Ranger's `outs`, which has filtered_feature_bc_matrix.h5 with `spatial`, "
        "`binned_outputs` or `segmented_outputs`"
    )


def _shown(found: list[Part]) -> str:
    return ", ".join(part.path.name for part in found[:3])


def _above(place: Path) -> str:
    """Return the remedy: give the parent folder if it holds the whole section, else copy the whole folder."""
    above = Path(os.path.realpath(place)).parent
    inside = Path(os.path.realpath(place)).name.endswith(("spatial", "_matrix")) and _is_whole(above)
    return f"; give the folder above, {above.name}" if inside else "; copy the whole folder"


def _choose(
    units: dict[int | str, Path], bin_size: int | str | None, name: str, notes: list[tuple[str, str]]
) -> int | str:
    if bin_size in units:
        assert bin_size is not None
        return bin_size
    bins = ", ".join(str(size) for size in units if size != CELL)
    there = " and ".join([f"bins of {bins} µm"] * bool(bins) + [f"segmented cells ({CELL!r})"] * (CELL in units))
    if bin_size == CELL and _FALL_BACK_UM in units:
        notes.append(
            (
                "warning",
                f"{name}: no segmented cells (segmented_outputs), which need Space Ranger 4 and a bright-field image; "
                f"took the bins of {_FALL_BACK_UM} µm instead",
            )
        )
        return _FALL_BACK_UM
    if bin_size is not None:
        asked = "segmented cells (segmented_outputs)" if bin_size == CELL else f"bins of {bin_size} µm"
        raise BinSizeError(f"{name}: has no {asked}; there are {there}")
    if len(units) == 1:
        only = next(iter(units))
        notes.append(
            (
                "info",
                f"bin size not given; took the only one, {f'{only} µm' if only != CELL else 'segmented cells'}",
            )
        )
        return only
    advice = f"{_FALL_BACK_UM} or {CELL}" if CELL in units else f"{_FALL_BACK_UM}"
    raise InputError(f"{name}: has {there}; say which by bin_size (10x recommends {advice})")


def _agreed(section: Section, bin_size: int | str | None) -> Section:
    """Return the section if it has the requested bin size."""
    here = CELL if section.outlines is not None else section.bin_um
    if bin_size is None or bin_size == here:
        return section
    # Only bins have positions in Parquet format; the folder may have been renamed.
    if here is None and isinstance(bin_size, int) and section.positions and ".parquet" in section.positions.name:
        return section._replace(bin_um=bin_size)
    description = (
        "the folder of segmented cells"
        if here == CELL
        else f"one folder of {here} µm bins"
        if here
        else "by its name no Visium HD output"
    )
    remedy = "leave bin_size empty, or give `outs`" if here else "leave bin_size empty"
    raise BinSizeError(f"{section.name}: bin size {bin_size} was asked for, but this is {description}; {remedy}")


def _of_one_section(found: list[Part], name: str) -> list[Part]:
    """Return the files of one section by the prefix of their names, in order of preference.

    A complete section without prefix is preferred to copies with prefixes. Several prefixes are refused, because
    barcodes do not distinguish sections.
    """
    kinds: dict[str, set[str]] = {}
    for part in found:
        kinds.setdefault(part.prefix, set()).add(part.kind)
    whole = [prefix for prefix, there in kinds.items() if _is_section(there)]
    if whole == [""]:
        return [part for part in found if not part.prefix]
    distinctive = (*MATRICES, "positions", "outlines", "archive")
    prefixes = sorted({part.prefix for part in found if part.prefix and part.kind in distinctive})
    if len(prefixes) > 1 or len(whole) > 1:
        raise _several(prefixes if len(prefixes) > 1 else sorted(whole), name)
    chosen = [part for part in found if part.prefix in ("", *prefixes)] if prefixes else found
    return sorted(chosen, key=lambda part: part.prefix not in (whole or [""]))


def _several(prefixes: list[str], name: str) -> InputError:
    listed = ", ".join(repr(prefix) for prefix in prefixes[:5]) + (", …" if len(prefixes) > 5 else "")
    return InputError(
        f"{name}: names of its files begin with {listed}, so they are of {len(prefixes)} sections; put those of each "
        "into a folder of its own and give each a row (of one section: begin all names alike)"
    )


def _section(folder: Path, name: str) -> Section:
    everything = parts.parts_of(folder)
    found: dict[str, Path] = {}
    for part in _of_one_section([part for part in everything if not part.lost], name):
        found.setdefault(part.kind, part.path)
    if "aggregation" in found:
        raise InputError(
            f"{name}: output of `spaceranger aggr` ({found['aggregation'].name}), which is several sections in one "
            "matrix; give each section a row, with the `outs` of its own `spaceranger count`, and one group"
        )
    kind = next((kind for kind in MATRICES if kind in found), None)
    lost_filtered = any(part.lost and part.kind == "filtered" for part in everything) and "filtered_triple" != kind
    if kind is None or lost_filtered or not {"positions", "outlines"} & set(found):
        raise InputError(_what_is_missing([folder], folder, name))
    return Section(
        name=name,
        matrix=found[kind],
        filtered=None if kind == "triple" else kind.startswith("filtered"),
        positions=found.get("positions"),
        outlines=None if "positions" in found else found["outlines"],
        scalefactors=found.get("scalefactors"),
        images=_images(folder, found),
        bin_um=parts.bin_of(folder),
    )


def _images(folder: Path, found: dict[str, Path]) -> dict[str, Path]:
    """Return the images of a section by size.

    Since Space Ranger 3.0.1, Visium HD images lie in `outs/spatial`. Folders of bins and cells have links to them or
    nothing, and copies often lose the links.
    """
    up = None
    if Path(os.path.realpath(folder)).parent.name.endswith("binned_outputs"):
        up = folder / ".." / ".."
    elif Path(os.path.realpath(folder)).name.endswith("segmented_outputs"):
        up = folder / ".."
    shared = [] if up is None else sorted(parts.parts_of(up), key=lambda part: part.prefix, reverse=True)
    places = [found, {part.kind: part.path for part in shared if not part.lost}]
    images = {}
    for size in ("hires", "lowres"):
        path = next((place[size] for place in places if size in place), None)
        if path is not None:
            images[size] = path
    return images
