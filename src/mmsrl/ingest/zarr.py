"""Reader of SpatialData (`.zarr`): a table of expression, the shapes or labels that it annotates, and images."""

from __future__ import annotations

import importlib.util
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import pandas as pd
from anndata import AnnData
from anndata.io import read_elem
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl._errors import InputError, MmsrlError
from mmsrl.ingest.choice import Candidate, choose_matrix
from mmsrl.ingest.cleaning import must_have_genes
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.genes import features_of, text_of
from mmsrl.ingest.h5ad import content_of_table, counts_named, csr_of, scalefactors_of
from mmsrl.ingest.layout import BinSizeError, parse_bin_size
from mmsrl.ingest.matrix import Counts, check_names, checked
from mmsrl.ingest.parts import CELL
from mmsrl.ingest.positions import check_one_section
from mmsrl.ingest.zarr_elements import centres_of, is_scale, moved, outlines_of, pictures_of, shown, um_per_unit

if TYPE_CHECKING:
    from spatialdata import SpatialData

_BIN = re.compile(r"square_(\d{3})um")


class Annotated(NamedTuple):
    """Table and one of the elements that it annotates."""

    table: str
    region: str
    kind: Literal["shapes", "labels"]

    @property
    def bins(self) -> int | str | None:
        """Bin size in µm or ``"cell"``, from the names of table and element; ``None`` if they tell neither."""
        for name in (self.table, self.region):
            if found := _BIN.search(name):
                return int(found.group(1))
        return CELL if any(CELL in name.lower() for name in self[:2]) else None

    def __str__(self) -> str:
        return f"tables[{self.table!r}] of {self.kind}[{self.region!r}]"


class Look(NamedTuple):
    """Table and spots of a section in a SpatialData store."""

    chosen: Annotated
    barcodes: NDArray[np.object_]
    """Names of the spots, (n_spots,)."""


def look(path: Path, sample: str, bin_size: int | str | None = None) -> Look:
    """Check that a folder is SpatialData with a table of this section, without reading counts, shapes or images.

    Raises
    ------
    InputError
        See :func:`read_zarr`.
    """
    if importlib.util.find_spec("spatialdata") is None:
        raise InputError(
            f"{path.name}: reading SpatialData needs the package spatialdata, which is not installed; "
            "run pip install 'mmsrl[spatialdata]'"
        )
    _must_be_spatialdata(path)
    with _naming(path.name):
        import zarr

        root = zarr.open_group(str(path), mode="r")
        shapes, labels, keys = (_keys_in(root, kind) for kind in ("shapes", "labels", "tables"))
        tables = {key: dict(root[f"tables/{key}"].attrs) for key in keys}
        chosen = choose(_annotated(tables, shapes, labels), path.name, sample, bin_size)
        table: Any = root[f"tables/{chosen.table}"]
        must_have_genes(features_of(read_elem(table["raw/var" if "raw/var" in table else "var"]))[0], path.name)
        obs = read_elem(table["obs"])
        in_region = obs[tables[chosen.table]["region_key"]].astype(str) == chosen.region
        barcodes = _barcodes(obs.index[in_region.to_numpy()], sample)
    check_names(barcodes, path.name)
    check_one_section(barcodes, path.name)
    return Look(chosen, barcodes)


def _must_be_spatialdata(path: Path) -> None:
    """Raise InputError if the names in a folder show that it is not SpatialData."""
    if path.is_file():
        raise InputError(f"{path.name}: not a folder, which a .zarr is; unpack it and give the folder")
    if not any((path / name).is_file() for name in ("zarr.json", ".zgroup")):
        inner = next(
            (f"; give {folder.name} in it" for folder in sorted(path.glob("*.zarr"))), "; copy the whole folder"
        )
        raise InputError(f"{path.name}: not Zarr: no zarr.json or .zgroup in it{inner}")
    if not any((path / "tables").glob("*/*")):
        if (path / "obs").is_dir() and (path / "var").is_dir():
            raise InputError(
                f"{path.name}: AnnData, not SpatialData; write it as .h5ad: anndata.read_zarr(…).write_h5ad(…)"
            )
        raise InputError(
            f"{path.name}: no table in it (tables/…), which holds the counts; is this SpatialData, and copied whole?"
        )


def _keys_in(root: Any, kind: str) -> set[str]:
    return set(root[kind].group_keys()) if kind in root else set()


def read_zarr(path: Path, sample: str, bin_size: int | str | None = None, expression: str | None = None) -> Content:
    """Read expression, names, coordinates and images of a section from SpatialData.

    Coordinates are the centres of shapes or labels, rotated and shifted to the axes of the image. A single scale factor
    leads to pixels of the image, as in `uns['spatial']` of scanpy.

    Parameters
    ----------
    path
        The `.zarr` folder.
    sample
        Name of the section.
    bin_size
        Bin size in µm, or ``"cell"``, to choose among several tables.
    expression
        See :func:`mmsrl.ingest.choice.choose_matrix`.

    Raises
    ------
    InputError
        The package spatialdata is not installed, the store is damaged, or has no table of this section.
    """
    look(path, sample, bin_size)
    import spatialdata

    logging.getLogger("ome_zarr").setLevel(logging.ERROR)  # silence warnings on labels without image
    with _naming(path.name):
        sdata = spatialdata.read_zarr(path, selection=("tables", "shapes", "labels", "images"))
        return content_of(sdata, path.name, sample, bin_size, expression)


@contextmanager
def _naming(name: str) -> Iterator[None]:
    """Convert the various errors of zarr and spatialdata on damaged stores to one InputError."""
    try:
        yield
    except (MmsrlError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise InputError(f"{name}: not SpatialData, or damaged ({reason}); copy it anew") from error


def content_of(
    sdata: SpatialData, name: str, sample: str, bin_size: int | str | None = None, expression: str | None = None
) -> Content:
    """Return the content of the section named after the sample, or of the only section.

    Parameters
    ----------
    sdata
        SpatialData in memory.
    name
        Name of the file or folder, for messages.
    sample
        Name of the section.
    bin_size
        Bin size in µm, or ``"cell"``, to choose among several tables.
    expression
        See :func:`mmsrl.ingest.choice.choose_matrix`.

    Raises
    ------
    InputError
        There is no suitable table, more than one, or the annotated element is missing.
    """
    tables = {str(key): dict(table.uns.get("spatialdata_attrs", {})) for key, table in sdata.tables.items()}
    chosen = choose(_annotated(tables, set(sdata.shapes), set(sdata.labels)), name, sample, bin_size)
    table = _rows(sdata.tables[chosen.table], chosen.region)
    places = centres_of(sdata, table, chosen.kind, chosen.region, name)
    found, notes = pictures_of(sdata, places.element, f"{chosen.kind}[{chosen.region!r}]")
    move = np.eye(3)
    if found:
        first = max(found, key=lambda picture: picture.scale)
        move = np.diag([1 / first.scale, 1 / first.scale, 1.0]) @ first.to_pixels
        if is_scale(move):
            move = np.eye(3)  # avoid rounding errors
        else:
            notes.append(f"coordinates were rotated and shifted to lie on image {first.name}")
    pictures, factors = shown(found, move)
    if places.diameter is not None:
        factors["spot_diameter_fullres"] = places.diameter
    stated = scalefactors_of(table.uns.get(_keys.UNS_SPATIAL, {}).get(chosen.region, {}))
    matrix = choose_matrix(_candidates(table), name, expression, of=f" of {chosen}")
    features, columns = features_of(matrix.var)
    um_per_px, um_from, platform = um_per_unit(sdata, places, table.obs)
    content = content_of_table(
        counts=checked(Counts(matrix.matrix, _barcodes(table.obs_names, sample), features), name, matrix.expression),
        obs=table.obs,
        spatial=moved(places.points, move),
        pictures=pictures,
        scalefactors={key: value for key, value in stated.items() if not key.startswith("tissue_")} | factors,
        source=name,
        notes=[
            *matrix.notes,
            *map(info, [*places.notes, *columns]),
            *map(warning, notes),
        ],
        um_per_px=um_per_px,
        um_per_px_from=um_from,
        expression=matrix.expression,
    )
    bins = chosen.bins if isinstance(chosen.bins, int) else None
    platform = content.platform or platform
    return content._replace(bin_um=bins, platform=platform, **outlines_of(places.polygons, move))


def choose(found: Sequence[Annotated], name: str, sample: str, bin_size: int | str | None) -> Annotated:
    """Return the table of one section: the only one, or the one named after the sample and the bin size.

    Parameters
    ----------
    found
        All tables with their elements.
    name
        Name of the file or folder, for messages.
    sample
        Name of the section.
    bin_size
        Bin size in µm, or ``"cell"``; ``None`` if not given.

    Raises
    ------
    BinSizeError
        There are no bins of this size.
    InputError
        There is no table, or more than one.
    """
    bin_size = parse_bin_size(bin_size)
    if not found:
        raise InputError(
            f"{name}: no table annotates shapes or labels that are there; one with counts of spots is needed"
        )
    named = [place for place in found if sample in place[:2]]
    chosen = named or [place for place in found if place.region.startswith(f"{sample}_")] or list(found)
    sizes = sorted({str(place.bins) for place in chosen if place.bins is not None}, key=lambda size: (len(size), size))
    if bin_size is not None:
        fitting = [place for place in chosen if place.bins == bin_size]
        if not fitting:
            hint = f"there are {', '.join(sizes)}" if sizes else "no table is named after bins; leave bin_size empty"
            raise BinSizeError(f"{name}: bin size {bin_size} was asked for, but {hint}")
        chosen = fitting
    if len(chosen) > 1 and len(sizes) == len(chosen):
        raise InputError(f"{name}: has bins of {', '.join(sizes)} (µm); say which by bin_size")
    if len(chosen) > 1:
        there = ", ".join(map(str, chosen))
        raise InputError(f"{name}: holds {there}; name the sample as one of these, or write a .zarr with one of them")
    return chosen[0]


def _annotated(tables: dict[str, dict[str, Any]], shapes: set[str], labels: set[str]) -> list[Annotated]:
    """Return all pairs of a table and an existing element that it annotates."""
    return [
        Annotated(key, region, "shapes" if region in shapes else "labels")
        for key, attributes in sorted(tables.items())
        for region in map(str, np.atleast_1d(attributes.get("region") or []))
        if region in shapes or region in labels
    ]


def _rows(table: AnnData, region: str) -> AnnData:
    """Return the rows of a table that annotate one element."""
    in_region = (table.obs[table.uns["spatialdata_attrs"]["region_key"]].astype(str) == region).to_numpy()
    return table if in_region.all() else table[in_region].copy()


def _candidates(table: AnnData) -> list[Candidate]:
    """Return the matrices that may hold counts."""

    def layer(key: str) -> Candidate:
        return Candidate(f"layers[{key!r}]", table.n_vars, partial(_layer, table, key), lambda: table.var)

    places = [layer(key) for key in counts_named(table.layers)]
    if table.X is not None:
        places.append(Candidate("X", table.n_vars, lambda: csr_of(table.X), lambda: table.var))
    if table.raw is not None:
        places.append(Candidate("raw.X", table.raw.n_vars, lambda: csr_of(table.raw.X), lambda: table.raw.var))
    return places


def _layer(table: AnnData, key: str) -> Any:
    return csr_of(table.layers[key])


def _barcodes(index: pd.Index, sample: str) -> NDArray[np.object_]:
    """Return the names of the spots, without the sample name that files of a group append."""
    names = text_of(index)
    ending = f"-{sample}"
    return (names.str.removesuffix(ending) if names.str.endswith(ending).all() else names).to_numpy(dtype=object)
