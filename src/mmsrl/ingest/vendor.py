"""A section as an instrument's folder has it, whichever it is."""

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
    """Read the folder of an instrument.

    Parameters
    ----------
    root
        The folder, or one that has it within.
    sample
        Name of the section.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`; ``None``: as the names of the files tell.
    bin_size
        Stereo-seq: width of a bin in µm, or ``"cell"``.
    um_per_px
        Stereo-seq: µm between spots of the chip, by which bins are made; ``None``: as the file tells.
    scratch
        Folder to unpack single files in.

    Returns
    -------
    content, files
        The section, and the files that it was read from.

    Raises
    ------
    InputError
        The folder is none of an instrument's, or a file is missing, damaged or does not belong to the others.
    """
    given = instruments.find(root, platform, bin_size)
    found = instruments.unpacked(given, scratch)
    instruments.check_headers(found, bin_size)
    content, read = _read(found, sample, bin_size, um_per_px)
    named = {found.files[role]: path for role, path in given.files.items()}
    return content, [named.get(path, path) for path in read]


def _read(found: Found, sample: str, bin_size: int | str | None, um_per_px: float | None) -> tuple[Content, list[Path]]:
    if found.platform == "stereoseq":
        return _of_cells(*gef.read_gef(found, bin_size, um_per_px))
    if found.layout.cells is not None:
        return _of_cells(*cell_table.read_cell_table(found))
    if "barcodes" in found.files:
        content = _dbit(found, sample)
    else:
        # spatialdata-io wants four tables of clusters beside this one, and uses its coordinates too.
        content = h5ad.read_h5ad(found.files["counts"], sample)
    notes = [*(info(text) for text in found.notes), *content.notes]
    return content._replace(platform=found.platform, notes=notes), list(found.files.values())


def _of_cells(content: Content, files: list[Path]) -> tuple[Content, list[Path]]:
    """Add the diameter that cells are drawn with, that of a disc as large as half of them are at most."""
    area = content.area
    if area is None or not np.isfinite(area).any():
        return content, files
    diameter = 2 * float(np.sqrt(np.nanmedian(area) / np.pi))
    return content._replace(scalefactors={"spot_diameter_fullres": diameter}), files


def _dbit(found: Found, sample: str) -> Content:
    """Read DBiT-seq: places from the list of barcodes, with the image where it is there."""
    files, name = found.files, found.files["counts"].name
    try:
        import spatialdata_io
    except ImportError as error:
        raise InputError(
            f"{name}: to read DBiT-seq the package spatialdata-io is needed, which is not installed here; "
            "say pip install 'mmsrl[spatialdata]'"
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
    # What the reader raises depends on which of its files is not as it expects.
    except Exception as error:
        what = " ".join(str(error).split())
        raise InputError(f"{files['barcodes'].name} or {name}: not as DBiT-seq has them ({what})") from error
