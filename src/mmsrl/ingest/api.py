"""Read a section of any platform into the one internal form (``docs/architecture.md``)."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.utils import make_index_unique
from numpy.typing import NDArray

from mmsrl import _keys, geometry
from mmsrl._errors import InputError
from mmsrl._files import sha256
from mmsrl.ingest import archive, cleaning, h5ad, images, layout, matrix, positions, species, zarr
from mmsrl.ingest import platform as platforms
from mmsrl.ingest.platform import Stated

MAX_STACKED = 0.01
"""Share of spots on top of another from which a file is taken to hold several sections; single-cell platforms with
rounded centroids stay below."""


class Ingested(NamedTuple):
    """A section in the internal form, and what was read and decided on the way."""

    adata: AnnData
    inputs: list[dict[str, Any]]
    """``file``, ``bytes``, ``sha256`` of every file read."""
    messages: list[dict[str, str]]


def read_spaceranger(
    path: Path | str,
    sample: str,
    *,
    bin_size: int | None = None,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
    scratch: Path | None = None,
) -> Ingested:
    """Read Space Ranger's output: v1, v2, v3 or Visium HD, and other data in the same layout.

    Parameters
    ----------
    path
        `outs`, its parent, one `binned_outputs/square_*um`, or a tar file of one of these.
    sample
        Name of the section.
    bin_size
        Visium HD bin in µm; ``None`` takes the only one.
    platform
        A name of :data:`mmsrl._platforms.PLATFORMS`; ``None``: as the files tell.
    pitch_um
        Distance of neighbouring spots in µm; ``None``: from ``um_per_px``, or as the files tell.
    um_per_px
        µm of one unit of the coordinates; ``None``: as the files tell.
    scratch
        Folder to unpack a tar file in, in a folder of its own that is removed again; ``None`` takes the system's.

    Raises
    ------
    InputError
        A file is missing, damaged or does not belong to the others, or ``pitch_um`` and ``um_per_px`` contradict.
    """
    path, stated = Path(path), Stated(platform, pitch_um, um_per_px)
    with _naming(sample):
        if not archive.is_archive(path):
            return _read_folder(path, sample, bin_size, stated)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as unpacked:
            archive.extract(path, Path(unpacked))
            ingested = _read_folder(Path(unpacked), sample, bin_size, stated)
        return ingested._replace(inputs=_checksums([path], path.parent))


def read_h5ad(
    path: Path | str,
    sample: str,
    *,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> Ingested:
    """Read an `.h5ad` of any platform that has raw counts and `obsm['spatial']`.

    Of `obs` only `in_tissue`, `array_row` and `array_col` are kept: annotations must not reach what trains.
    ``platform``, ``pitch_um`` and ``um_per_px`` are those of :func:`read_spaceranger`.

    Raises
    ------
    InputError
        The file is damaged, or has no raw counts or coordinates.
    """
    path = Path(path)
    with _naming(sample):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        content = h5ad.read_h5ad(path, sample)
        stated = Stated(platform, pitch_um, um_per_px)
        return _ingested(content, sample, path.name, _checksums([path], path.parent), stated)


def read_spatialdata(
    path: Path | str,
    sample: str,
    *,
    platform: str | None = None,
    pitch_um: float | None = None,
    um_per_px: float | None = None,
) -> Ingested:
    """Read a section from SpatialData (`.zarr`): the table of raw counts of spots, which are shapes, and images.

    Of several tables or shapes those are taken that have the name of the sample. Of `obs` only `in_tissue`,
    `array_row` and `array_col` are kept, as :func:`read_h5ad` does. ``platform``, ``pitch_um`` and ``um_per_px`` are
    those of :func:`read_spaceranger`.

    Raises
    ------
    InputError
        The folder is damaged, has no such table, or the package spatialdata is not installed.
    """
    path = Path(path)
    with _naming(sample):
        if not path.is_dir():
            raise InputError(f"{path}: no such folder")
        content = zarr.read_zarr(path, sample)
        files = _checksums([file for file in path.rglob("*") if file.is_file()], path)
        # One line for the folder, whose parts are many and say nothing by themselves.
        whole = hashlib.sha256("".join(f"{file['sha256']}  {file['file']}\n" for file in files).encode()).hexdigest()
        inputs = [{"file": path.name, "bytes": sum(file["bytes"] for file in files), "sha256": whole}]
        return _ingested(content, sample, path.name, inputs, Stated(platform, pitch_um, um_per_px))


def _ingested(
    content: h5ad.Content, sample: str, source: str, inputs: list[dict[str, Any]], stated: Stated
) -> Ingested:
    messages = [_info(f"raw counts from {content.counts_from}"), *map(_warning, content.notes)]
    counts, obs, spatial = content.counts, content.obs, content.spatial
    keep = cleaning.first_of_doubled(counts.matrix, spatial)
    if not keep.all():
        text = f"{(~keep).sum()} of {len(keep)} cells have coordinates and counts of another and are left out"
        messages.append(_warning(f"{text}, e.g. {counts.barcodes[~keep][0]!r}; the first of each is kept"))
        counts = matrix.Counts(counts.matrix[keep], counts.barcodes[keep], counts.features)
        obs, spatial = obs[keep], spatial[keep]
    array, notes = positions.array_obs(obs, spatial, source)
    messages += map(_info, notes)
    parts = _Parts(
        counts=counts,
        obs=array,
        spatial=spatial,
        pictures=content.pictures,
        scalefactors=content.scalefactors,
        bin_um=None,
        source=source,
        max_stacked=MAX_STACKED,
        centroids=positions.are_centroids(obs, spatial),
    )
    return Ingested(_assemble(sample, parts, stated, messages), inputs, messages)


class _Parts(NamedTuple):
    """What a section is put together from, whatever it was read from."""

    counts: matrix.Counts
    obs: pd.DataFrame
    spatial: NDArray[np.float64]
    pictures: dict[str, NDArray[np.uint8]]
    scalefactors: dict[str, float]
    bin_um: int | None
    source: str
    """File of the coordinates."""
    max_stacked: float
    """Accepted share of spots on top of another."""
    centroids: bool = False
    """The coordinates are those of the columns x_centroid and y_centroid."""


def _read_folder(root: Path, sample: str, bin_size: int | None, stated: Stated) -> Ingested:
    section, notes = layout.find_section(root, bin_size)
    messages = [_info(note) for note in notes]
    if section.matrix.is_dir():
        counts, files = matrix.read_10x_mtx(section.matrix)
    else:
        counts, files = matrix.read_10x_h5(section.matrix), [section.matrix]
    table = positions.read_positions(section.positions)
    counts, table = _join(counts, table, section, messages)
    factors: dict[str, float] = {}
    if section.scalefactors is None:
        messages.append(_warning("spatial/scalefactors_json.json is missing: images cannot be placed and are not used"))
    else:
        factors = layout.read_scalefactors(section.scalefactors)
        files.append(section.scalefactors)
    parts = _Parts(
        counts=counts,
        obs=table[[_keys.IN_TISSUE, _keys.ARRAY_ROW, _keys.ARRAY_COL]],
        spatial=table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(),
        pictures={size: images.read_image(image) for size, image in section.images.items()},
        scalefactors=factors,
        bin_um=section.bin_um,
        source=section.positions.name,
        max_stacked=0,
    )
    adata = _assemble(sample, parts, stated, messages)
    files += [section.positions, *section.images.values()]
    return Ingested(adata, _checksums(files, root), messages)


def _join(
    counts: matrix.Counts, table: pd.DataFrame, section: layout.Section, messages: list[dict[str, str]]
) -> tuple[matrix.Counts, pd.DataFrame]:
    """Bring positions into the order of the matrix; of a raw matrix keep what is in the tissue."""
    found = table.index.get_indexer(pd.Index(counts.barcodes))
    missing = counts.barcodes[found < 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of the {len(counts.barcodes)} barcodes of {section.matrix.name} are not in "
            f"{section.positions.name}, e.g. {missing[0]!r} (there: {table.index[0]!r}); are both of the same section?"
        )
    table = table.iloc[found]
    if section.filtered:
        return counts, table
    inside = table[_keys.IN_TISSUE].to_numpy() == 1
    if not inside.any():
        raise InputError(f"{section.positions.name}: no barcode of the raw matrix is in the tissue (in_tissue 1)")
    messages.append(
        _warning(f"no filtered matrix: took the {inside.sum()} of {len(inside)} barcodes of the raw one in the tissue")
    )
    return matrix.Counts(counts.matrix[inside], counts.barcodes[inside], counts.features), table[inside]


def _assemble(sample: str, parts: _Parts, stated: Stated, messages: list[dict[str, str]]) -> AnnData:
    """Put the parts together; says in ``messages`` what was left out or is not as usual."""
    obs, spatial, scalefactors = parts.obs, parts.spatial, parts.scalefactors
    stacked = positions.check_coordinates(spatial, parts.counts.barcodes, parts.source, parts.max_stacked)
    if stacked:
        messages.append(_warning(stacked))
    row, col = obs.get(_keys.ARRAY_ROW), obs.get(_keys.ARRAY_COL)
    if row is not None and col is not None:
        positions.check_array(row.to_numpy(), col.to_numpy(), parts.counts.barcodes, parts.source, parts.max_stacked)
    counts, controls, notes = cleaning.gene_expression(parts.counts)
    messages += map(_info, notes)
    if controls is not None:
        obs = obs.assign(**{_keys.CONTROL_COUNTS: controls})
    features = counts.features
    genomes = [genome for genome in features["genome"].unique() if genome]
    if len(genomes) > 1:
        messages.append(_info(f"several genomes ({', '.join(genomes)}): all genes are kept, see var['genome']"))

    measured = geometry.measure(spatial, row, col)
    if not np.isfinite(measured.pitch):
        raise InputError(f"{parts.source}: only one spot; a section needs several")
    barcodes = [str(barcode) for barcode in counts.barcodes]
    evidence = platforms.Evidence(barcodes, spatial, measured, scalefactors, parts.bin_um, parts.centroids)
    scale = platforms.scale_of(evidence, stated)
    messages += [*map(_info, scale.notes), *map(_warning, scale.warnings)]
    if measured.lattice == "none" and scale.platform in platforms.LATTICES:
        messages.append(_warning("spots lie on no lattice that could be told; neighbours are found by distance"))
    lost = cleaning.lost_places(spatial, measured.pitch)
    if lost.any():
        text = f"{parts.source}: {lost.sum()} spots have a coordinate of 0 and lie far from all others"
        messages.append(_warning(f"{text}, e.g. {barcodes[int(lost.argmax())]!r}; remove them if their place was lost"))

    weights = np.asarray(counts.matrix.sum(axis=0)).ravel()
    names = species.species_of(
        features["symbol"].tolist(), features["gene_ids"].tolist(), features["genome"].tolist(), weights
    )
    shown = _placed(parts.pictures, scalefactors, messages)
    return AnnData(
        X=counts.matrix,
        obs=obs.set_axis(pd.Index(barcodes), axis=0),
        var=features.drop(columns="symbol")
        .astype({"feature_types": "category", "genome": "category"})
        .set_axis(_unique_symbols(features, messages), axis=0),
        obsm={_keys.SPATIAL: spatial},
        uns={
            _keys.UNS_SPATIAL: {sample: {"images": shown, "scalefactors": scalefactors}},
            _keys.UNS: {
                _keys.SAMPLE: sample,
                _keys.PLATFORM: scale.platform,
                _keys.LATTICE: measured.lattice,
                _keys.PITCH_PX: measured.pitch,
                _keys.PITCH_UM: scale.pitch_um,
                _keys.UM_PER_PX: scale.pitch_um / measured.pitch,
                _keys.SPOT_DIAMETER_PX: scale.spot_diameter_px,
                _keys.SPECIES: names,
            },
        },
    )


def _unique_symbols(features: pd.DataFrame, messages: list[dict[str, str]]) -> pd.Index[str]:
    symbols = features["symbol"].where(features["symbol"] != "", features["gene_ids"])
    index: pd.Index[str] = pd.Index(symbols.astype(str).to_numpy(dtype=object))
    doubled = index.duplicated()
    if not doubled.any():
        return index
    unique: pd.Index[str] = pd.Index(make_index_unique(index).to_numpy(dtype=object))
    messages.append(
        _info(
            f"{doubled.sum()} genes have the symbol of another and got a suffix, e.g. {index[doubled][0]} is also "
            f"{unique[doubled][0]}"
        )
    )
    return unique


def _placed(
    pictures: Mapping[str, NDArray[np.uint8]], scalefactors: Mapping[str, float], messages: list[dict[str, str]]
) -> dict[str, NDArray[np.uint8]]:
    """Return the images that have a scale, with a word on those that are missing."""
    placed = {}
    for size, picture in pictures.items():
        if f"tissue_{size}_scalef" in scalefactors:
            placed[size] = picture
        else:
            messages.append(_warning(f"no tissue_{size}_scalef: the {size} image cannot be placed and is not used"))
    missing = [size for size in ("hires", "lowres") if size not in placed]
    if len(missing) == 2:
        named = [factor for size in missing if (factor := f"tissue_{size}_scalef") in scalefactors]
        if named:
            text = f"no tissue image (hires or lowres), though the scale factors have {' and '.join(named)}"
            messages.append(_warning(f"{text}; copy it too, or give the full-resolution image"))
        else:
            messages.append(_info("no tissue image (hires or lowres)"))
    elif missing:
        messages.append(_info(f"no {missing[0]} image; {next(iter(placed))} is used"))
    return placed


def _checksums(files: Sequence[Path], root: Path) -> list[dict[str, Any]]:
    return [
        {"file": os.path.normpath(file.relative_to(root)), "bytes": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(files)
    ]


def _info(text: str) -> dict[str, str]:
    return {"level": "info", "text": text}


def _warning(text: str) -> dict[str, str]:
    return {"level": "warning", "text": text}


@contextmanager
def _naming(sample: str) -> Iterator[None]:
    """Put the sample's name in front of every complaint."""
    try:
        yield
    except InputError as error:
        raise InputError(f"sample {sample}: {error}") from error
