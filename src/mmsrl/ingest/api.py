"""Readers that turn a tissue section of any platform into the internal form (``docs/architecture.md``)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from anndata import AnnData

from mmsrl._errors import InputError, error_prefix
from mmsrl._files import sha256
from mmsrl.ingest import archive, folder, h5ad, instruments, internal, vendor, zarr
from mmsrl.ingest.content import Content
from mmsrl.ingest.platform import Stated


class Ingested(NamedTuple):
    """Result of a reader: the section in the internal form, with its provenance."""

    adata: AnnData
    """(n_spots, n_genes) expression in ``X`` (CSR), (n_spots, 2) coordinates x, y in ``obsm['spatial']``."""
    inputs: list[dict[str, Any]]
    """``file``, ``bytes`` and ``sha256`` of every input file."""
    messages: list[dict[str, str]]
    """``level`` (``info`` or ``warning``) and ``text`` of every message."""
    outlines: Any | None = None
    """GeoDataFrame of cell polygons, indexed by barcode; ``None`` if the input has none."""


def read_spaceranger(
    path: Path | str,
    sample: str,
    *,
    bin_size: int | str | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
    scratch: Path | None = None,
) -> Ingested:
    """Read Space Ranger output (v1 to v3, Visium HD) and other data in the same layout.

    Parameters
    ----------
    path
        The folder `outs` or a parent of it, one `binned_outputs/square_*um`, `segmented_outputs`, a folder as
        downloaded from 10x or GEO, or an archive of one of these.
    sample
        Name of the section.
    bin_size
        Visium HD bin size in µm, or ``"cell"`` for segmented cells. ``None`` requires that the folder has one only.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`. ``None`` detects the platform from the files.
    pitch_um
        Spot spacing (centre-to-centre distance of neighbouring spots) in µm. ``None`` derives it from ``um_per_px``
        or from the files.
    um_per_px
        Length of one coordinate unit in µm. ``None`` reads it from the files.
    scratch
        Parent of the temporary folder for unpacked archives. ``None`` uses the system's temporary folder.

    Returns
    -------
    Ingested
        The section in the internal form, the input files and the messages.

    Raises
    ------
    InputError
        A file is missing, damaged or inconsistent with the others, or ``pitch_um`` contradicts ``um_per_px``.
    """
    path, stated = Path(path), Stated(platform, pitch_um, um_per_px)
    with error_prefix(f"sample {sample}"):
        instruments.refuse_others(path)
        content, files = folder.read_folder(path, bin_size, scratch)
        return _ingested(content, sample, _checksums(files, path if path.is_dir() else path.parent), stated)


def read_instrument(
    path: Path | str,
    sample: str,
    *,
    platform: str | None = None,
    bin_size: int | str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
    scratch: Path | None = None,
) -> Ingested:
    """Read an output folder of Xenium, CosMx, MERSCOPE, seqFISH, Stereo-seq, Curio Seeker or DBiT-seq.

    Parameters
    ----------
    path
        The folder as written by the instrument, or a tar archive of it.
    sample
        Name of the section.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`. ``None`` detects the platform from the file names.
    bin_size
        Stereo-seq bin size in µm, or ``"cell"``. ``None`` reads cells if there are any, else bins of 50 × 50 DNBs.
    pitch_um, um_per_px, scratch
        See :func:`read_spaceranger`.

    Returns
    -------
    Ingested
        The section in the internal form, the input files and the messages.

    Raises
    ------
    InputError
        The folder belongs to no known instrument, or a file is missing, damaged or inconsistent with the others.
    """
    path, stated = Path(path), Stated(platform, pitch_um, um_per_px)
    with error_prefix(f"sample {sample}"):
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as temporary:
            root = path
            if archive.is_archive(path):
                if not path.is_file():
                    raise InputError(f"{path}: no such file")
                root = Path(temporary, path.name)  # messages show this name
                root.mkdir()
                archive.extract(path, root, instruments.is_wanted)
            single = Path(temporary, "single")
            single.mkdir()
            content, files = vendor.read_vendor(root, sample, platform, bin_size, um_per_px, single)
        inputs = _checksums(files, path) if root == path else _checksums([path], path.parent)
        return _ingested(content, sample, inputs, stated)


def read_h5ad(
    path: Path | str,
    sample: str,
    *,
    expression: str | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> Ingested:
    """Read an AnnData file of any platform with coordinates in `obsm['spatial']`.

    Only `in_tissue`, `array_row` and `array_col` of `obs` are kept, so that no annotation leaks into training.

    Parameters
    ----------
    path
        The `.h5ad` file.
    sample
        Name of the section.
    expression
        ``counts`` requires raw counts, ``normalised`` takes normalised values. ``None`` takes counts if the file has
        them, else normalised values.
    platform, pitch_um, um_per_px
        See :func:`read_spaceranger`.

    Returns
    -------
    Ingested
        The section in the internal form, the input files and the messages.

    Raises
    ------
    InputError
        The file is damaged, or has no expression of the requested kind or no coordinates.
    """
    path = Path(path)
    with error_prefix(f"sample {sample}"):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        content = h5ad.read_h5ad(path, sample, expression)
        stated = Stated(platform, pitch_um, um_per_px)
        return _ingested(content, sample, _checksums([path], path.parent), stated)


def read_spatialdata(
    path: Path | str,
    sample: str,
    *,
    bin_size: int | str | None = None,
    expression: str | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> Ingested:
    """Read a section from a SpatialData store (`.zarr`): its table, the shapes or labels it annotates, and images.

    If there are several tables or elements, the ones named after the sample, with bins of ``bin_size``, are read.
    Only `in_tissue`, `array_row` and `array_col` of `obs` are kept, as in :func:`read_h5ad`.

    Parameters
    ----------
    path
        The `.zarr` folder.
    sample
        Name of the section.
    expression
        See :func:`read_h5ad`.
    bin_size, platform, pitch_um, um_per_px
        See :func:`read_spaceranger`.

    Returns
    -------
    Ingested
        The section in the internal form, the input folder and the messages.

    Raises
    ------
    InputError
        The store is damaged, has no suitable table, or the package spatialdata is not installed.
    """
    path = Path(path)
    with error_prefix(f"sample {sample}"):
        if not path.exists():
            raise InputError(f"{path}: no such folder")
        content = zarr.read_zarr(path, sample, bin_size, expression)
        files = _checksums([file for file in path.rglob("*") if file.is_file()], path)
        # A store has thousands of chunks: report one checksum of all of them.
        checksum = hashlib.sha256("".join(f"{file['sha256']}  {file['file']}\n" for file in files).encode()).hexdigest()
        inputs = [{"file": path.name, "bytes": sum(file["bytes"] for file in files), "sha256": checksum}]
        return _ingested(content, sample, inputs, Stated(platform, pitch_um, um_per_px))


def _ingested(content: Content, sample: str, inputs: list[dict[str, Any]], stated: Stated) -> Ingested:
    adata, outlines, messages = internal.internal_form(content, sample, stated)
    return Ingested(adata, inputs, messages, outlines)


def _checksums(files: Sequence[Path], root: Path) -> list[dict[str, Any]]:
    return [
        {"file": os.path.normpath(file.relative_to(root)), "bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(files)
    ]
