"""Which files in a folder are those of the section, whoever laid them there."""

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
"""Levels below the given folder, and folders, that are looked through for a section."""

_PASSED_OVER = ("SPATIAL_RNA_COUNTER_CS", "SPATIAL_RNA_AGGREGATOR_CS", "analysis", "web_summaries")
"""Folders of Space Ranger that hold no section, but thousands of other files."""

_OTHER_HDF5 = ("molecule_info", "feature_slice", "raw_probe_bc_matrix")
"""What else Space Ranger writes as HDF5."""

_FALL_BACK_UM = 8


class BinSizeError(InputError):
    """The fault lies in the bin size asked for rather than in the folder."""


class Section(NamedTuple):
    """The files of one section (and one bin size)."""

    name: str
    """Of its folder, as messages say it: from the folder or archive that was given."""
    matrix: Path
    """HDF5 file, or `matrix.mtx` of three text files."""
    filtered: bool | None
    """False where only the raw matrix is there, which has spots outside of the tissue too; ``None``: not said."""
    positions: Path | None
    outlines: Path | None
    """Of segmented cells, which have no positions."""
    scalefactors: Path | None
    images: dict[str, Path]
    """``hires`` and ``lowres``, where they are there."""
    bin_um: int | None
    """Visium HD bin size by the folder's name."""

    def parts(self) -> list[Path]:
        """Return all files."""
        others = (self.positions, self.outlines, self.scalefactors, *self.images.values())
        return [self.matrix, *(path for path in others if path is not None)]


def parse_bin_size(text: int | str | None) -> int | str | None:
    """Return a bin size as the samplesheet has it: µm as a number, or ``"cell"``.

    Raises
    ------
    BinSizeError
        It is neither.
    """
    if text is None or isinstance(text, int) or text == CELL:
        return text
    if not text.isdecimal():
        raise BinSizeError(f"bin size {text!r} is neither a whole number of micrometres nor {CELL!r}")
    return int(text)


def find_section(root: Path, bin_size: int | str | None, name: str = "") -> tuple[Section, list[tuple[str, str]]]:
    """Find the files of the section in a folder: Space Ranger's `outs`, one around it, a download, a folder of GEO.

    Names may begin with the sample's, files may be gzipped, and lie flat or in Space Ranger's folders. Links are
    followed; folders in circles end.

    Parameters
    ----------
    root
        The folder.
    bin_size
        Visium HD bin in µm, or ``"cell"``; ``None`` takes the only one.
    name
        What messages call the folder; empty: by its name.

    Returns
    -------
    section, notes
        The files, and what was chosen that the user did not ask for: level and text of messages.

    Raises
    ------
    BinSizeError
        There are no bins of that size.
    InputError
        There is no section, or more than one, or a file that cannot be done without is missing.
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
    """Return archives that hold parts of the section, and their folder, where these don't lie open in ``root``.

    10x offers `<sample>_filtered_feature_bc_matrix.h5` and `<sample>_spatial.tar.gz` side by side.
    """
    places = list(_places(root))
    bin_size = parse_bin_size(bin_size)
    # Of a section that lies open only other bins, or cells, are looked for in archives.
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
    """Read scale factors; entries that are no numbers, in themselves, as text or alone in a list, are left out.

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
    """Return a number of JSON as R and people write them too, 0 where there is none."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    try:
        return 0.0 if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _called(folder: Path, root: Path, name: str) -> str:
    """Return the name of a folder from the one that was given."""
    inside = os.path.relpath(folder, root)
    return name if inside == "." else f"{name}/{inside}"


def _places(root: Path) -> Iterator[Path]:
    """Yield folders that may hold a section, level by level; those with one are not looked into further."""
    level, seen = [root], {Path(os.path.realpath(root))}
    for _ in range(_DEPTH):
        below: list[Path] = []
        for folder in level:
            yield folder
            if _is_whole(folder):
                continue
            for child in parts.entries(folder):
                if child.name in _PASSED_OVER or parts.is_part(child) or not child.is_dir():
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
    """Say what keeps the folder that is most like a section from being one."""
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
    """Return what to do: give the folder above where that one has the whole section, else copy what is missing."""
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
    """Return the section with the bin size asked for, refusing one that is not that of the one folder given."""
    here = CELL if section.outlines is not None else section.bin_um
    if bin_size is None or bin_size == here:
        return section
    # Of Space Ranger's positions only those of bins are Parquet; the folder may have been renamed.
    if here is None and isinstance(bin_size, int) and section.positions and ".parquet" in section.positions.name:
        return section._replace(bin_um=bin_size)
    what = (
        "the folder of segmented cells"
        if here == CELL
        else f"one folder of {here} µm bins"
        if here
        else "by its name no Visium HD output"
    )
    remedy = "leave bin_size empty, or give `outs`" if here else "leave bin_size empty"
    raise BinSizeError(f"{section.name}: bin size {bin_size} was asked for, but this is {what}; {remedy}")


def _of_one_section(found: list[Part], name: str) -> list[Part]:
    """Return those files that are of one section, by what their names begin with; those that go before others first.

    Barcodes do not tell sections apart. Files without a prefix that are a whole section are it, whatever copies with
    other names lie beside.
    """
    kinds: dict[str, set[str]] = {}
    for part in found:
        kinds.setdefault(part.prefix, set()).add(part.kind)
    whole = [prefix for prefix, there in kinds.items() if _is_section(there)]
    if whole == [""]:
        return [part for part in found if not part.prefix]
    telling = (*MATRICES, "positions", "outlines", "archive")
    prefixes = sorted({part.prefix for part in found if part.prefix and part.kind in telling})
    if len(prefixes) > 1 or len(whole) > 1:
        raise _several(prefixes if len(prefixes) > 1 else sorted(whole), name)
    mine = [part for part in found if part.prefix in ("", *prefixes)] if prefixes else found
    return sorted(mine, key=lambda part: part.prefix not in (whole or [""]))


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
    """Return the images of a section, by their size.

    Since Space Ranger 3.0.1 those of Visium HD lie in `outs/spatial`, once for all bin sizes, and the folders of these
    have links to them, which get lost in copies, or nothing. So it is with some folders of segmented cells.
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
