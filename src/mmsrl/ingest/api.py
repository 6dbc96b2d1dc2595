"""Read a section of any platform into the one internal form (``docs/architecture.md``)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from anndata import AnnData

from mmsrl._errors import InputError
from mmsrl._files import sha256
from mmsrl.ingest import archive, folder, h5ad, instruments, internal, vendor, zarr
from mmsrl.ingest.content import Content
from mmsrl.ingest.platform import Stated


class Ingested(NamedTuple):
    """A section in the internal form, and what was read and decided on the way."""

    adata: AnnData
    inputs: list[dict[str, Any]]
    """``file``, ``bytes``, ``sha256`` of every file read."""
    messages: list[dict[str, str]]
    outlines: Any | None = None
    """GeoDataFrame of the cells' polygons by barcode, where the files have them."""


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
    """Read Space Ranger's output: v1, v2, v3 or Visium HD, and other data in the same layout.

    Parameters
    ----------
    path
        `outs`, a folder around it, one `binned_outputs/square_*um`, `segmented_outputs`, a folder as 10x or GEO offer
        sections, or an archive of one of these.
    sample
        Name of the section.
    bin_size
        Visium HD bin in µm, or ``"cell"``; ``None`` takes the only one.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`; ``None``: as the files tell.
    pitch_um
        Distance of neighbouring spots in µm; ``None``: from ``um_per_px``, or as the files tell.
    um_per_px
        µm of one unit of the coordinates; ``None``: as the files tell.
    scratch
        Folder to unpack an archive in, in a folder of its own that is removed again; ``None`` takes the system's.

    Raises
    ------
    InputError
        A file is missing, damaged or does not belong to the others, or ``pitch_um`` and ``um_per_px`` contradict.
    """
    path, stated = Path(path), Stated(platform, pitch_um, um_per_px)
    with _naming(sample):
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
    """Read the folder of Xenium, CosMx, MERSCOPE, seqFISH, Stereo-seq, Curio Seeker or DBiT-seq.

    Parameters
    ----------
    path
        The folder as the instrument wrote it, or a tar file of it.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`; ``None``: as the names of the files tell.
    bin_size
        Stereo-seq: width of a bin in µm, or ``"cell"``; ``None``: cells where these are there, else bins of 50 spots.
    sample, pitch_um, um_per_px, scratch
        Those of :func:`read_spaceranger`.

    Raises
    ------
    InputError
        The folder is none of an instrument's, or a file is missing, damaged or does not belong to the others.
    """
    path, stated = Path(path), Stated(platform, pitch_um, um_per_px)
    with _naming(sample):
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as made:
            root = path
            if archive.is_archive(path):
                if not path.is_file():
                    raise InputError(f"{path}: no such file")
                root = Path(made, path.name)  # the name that messages say
                root.mkdir()
                archive.extract(path, root, instruments.is_wanted)
            single = Path(made, "single")
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
    """Read an `.h5ad` of any platform that has raw counts, or normalised values, and `obsm['spatial']`.

    Of `obs` only `in_tissue`, `array_row` and `array_col` are kept: annotations must not reach what trains.
    ``platform``, ``pitch_um`` and ``um_per_px`` are those of :func:`read_spaceranger`.

    Parameters
    ----------
    expression
        ``counts``, which are an error to lack, or ``normalised``; ``None``: counts where there are any, else values.

    Raises
    ------
    InputError
        The file is damaged, or has no expression of that kind or no coordinates.
    """
    path = Path(path)
    with _naming(sample):
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
    """Read a section from SpatialData (`.zarr`): a table of raw counts, the shapes or labels it annotates, and images.

    Of several tables or elements those are taken that have the name of the sample, and bins of ``bin_size``. Of `obs`
    only `in_tissue`, `array_row` and `array_col` are kept, as :func:`read_h5ad` does. ``bin_size``, ``platform``,
    ``pitch_um`` and ``um_per_px`` are those of :func:`read_spaceranger`, ``expression`` that of :func:`read_h5ad`.

    Raises
    ------
    InputError
        The folder is damaged, has no such table, or the package spatialdata is not installed.
    """
    path = Path(path)
    with _naming(sample):
        if not path.exists():
            raise InputError(f"{path}: no such folder")
        content = zarr.read_zarr(path, sample, bin_size, expression)
        files = _checksums([file for file in path.rglob("*") if file.is_file()], path)
        # One line for the folder, whose parts are many and say nothing by themselves.
        whole = hashlib.sha256("".join(f"{file['sha256']}  {file['file']}\n" for file in files).encode()).hexdigest()
        inputs = [{"file": path.name, "bytes": sum(file["bytes"] for file in files), "sha256": whole}]
        return _ingested(content, sample, inputs, Stated(platform, pitch_um, um_per_px))


def _ingested(content: Content, sample: str, inputs: list[dict[str, Any]], stated: Stated) -> Ingested:
    adata, outlines, messages = internal.internal_form(content, sample, stated)
    return Ingested(adata, inputs, messages, outlines)


def _checksums(files: Sequence[Path], root: Path) -> list[dict[str, Any]]:
    return [
        {"file": os.path.normpath(file.relative_to(root)), "bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(files)
    ]


@contextmanager
def _naming(sample: str) -> Iterator[None]:
    """Put the sample's name in front of every complaint."""
    try:
        yield
    except InputError as error:
        raise InputError(f"sample {sample}: {error}") from error
