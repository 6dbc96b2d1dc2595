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
from mmsrl.ingest import archive, h5ad, images, layout, matrix, platform, positions, species, zarr

GENE_EXPRESSION = "Gene Expression"

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
    path: Path | str, sample: str, *, bin_size: int | None = None, scratch: Path | None = None
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
    scratch
        Folder to unpack a tar file in, in a folder of its own that is removed again; ``None`` takes the system's.

    Raises
    ------
    InputError
        A file is missing, damaged or does not belong to the others.
    """
    path = Path(path)
    with _naming(sample):
        if not archive.is_archive(path):
            return _read_folder(path, sample, bin_size)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        with tempfile.TemporaryDirectory(dir=scratch, prefix=".unpacked-") as unpacked:
            archive.extract(path, Path(unpacked))
            ingested = _read_folder(Path(unpacked), sample, bin_size)
        return ingested._replace(inputs=_checksums([path], path.parent))


def read_h5ad(path: Path | str, sample: str) -> Ingested:
    """Read an `.h5ad` of any platform that has raw counts and `obsm['spatial']`.

    Of `obs` only `in_tissue`, `array_row` and `array_col` are kept: annotations must not reach what trains.

    Raises
    ------
    InputError
        The file is damaged, or has no raw counts or coordinates.
    """
    path = Path(path)
    with _naming(sample):
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        return _ingested(h5ad.read_h5ad(path, sample), sample, path.name, _checksums([path], path.parent))


def read_spatialdata(path: Path | str, sample: str) -> Ingested:
    """Read a section from SpatialData (`.zarr`): the table of raw counts of spots, which are shapes, and images.

    Of several tables or shapes those are taken that have the name of the sample. Of `obs` only `in_tissue`,
    `array_row` and `array_col` are kept, as :func:`read_h5ad` does.

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
        return _ingested(content, sample, path.name, inputs)


def _ingested(content: h5ad.Content, sample: str, source: str, inputs: list[dict[str, Any]]) -> Ingested:
    messages = [_info(f"raw counts from {content.counts_from}"), *map(_warning, content.notes)]
    parts = _Parts(
        counts=content.counts,
        obs=_array_obs(content.obs, source, messages),
        spatial=content.spatial,
        pictures=content.pictures,
        scalefactors=content.scalefactors,
        bin_um=None,
        source=source,
        max_stacked=MAX_STACKED,
    )
    return Ingested(_assemble(sample, parts, messages), inputs, messages)


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


def _read_folder(root: Path, sample: str, bin_size: int | None) -> Ingested:
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
    adata = _assemble(sample, parts, messages)
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


def _assemble(sample: str, parts: _Parts, messages: list[dict[str, str]]) -> AnnData:
    """Put the parts together; says in ``messages`` what was left out or is not as usual."""
    obs, spatial, scalefactors = parts.obs, parts.spatial, parts.scalefactors
    stacked = positions.check_coordinates(spatial, parts.counts.barcodes, parts.source, parts.max_stacked)
    if stacked:
        messages.append(_warning(stacked))
    row, col = obs.get(_keys.ARRAY_ROW), obs.get(_keys.ARRAY_COL)
    if row is not None and col is not None:
        positions.check_array(row.to_numpy(), col.to_numpy(), parts.counts.barcodes, parts.source, parts.max_stacked)
    counts = _gene_expression(parts.counts, messages)
    features = counts.features
    genomes = [genome for genome in features["genome"].unique() if genome]
    if len(genomes) > 1:
        messages.append(_info(f"several genomes ({', '.join(genomes)}): all genes are kept, see var['genome']"))

    measured = geometry.measure(spatial, row, col)
    if not np.isfinite(measured.pitch):
        raise InputError(f"{parts.source}: only one spot; a section needs several")
    barcodes = [str(barcode) for barcode in counts.barcodes]
    kind = platform.platform_of(barcodes, measured.lattice, scalefactors)
    lengths = platform.lengths(kind, measured.pitch, scalefactors, parts.bin_um)
    messages += [_warning(note) for note in lengths.notes]
    if measured.lattice == "none" and kind != "other":
        messages.append(_warning("spots lie on no lattice that could be told; neighbours are found by distance"))

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
                _keys.PLATFORM: kind,
                _keys.LATTICE: measured.lattice,
                _keys.PITCH_PX: measured.pitch,
                _keys.PITCH_UM: lengths.pitch_um,
                _keys.SPOT_DIAMETER_PX: lengths.spot_diameter_px,
                _keys.SPECIES: names,
            },
        },
    )


def _gene_expression(counts: matrix.Counts, messages: list[dict[str, str]]) -> matrix.Counts:
    types = counts.features["feature_types"]
    # Blank where tables were joined of which one did not say.
    keep = types.str.strip().str.lower().isin(("", GENE_EXPRESSION.lower())).to_numpy()
    if keep.all():
        return counts
    others = ", ".join(f"{n} {name}" for name, n in types[~keep].value_counts().items())
    if not keep.any():
        raise InputError(f"no features of type {GENE_EXPRESSION!r}, only {others}; mend feature_types")
    messages.append(_info(f"features of other types left out: {others}"))
    return matrix.Counts(counts.matrix[:, keep], counts.barcodes, counts.features[keep])


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


def _array_obs(obs: pd.DataFrame, source: str, messages: list[dict[str, str]]) -> pd.DataFrame:
    """Return in-tissue flag and array position as far as the file has them; those of `XxY` barcodes are in the name."""
    # Sections that were joined with others of another platform have such columns.
    places = (_keys.IN_TISSUE, _keys.ARRAY_ROW, _keys.ARRAY_COL)
    empty = [column for column in places if column in obs and obs[column].isna().all()]
    if empty:
        named = " and ".join(f"obs[{column!r}]" for column in empty)
        messages.append(_info(f"{named} left out: no spot has a value"))
        obs = obs.drop(columns=empty)
    columns: dict[str, Any] = {_keys.IN_TISSUE: _whole(obs, _keys.IN_TISSUE, source, default=1)}
    if {_keys.ARRAY_ROW, _keys.ARRAY_COL} <= set(obs):
        columns[_keys.ARRAY_ROW] = _whole(obs, _keys.ARRAY_ROW, source)
        columns[_keys.ARRAY_COL] = _whole(obs, _keys.ARRAY_COL, source)
    else:
        parts = obs.index.to_series().astype(str).str.extract(r"^(\d+)x(\d+)$")
        if not parts.isna().any(axis=None):
            columns[_keys.ARRAY_ROW] = parts[1].to_numpy(dtype=np.int64)
            columns[_keys.ARRAY_COL] = parts[0].to_numpy(dtype=np.int64)
    return pd.DataFrame(columns, index=obs.index)


def _whole(obs: pd.DataFrame, column: str, source: str, default: int | None = None) -> NDArray[np.int64]:
    if column not in obs and default is not None:
        return np.full(len(obs), default, dtype=np.int64)
    values = pd.to_numeric(obs[column].astype(object).astype(str).replace({"True": "1", "False": "0"}), errors="coerce")
    bad = ~np.isfinite(values) | (values != np.round(values))
    if bad.any():
        raise InputError(
            f"{source}: obs[{column!r}] of {obs.index[bad][0]!r} is '{obs[column][bad].iloc[0]}', not whole; "
            "give all spots a whole number, or remove the column"
        )
    return values.to_numpy(dtype=np.int64)


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
