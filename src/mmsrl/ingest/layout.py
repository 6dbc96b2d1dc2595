"""Where things lie in what Space Ranger writes."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from mmsrl._errors import InputError

_BIN_FOLDER = re.compile(r"^square_(\d{3})um$")
CELL = "cell"
"""Bin size of segmented cells."""

_POSITIONS = ("tissue_positions.parquet", "tissue_positions.csv", "tissue_positions_list.csv")


class BinSizeError(InputError):
    """The fault lies in the bin size asked for rather than in the folder."""


class Section(NamedTuple):
    """The files of one section (and one bin size)."""

    matrix: Path
    """HDF5 file, or folder of three text files."""
    filtered: bool
    """False where only the raw matrix is there, which has spots outside of the tissue too."""
    positions: Path
    scalefactors: Path | None
    images: dict[str, Path]
    """``hires`` and ``lowres``, where they are there."""
    bin_um: int | None
    """Visium HD bin size by the folder's name."""


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


def find_section(root: Path, bin_size: int | str | None) -> tuple[Section, list[str]]:
    """Find the files of a section in Space Ranger's `outs` folder, its parent, or a folder of one bin size.

    Parameters
    ----------
    root
        The folder.
    bin_size
        Visium HD bin in µm, or ``"cell"``; ``None`` takes the only one.

    Returns
    -------
    section, notes
        The files, and what was chosen that the user did not ask for.

    Raises
    ------
    BinSizeError
        There are no bins of that size.
    InputError
        Nothing of Space Ranger's is there, or a file that cannot be done without is missing.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give Space Ranger's `outs`, or a .tar.gz of it")
    bin_size = parse_bin_size(bin_size)
    notes: list[str] = []
    folder = next((candidate for candidate in _candidates(root) if _is_section(candidate) or _bins(candidate)), None)
    if folder is None:
        raise InputError(
            f"{root.name}: holds neither `filtered_feature_bc_matrix(.h5)` with `spatial`, nor `binned_outputs`; "
            "give Space Ranger's `outs`, its parent, or a folder of one bin size"
        )
    bins = _bins(folder)
    if bins:
        chosen = _choose_bin(bins, bin_size, folder)
        if bin_size is None:
            notes.append(f"bin size not given; took the only one, {chosen} µm")
        folder = bins[chosen]
    named = _BIN_FOLDER.match(folder.resolve().name)
    bin_um = int(named.group(1)) if named else None
    if bin_size is not None and bin_um != bin_size:
        raise BinSizeError(
            f"{folder.name}: bin size {bin_size} was asked for, but this is "
            + (f"one folder of {bin_um} µm bins" if bin_um else "no Visium HD output; leave bin_size empty")
        )
    return _section(folder, bin_um), notes


def read_scalefactors(path: Path) -> dict[str, float]:
    """Read scale factors; entries that are no numbers are left out.

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
    return {
        name: float(value)
        for name, value in content.items()
        if isinstance(value, int | float) and 0 < value < float("inf")
    }


def _candidates(root: Path) -> list[Path]:
    """`root` and `root/outs`; and below, as an archive may hold the sample's folder around `outs`, only children."""
    inner = [child for child in sorted(root.iterdir()) if child.is_dir()]
    found = [root, root / "outs"]
    if len(inner) == 1:
        found += [inner[0], inner[0] / "outs"]
    return [folder for folder in found if folder.is_dir()]


def _is_section(folder: Path) -> bool:
    return (folder / "spatial").is_dir() and _matrix(folder) is not None


def _bins(folder: Path) -> dict[int, Path]:
    parent = folder if folder.name == "binned_outputs" else folder / "binned_outputs"
    if not parent.is_dir():
        return {}
    matches = ((_BIN_FOLDER.match(child.name), child) for child in sorted(parent.iterdir()))
    return {int(match.group(1)): child for match, child in matches if match}


def _choose_bin(bins: dict[int, Path], bin_size: int | str | None, folder: Path) -> int:
    if isinstance(bin_size, int) and bin_size in bins:
        return bin_size
    there = ", ".join(str(size) for size in bins)
    if bin_size is not None:
        raise BinSizeError(f"{folder.name}: has no bins of {bin_size} µm; there are {there}")
    if len(bins) == 1:
        return next(iter(bins))
    raise InputError(f"{folder.name}: has bins of {there} µm; say which by bin_size (10x recommends 8)")


def _matrix(folder: Path) -> tuple[Path, bool] | None:
    for kind in ("filtered", "raw"):
        for path in (folder / f"{kind}_feature_bc_matrix.h5", folder / f"{kind}_feature_bc_matrix"):
            if path.exists():
                return path, kind == "filtered"
    return None


def _section(folder: Path, bin_um: int | None) -> Section:
    matrix = _matrix(folder)
    if matrix is None:
        raise InputError(f"{folder.name}: has no filtered_feature_bc_matrix(.h5), nor a raw one")
    spatial = folder / "spatial"
    positions = next((spatial / name for name in _POSITIONS if (spatial / name).is_file()), None)
    if positions is None:
        raise InputError(f"{folder.name}/spatial: has none of {', '.join(_POSITIONS)}")
    scalefactors = spatial / "scalefactors_json.json"
    return Section(*matrix, positions, scalefactors if scalefactors.is_file() else None, _images(folder), bin_um)


def _images(folder: Path) -> dict[str, Path]:
    """Return the images of a section, by their size.

    Since Space Ranger 3.0.1 those of Visium HD lie in `outs/spatial`, once for all bin sizes, and the folders of these
    have links to them, which get lost in copies, or nothing.
    """
    places = [folder / "spatial"]
    if folder.resolve().parent.name == "binned_outputs":
        places.append(folder / ".." / ".." / "spatial")
    found = {}
    for size in ("hires", "lowres"):
        path = next((path for place in places if (path := place / f"tissue_{size}_image.png").is_file()), None)
        if path is not None:
            found[size] = path
    return found
