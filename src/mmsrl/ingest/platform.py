"""What the platform is, and its lengths. Arrays only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from mmsrl.geometry import VISIUM_PITCH_UM, Lattice

Platform = Literal["visium", "visium_hd", "st", "other"]

VISIUM_DIAMETER_UM = 65.0
"""Diameter that `spot_diameter_fullres` of Visium stands for by its documentation (the spots themselves have 55 µm)."""

ST_PITCH_UM = 200.0
"""Distance of neighbouring spots of legacy Spatial Transcriptomics, 100 µm wide (Ståhl et al., Science 2016)."""

TOLERANCE = 0.1
"""Accepted relative difference between lengths that should agree; versions of Space Ranger differ by 7 %."""

_ST_BARCODE = re.compile(r"^\d+x\d+$")
_HD_BARCODE = re.compile(r"^s_\d{3}um_\d+_\d+(-\d+)?$")
_VISIUM_BARCODE = re.compile(r"^[ACGT]{16}(-\d+)?$")


class Lengths(NamedTuple):
    """Physical pitch and drawn size of spots, and what is odd about them."""

    pitch_um: float
    spot_diameter_px: float
    notes: list[str]


def platform_of(barcodes: Sequence[str], lattice: Lattice, scalefactors: Mapping[str, float]) -> Platform:
    """Tell the platform from the form of the barcodes, the lattice and the scale factors."""
    first = barcodes[: min(len(barcodes), 100)]
    if "bin_size_um" in scalefactors or all(_HD_BARCODE.match(barcode) for barcode in first):
        return "visium_hd"
    if all(_ST_BARCODE.match(barcode) for barcode in first):
        return "st"
    if lattice == "hexagonal" and all(_VISIUM_BARCODE.match(barcode) for barcode in first):
        return "visium"
    return "other"


def lengths(platform: Platform, pitch_px: float, scalefactors: Mapping[str, float], bin_um: int | None) -> Lengths:
    """Return the pitch in micrometres and the spot's diameter in pixels.

    The pitch is taken from the image's resolution where it is stated (Visium HD), else from how the slide is made
    (Visium, ST); the scale factors serve to check it. It is NaN for other platforms. A diameter that is not stated
    is taken from the pitch.
    """
    notes: list[str] = []
    diameter = scalefactors.get("spot_diameter_fullres", math.nan)
    if platform == "visium_hd":
        per_pixel = scalefactors.get("microns_per_pixel", math.nan)
        bin_size = scalefactors.get("bin_size_um", float(bin_um) if bin_um else math.nan)
        pitch_um = pitch_px * per_pixel if math.isfinite(per_pixel) else bin_size
        if _differ(pitch_um, bin_size):
            notes.append(f"bins are {pitch_um:.2f} µm apart by their coordinates, but {bin_size:g} µm by their name")
        share = 1.0
    elif platform == "visium":
        pitch_um, share = VISIUM_PITCH_UM, VISIUM_DIAMETER_UM / VISIUM_PITCH_UM
        measured = pitch_px * VISIUM_DIAMETER_UM / diameter
        if _differ(measured, pitch_um):
            notes.append(
                f"spots are {measured:.0f} µm apart by scalefactors_json.json, not 100 µm; "
                "are coordinates and scale factors of the same image?"
            )
    elif platform == "st":
        pitch_um, share = ST_PITCH_UM, 0.5
    else:
        pitch_um, share = math.nan, 1.0
    if not math.isfinite(diameter):
        diameter = share * pitch_px
        notes.append(f"spot_diameter_fullres is not given; took {share:g} pitches, {diameter:.1f} pixels")
    return Lengths(pitch_um, diameter, notes)


def _differ(one: float, other: float) -> bool:
    """Tell whether two lengths are both known and further apart than the tolerance."""
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) > TOLERANCE * other
