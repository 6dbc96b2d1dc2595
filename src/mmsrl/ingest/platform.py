"""Detection of platform and scale from the samplesheet and the files. Works on arrays only."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mmsrl._errors import InputError
from mmsrl._platforms import PLATFORMS
from mmsrl.geometry import VISIUM_PITCH_UM, Geometry
from mmsrl.ingest.content import Content

VISIUM_DIAMETER_UM = 65.0
"""Diameter in µm that `spot_diameter_fullres` of Visium represents (documentation of 10x; spots measure 55 µm)."""

ST_PITCH_UM = 200.0
"""Spot spacing of legacy Spatial Transcriptomics in µm, with spots of 100 µm (Ståhl et al., Science 2016)."""

ST_ARRAY = 35
"""Maximum number of rows or columns of a legacy Spatial Transcriptomics array (33 × 35 with its frame). DBiT-seq uses
similar names on grids of 50 or 100 channels, 10 to 50 µm wide."""

TOLERANCE = 0.1
"""Maximum relative difference of lengths that should agree. Versions of Space Ranger differ by 7 %."""

ST_DIAMETER = 0.5
"""Spot diameter of legacy Spatial Transcriptomics, in spot spacings."""

DNB_UM = 0.5
"""DNB spacing of Stereo-seq chips in µm, which is the unit of its coordinates (0.715 µm on some chips of 2022)."""

MEASURED = 0.02
"""Scatter of spots about a regular grid, in spot spacings, above which they were located in an image one by one (0.08
in HER2ST). Coordinates on a microfluidic chip are computed from its corners."""

ROUNDING = 0.41
"""Scatter of coordinates rounded to whole numbers, in coordinate units."""

LATTICES = ("visium", "visium_hd", "st", "dbit")
"""Platforms whose spots lie on a lattice."""

GRID_STEP, GRID_SCATTER = 0.2, 0.25
"""Names are grid positions if one step equals the spot spacing up to the first relative difference, and spots scatter
about the grid by at most the second share of the spacing (root mean square)."""

# Concatenation of sections adds prefixes or suffixes to names.
_GRID_NAME = re.compile(r"(?:^|[-_:#])(\d+(?:\.\d+)?)x(\d+(?:\.\d+)?)(?:$|[-_:#])")
_ST_BARCODE = re.compile(r"(?:^|[-_.:#])[ACGT]{18}(?:-\d+)?(?:$|[-_.:#])")
_HD_BARCODE = re.compile(r"(?:^|[-_.:#])s_(\d{3})um_\d{5}_\d{5}(?:-\d+)?(?:$|[-_.:#])")
_HD_CELL = re.compile(r"(?:^|[-_.:#])cellid_\d{9}(?:-\d+)?(?:$|[-_.:#])")
_VISIUM_BARCODE = re.compile(r"(?:^|[-_.:#])[ACGT]{16}(?:-\d+)?(?:$|[-_.:#])")

_LOOKED_AT = 100
"""Number of names tested for their format."""


class Stated(NamedTuple):
    """Platform and scale of a section in the samplesheet; ``None`` if not given."""

    platform: str | None = None
    pitch_um: float | None = None
    um_per_px: float | None = None


class Evidence(NamedTuple):
    """Evidence on platform and scale in the files of a section."""

    barcodes: Sequence[str]
    spatial: NDArray[np.float64]
    """(n_spots, 2) coordinates x, y."""
    measured: Geometry
    """Lattice and spot spacing of the coordinates."""
    scalefactors: Mapping[str, float]
    bin_um: int | None = None
    """Visium HD bin size in µm, from the name of the folder."""
    platform: str | None = None
    """Platform, if the file format belongs to one instrument."""
    um_per_px: float | None = None
    """Length of one coordinate unit in µm, if the files state it."""
    um_per_px_from: str = ""
    """Source of ``um_per_px``, for messages."""

    @property
    def are_cells(self) -> bool:
        """Whether the spots are segmented cells of Visium HD instead of bins."""
        names = self.barcodes[:_LOOKED_AT]
        if all(_HD_CELL.search(name) for name in names):
            return True
        return self.measured.lattice == "none" and "bin_size_um" in self.scalefactors and _bin_of(names) is None

    @classmethod
    def of(cls, content: Content, measured: Geometry) -> Evidence:
        """Collect the evidence of a section as read, with the geometry of its coordinates."""
        return cls(
            barcodes=[str(barcode) for barcode in content.counts.barcodes],
            spatial=content.spatial,
            measured=measured,
            scalefactors=content.scalefactors,
            bin_um=content.bin_um,
            platform=content.platform,
            um_per_px=content.um_per_px,
            um_per_px_from=content.um_per_px_from,
        )


class Scale(NamedTuple):
    """Platform, spot spacing and drawn size of spots."""

    platform: str
    pitch_um: float
    """Spot spacing in µm; NaN if unknown."""
    spot_diameter_px: float
    """Spot diameter in coordinate units."""
    notes: list[str]
    """Detected values and their evidence."""
    warnings: list[str]
    """Contradictory or missing values."""


def grid_places(barcodes: Sequence[str]) -> NDArray[np.float64] | None:
    """Return column and row, (n_spots, 2), from names such as `12x34`; ``None`` if some names have another format."""
    matches = [_GRID_NAME.search(barcode) for barcode in barcodes]
    if not matches or None in matches:
        return None
    return np.array([[float(part) for part in match.groups()] for match in matches if match])


def grid_fit(places: NDArray[np.float64], spatial: NDArray[np.float64]) -> tuple[NDArray[np.float64], float]:
    """Fit a grid to coordinates by affine least squares.

    Parameters
    ----------
    places
        (n_spots, 2) columns and rows on the grid.
    spatial
        (n_spots, 2) coordinates x, y.

    Returns
    -------
    steps
        (2,) singular values of the fit: the step sizes, in coordinate units.
    scatter
        Root mean square distance of spots from the grid, in coordinate units.
    """
    design = np.column_stack([places - places.mean(axis=0), np.ones(len(places))])
    solution, *_ = np.linalg.lstsq(design, spatial, rcond=None)
    scatter = np.sqrt(np.mean(np.sum((spatial - design @ solution) ** 2, axis=1)))
    return np.linalg.svd(solution[:2], compute_uv=False), float(scatter)


def on_grid(places: NDArray[np.float64], spatial: NDArray[np.float64], pitch: float) -> bool:
    """Return whether grid positions, (n_spots, 2), fit the coordinates, (n_spots, 2), as a square grid.

    Cells named after their coordinates (`69x4486`) do not fit: their step is much smaller than the spacing ``pitch``.
    """
    steps, scatter = grid_fit(places, spatial)
    return bool(np.all(np.abs(steps / pitch - 1) <= GRID_STEP) and scatter / pitch <= GRID_SCATTER)


def scale_of(evidence: Evidence, stated: Stated) -> Scale:
    """Return platform, spot spacing and spot diameter, from the samplesheet or else from the files.

    Parameters
    ----------
    evidence
        Evidence in the files.
    stated
        Values of the samplesheet, which take precedence.

    Raises
    ------
    InputError
        A stated value is invalid, or spacing and scale contradict each other.
    """
    if stated.platform is not None and stated.platform not in PLATFORMS:
        raise InputError(f"platform {stated.platform!r} is not one of {', '.join(PLATFORMS)}")
    for name, value in (("pitch_um", stated.pitch_um), ("um_per_px", stated.um_per_px)):
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"{name} {value} must be a number of micrometres above 0")
    detected, why = platform_of(evidence)
    kind = stated.platform or detected
    notes: list[str] = []
    warnings: list[str] = []
    if stated.platform is not None:
        # DBiT-seq and legacy ST name spots on small grids alike.
        if detected not in ("other", kind) and (kind, detected) != ("dbit", "st"):
            warnings.append(f"platform {kind}, as the samplesheet says, though this looks like {detected} ({why})")
        why = "as the samplesheet says"
    pitch_um, source = _pitch_um(kind, evidence, stated)
    platform = f"platform {PLATFORMS[kind]} ({why})"
    if math.isfinite(pitch_um):
        notes.append(f"{platform}; neighbours are {pitch_um:.4g} µm apart ({source})")
    else:
        wanted = "pitch_um or um_per_px" if stated.platform else "platform, pitch_um or um_per_px"
        warnings.append(
            f"{platform}, of unknown scale: give {wanted} in the samplesheet; without it lengths are multiples of the "
            "spot spacing"
        )
    by_files, file_source = _pitch_um(kind, evidence, Stated())
    if _differ(pitch_um, by_files):
        warnings.append(
            f"neighbours are {pitch_um:.4g} µm apart by {source}, but {by_files:.4g} µm by the files ({file_source}); "
            "the value of the samplesheet is used"
        )
    warnings += _odd_lengths(kind, evidence, pitch_um)
    diameter = evidence.scalefactors.get("spot_diameter_fullres", math.nan)
    if not math.isfinite(diameter):
        share = {"visium": VISIUM_DIAMETER_UM / VISIUM_PITCH_UM, "st": ST_DIAMETER}.get(kind, 1.0)
        diameter = share * evidence.measured.pitch
        text = f"spot_diameter_fullres is not given; took {share:g} pitches, {diameter:.3g} units of the coordinates"
        # Expected for cells.
        (notes if evidence.measured.lattice == "none" else warnings).append(text)
    return Scale(kind, pitch_um, diameter, notes, warnings)


def platform_of(evidence: Evidence) -> tuple[str, str]:
    """Return the platform detected from the files, and the evidence for messages."""
    first, lattice = [str(barcode) for barcode in evidence.barcodes[:_LOOKED_AT]], evidence.measured.lattice
    if evidence.platform is not None:
        return evidence.platform, "the form of its files"
    if all(_HD_CELL.search(name) for name in first):
        return "visium_hd", f"names such as {first[0]} are those of its segmented cells"
    if "bin_size_um" in evidence.scalefactors:
        return "visium_hd", "its scale factors have a bin size"
    if _bin_of(first) is not None:
        return "visium_hd", f"names such as {first[0]} are those of its bins"
    if is_visium(first):
        if lattice == "hexagonal":
            return "visium", "barcodes of 16 bases on a hexagonal lattice"
        there = "a square lattice, as DBiT-seq has it" if lattice == "square" else "no lattice"
        return "other", f"barcodes of 16 bases, but on {there}; Visium's lie on a hexagonal one"
    if _are_dnbs(evidence.barcodes, evidence.spatial):
        return "stereoseq", f"names such as {first[-1]} are made of x and y, as those of its bins"
    return _platform_of_grid(evidence)


def is_visium(names: Sequence[str]) -> bool:
    """Return whether the first names are Visium barcodes, with or without prefix and suffix."""
    return all(_VISIUM_BARCODE.search(name) for name in names[:_LOOKED_AT])


def _are_dnbs(names: Sequence[str], spatial: NDArray[np.float64]) -> bool:
    """Return whether names are Stereo-seq numbers with x in the upper and y in the lower 32 bits."""
    tested = range(0, len(names), max(len(names) // _LOOKED_AT, 1))
    numbers = [int(names[k]) for k in tested if str(names[k]).isdecimal()]
    if len(numbers) < len(tested) or max(numbers) < 2**32:
        return False
    return all(
        (number >> 32, number & 0xFFFFFFFF) == tuple(spatial[k]) for k, number in zip(tested, numbers, strict=True)
    )


def _platform_of_grid(evidence: Evidence) -> tuple[str, str]:
    """Detect the platform from names that are grid positions, or from barcodes of legacy Spatial Transcriptomics.

    DBiT-seq uses the same names, and no file states the width of its channels. A small grid is therefore legacy Spatial
    Transcriptomics only with further evidence.
    """
    barcodes, lattice = [str(barcode) for barcode in evidence.barcodes], evidence.measured.lattice
    pitch = evidence.measured.pitch
    places = grid_places(barcodes)
    if places is not None:
        if lattice != "square" or not on_grid(places, evidence.spatial, pitch):
            return "other", f"names such as {barcodes[0]} are not the places of spots on a grid"
        grid = f"names are the places on a square grid of {places.max():.0f}"
        if places.max() > ST_ARRAY + 0.5:
            return "other", (
                f"{grid}, which is larger than legacy Spatial Transcriptomics has; DBiT-seq has such with channels of "
                "10 to 50 µm"
            )
        sign = _sign_of_st(places, evidence)
        if sign is not None:
            return "st", f"{grid} at most, as its arrays are, and {sign}"
        return "other", (
            f"{grid} at most, which both legacy Spatial Transcriptomics, 200 µm apart, and DBiT-seq, 20 to 100 µm, have"
        )
    if lattice == "square" and all(_ST_BARCODE.search(name) for name in barcodes[:_LOOKED_AT]):
        spans = np.ptp(evidence.spatial, axis=0) / pitch
        if spans.max() < ST_ARRAY:
            return "st", f"barcodes of 18 bases on a square grid of {spans.max() + 1:.0f} at most, as its arrays are"
    return "other", "nothing in the file tells the platform"


def _sign_of_st(places: NDArray[np.float64], evidence: Evidence) -> str | None:
    """Return the evidence for legacy Spatial Transcriptomics against DBiT-seq; ``None`` without any.

    Printed spots are located in an image one by one, while the pixels of DBiT-seq are computed.
    """
    if not np.array_equal(places, np.round(places)):
        return "places are measured, not whole"
    pitch, spatial = evidence.measured.pitch, evidence.spatial
    rounding = ROUNDING if np.array_equal(spatial, np.round(spatial)) else 0.0
    _, scatter = grid_fit(places, spatial)
    if scatter > MEASURED * pitch + 2 * rounding:
        return f"spots scatter by {scatter / pitch:.0%} of a pitch about a regular grid, as if located in an image"
    width = evidence.scalefactors.get("spot_diameter_fullres", math.nan) / pitch
    if abs(width - ST_DIAMETER) <= TOLERANCE * ST_DIAMETER:
        return "spots are half as wide as they are apart"
    return None


def _pitch_um(kind: str, evidence: Evidence, stated: Stated) -> tuple[float, str]:
    """Return the spot spacing in µm (NaN if unknown) and its source, in order of precedence."""
    pitch_px = evidence.measured.pitch
    if stated.pitch_um is not None:
        measured = math.nan if stated.um_per_px is None else pitch_px * stated.um_per_px
        if _differ(measured, stated.pitch_um):
            raise InputError(
                f"pitch_um {stated.pitch_um:g} and um_per_px {stated.um_per_px:g} contradict each other: neighbours "
                f"are {pitch_px:.4g} units of the coordinates apart, which are {measured:.4g} µm; correct one or leave "
                "it empty"
            )
        return stated.pitch_um, "pitch_um of the samplesheet"
    if stated.um_per_px is not None:
        return pitch_px * stated.um_per_px, "um_per_px of the samplesheet"
    if evidence.um_per_px is not None:
        return pitch_px * evidence.um_per_px, evidence.um_per_px_from
    if "microns_per_pixel" in evidence.scalefactors:
        return pitch_px * evidence.scalefactors["microns_per_pixel"], "microns_per_pixel of the scale factors"
    bin_um, width_px = _bin_um(evidence), evidence.scalefactors.get("spot_diameter_fullres", math.nan)
    if math.isfinite(bin_um) and not evidence.are_cells:
        return bin_um, "the size of its bins"
    if math.isfinite(bin_um / width_px):
        return pitch_px * bin_um / width_px, "size and width of the bins in the scale factors"
    if kind == "stereoseq" and _are_dnbs(evidence.barcodes, evidence.spatial):
        return (
            pitch_px * DNB_UM,
            f"spots of its chips are {DNB_UM:g} µm apart; .715 µm on some of 2022: then give um_per_px",
        )
    if kind == "visium":
        return VISIUM_PITCH_UM, "as its slides are made"
    if kind == "st":
        return ST_PITCH_UM, "as its arrays are made"
    return math.nan, ""


def _odd_lengths(kind: str, evidence: Evidence, pitch_um: float) -> list[str]:
    """Warn of bins that contradict their name, and of Visium spots whose diameter contradicts their spacing."""
    bin_um = math.nan if evidence.are_cells else _bin_um(evidence)
    if _differ(pitch_um, bin_um):
        return [f"bins are {pitch_um:.2f} µm apart by their coordinates, but {bin_um:g} µm by their name"]
    diameter = evidence.scalefactors.get("spot_diameter_fullres", math.nan)
    measured = evidence.measured.pitch * VISIUM_DIAMETER_UM / diameter
    if kind == "visium" and _differ(measured, pitch_um):
        return [
            f"spots are {measured:.0f} µm apart by spot_diameter_fullres, not {pitch_um:.0f} µm; "
            "are coordinates and scale factors of the same image?"
        ]
    return []


def _bin_um(evidence: Evidence) -> float:
    """Return the bin size in µm from scale factors, folder or barcodes; NaN if unknown."""
    named = evidence.bin_um or _bin_of([str(barcode) for barcode in evidence.barcodes[:_LOOKED_AT]])
    return evidence.scalefactors.get("bin_size_um", float(named) if named else math.nan)


def _bin_of(barcodes: Sequence[str]) -> int | None:
    """Return the bin size in µm that all barcodes share; ``None`` for other names."""
    sizes = {match.group(1) if (match := _HD_BARCODE.search(barcode)) else None for barcode in barcodes}
    size = sizes.pop() if len(sizes) == 1 else None
    return int(size) if size else None


def _differ(one: float, other: float) -> bool:
    """Return whether two known lengths differ by more than the tolerance."""
    return math.isfinite(one) and math.isfinite(other) and abs(one - other) > TOLERANCE * other
