"""Reader of instrument output folders; dispatches on the instrument."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmsrl._errors import InputError, MmsrlError
from mmsrl.ingest import cell_table, gef, h5ad, instruments, zarr
from mmsrl.ingest.content import Content, info
from mmsrl.ingest.instruments import Found


def read_vendor(
    root: Path, sample: str, platform: str | None, bin_size: int | str | None, um_per_px: float | None, scratch: Path
) -> tuple[Content, list[Path]]:
    """Read the output folder of an instrument.

    Parameters
    ----------
    root
        The folder, or a parent of it.
    sample
        Name of the section.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`. ``None`` detects the platform from the file names.
    bin_size
        Stereo-seq bin size in µm, or ``"cell"``.
    um_per_px
        Stereo-seq: centre-to-centre distance of DNBs on the chip in µm. ``None`` reads it from the file.
    scratch
        Folder for unpacked files.

    Returns
    -------
    content
        The section.
    files
        Files that were read.

    Raises
    ------
    InputError
        The folder belongs to no known instrument, or a file is missing, damaged or inconsistent with the others.
    """
    packed = instruments.find(root, platform, bin_size)
    found = instruments.unpacked(packed, scratch)
    instruments.check_headers(found, bin_size)
    content, files_read = _read(found, sample, bin_size, um_per_px)
    original_of = {found.files[role]: path for role, path in packed.files.items()}
    return content, [original_of.get(path, path) for path in files_read]


def _read(found: Found, sample: str, bin_size: int | str | None, um_per_px: float | None) -> tuple[Content, list[Path]]:
    if found.platform == "stereoseq":
        return _of_cells(*gef.read_gef(found, bin_size, um_per_px))
    if found.layout.cells is not None:
        return _of_cells(*cell_table.read_cell_table(found))
    if "barcodes" in found.files:
        content = _dbit(found, sample)
    else:
        # The reader of spatialdata-io needs four more tables of clusters, and takes the same coordinates.
        content = h5ad.read_h5ad(found.files["counts"], sample)
    notes = [*(info(text) for text in found.notes), *content.notes]
    return content._replace(platform=found.platform, notes=notes), list(found.files.values())


def _of_cells(content: Content, files: list[Path]) -> tuple[Content, list[Path]]:
    """Add the diameter at which cells are drawn: that of a disc with the median cell area."""
    area = content.area
    if area is None or not np.isfinite(area).any():
        return content, files
    diameter = 2 * float(np.sqrt(np.nanmedian(area) / np.pi))
    return content._replace(scalefactors={"spot_diameter_fullres": diameter}), files


def _dbit(found: Found, sample: str) -> Content:
    """Read DBiT-seq: coordinates from the barcode list, and the image if there is one."""
    files, name = found.files, found.files["counts"].name
    try:
        import spatialdata_io
    except ImportError as error:
        raise InputError(
            f"{name}: reading DBiT-seq needs the package spatialdata-io, which is not installed; "
            "run pip install 'mmsrl[spatialdata]'"
        ) from error
    try:
        sdata = spatialdata_io.dbit(
            path=files["counts"].parent,
            anndata_path=str(files["counts"]),
            barcode_position=str(files["barcodes"]),
            image_path=str(files["image"]) if "image" in files else None,
            dataset_id=sample,
        )
        return zarr.content_of(sdata, name, sample)
    except (MmsrlError, MemoryError):
        raise
    # The reader raises different errors for different format problems.
    except Exception as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{files['barcodes'].name} or {name}: not in the format of DBiT-seq ({reason})") from error
