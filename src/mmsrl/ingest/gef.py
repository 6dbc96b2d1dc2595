"""Reader of the `.gef` format of Stereo-seq: counts of cells or of square bins.

spatialdata-io reads `.gef` only from complete folders of SAW up to version 7, with images and an `.h5ad`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl._hdf5 import open_hdf5
from mmsrl.ingest.cleaning import GENE_EXPRESSION
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.h5ad import MAX_STACKED
from mmsrl.ingest.instruments import Found, chosen_gef
from mmsrl.ingest.layout import BinSizeError, parse_bin_size
from mmsrl.ingest.matrix import Counts, checked
from mmsrl.ingest.outlines import areas_of, polygons

USUAL_BIN = 50
"""Default bin size in DNBs per side: 25 µm on a chip with a DNB spacing of 0.5 µm."""

RECORDS_AT_ONCE = 2**24
"""Number of records held in memory at a time."""

PADDING = 32767
"""Padding of cell borders with fewer vertices than the array has room for."""


def read_gef(found: Found, bin_size: int | str | None, stated_um: float | None) -> tuple[Content, list[Path]]:
    """Read cells or square bins of a Stereo-seq section.

    Parameters
    ----------
    found
        Files of the section, from :func:`mmsrl.ingest.instruments.find`.
    bin_size
        Bin size in µm, or ``"cell"``. ``None`` reads cells if there are any, else bins of :data:`USUAL_BIN`.
    stated_um
        Centre-to-centre distance of DNBs on the chip in µm. ``None`` reads it from the file.

    Returns
    -------
    content
        The section.
    files
        The file that was read.

    Raises
    ------
    InputError
        The file is damaged, or the bin size is not a multiple of the DNB spacing.
    """
    bin_size = parse_bin_size(bin_size)
    notes = [info(text) for text in found.notes]
    path, group = chosen_gef(found, bin_size)
    as_cells = path == found.files.get("cells")
    if as_cells and bin_size is None:
        notes.append(info(f"cells of {path.name}; give bin_size in µm for square bins"))
    if path == found.files.get("raw"):
        notes.append(warning(f"{path.name} covers the whole chip, including bins outside the tissue"))
    with open_hdf5(path, "GEF") as file:
        content = _cells(file[group], path.name) if as_cells else _bins(file[group], path.name, bin_size, stated_um)
    return content._replace(notes=[*notes, *content.notes], platform=found.platform), [path]


def _cells(group: h5py.Group, name: str) -> Content:
    cells, expressed = group["cell"][()], group["cellExp"][()]
    indptr = np.concatenate([[0], np.cumsum(cells["geneCount"], dtype=np.int64)])
    # Adjusted files keep the counts of removed cells, so offsets have gaps.
    records = np.repeat(cells["offset"].astype(np.int64) - indptr[:-1], cells["geneCount"]) + np.arange(indptr[-1])
    if len(records) and records.max() >= len(expressed):
        raise InputError(f"{name}: cells and their counts do not belong together; copy it anew")
    expressed, features = expressed[records], _features(group["gene"][()])
    matrix = sparse.csr_matrix(
        (expressed["count"].astype(np.float32), expressed["geneID"].astype(np.int64), indptr),
        shape=(len(cells), len(features)),
    )
    spatial = np.column_stack([cells["x"], cells["y"]]).astype(np.float64)
    outlines = _borders(group["cellBorder"][()], spatial) if "cellBorder" in group else None
    area = cells["area"].astype(np.float64) if "area" in cells.dtype.names else None
    if area is None and outlines is not None:
        area = areas_of(outlines)
    counts = Counts(matrix, cells["id"].astype(str).astype(object), features)
    return _content(counts, spatial, _um(group.file.attrs), name)._replace(outlines=outlines, area=area)


def _bins(group: h5py.Group, name: str, bin_um: int | str | None, stated_um: float | None) -> Content:
    records, genes = group["expression"], group["gene"][()]
    of_file = _um(records.attrs) or _um(group.file.attrs)
    um = stated_um or of_file
    width, text = USUAL_BIN, f"bin_size is not given; took bins of {USUAL_BIN} x {USUAL_BIN} spots of the chip"
    if isinstance(bin_um, int):
        if um is None:
            raise BinSizeError(f"{name}: does not say its resolution, so that bins of {bin_um} µm cannot be made")
        width, text = round(bin_um / um), f"bins of {bin_um} µm"
        if width < 1 or abs(width * um - bin_um) > 1e-6:
            raise BinSizeError(
                f"{name}: spots are {um:g} µm apart, of which {bin_um} µm are no multiple; leave bin_size empty"
            )
    ends = np.cumsum(genes["count"], dtype=np.int64)
    if not len(ends) or ends[-1] != len(records):
        raise InputError(f"{name}: genes and their counts do not belong together; copy it anew")
    parts = [
        _binned(records[start : start + RECORDS_AT_ONCE], ends, start, width)
        for start in range(0, len(records), RECORDS_AT_ONCE)
    ]
    places, gene, count = (np.concatenate(part) for part in zip(*parts, strict=True))
    bins, row = np.unique(places, return_inverse=True)
    features = _features(genes)
    matrix = sparse.coo_matrix((count, (row, gene)), shape=(len(bins), len(features)), dtype=np.float32).tocsr()
    col, line = (bins >> 32).astype(np.int64), (bins & 0xFFFFFFFF).astype(np.int64)
    spatial = ((np.column_stack([col, line]) + 0.5) * width).astype(np.float64)
    names = np.array([f"{x}_{y}" for x, y in zip(col * width, line * width, strict=True)], dtype=object)
    content = _content(Counts(matrix, names, features), spatial, of_file, name)
    obs = content.obs.assign(**{_keys.ARRAY_ROW: line, _keys.ARRAY_COL: col})
    return content._replace(obs=obs, notes=[info(text)])


def _binned(
    records: NDArray[Any], ends: NDArray[np.int64], start: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
    """Return bin (x in the upper 32 bits, y in the lower), gene and summed count of the records of DNBs."""
    gene = np.searchsorted(ends, np.arange(start, start + len(records)), side="right")
    place = (records["x"].astype(np.int64) // width << 32) | (records["y"].astype(np.int64) // width)
    table = pd.DataFrame({"place": place, "gene": gene, "count": records["count"].astype(np.float32)})
    summed = table.groupby(["place", "gene"], sort=False, as_index=False)["count"].sum()
    return summed["place"].to_numpy(), summed["gene"].to_numpy(), summed["count"].to_numpy(dtype=np.float32)


def _content(counts: Counts, spatial: NDArray[np.float64], um: float | None, name: str) -> Content:
    return Content(
        counts=checked(counts, name),
        obs=pd.DataFrame({_keys.IN_TISSUE: np.ones(len(spatial), dtype=np.int64)}),
        spatial=spatial,
        pictures={},
        scalefactors={},
        source=name,
        notes=[],
        um_per_px=um,
        um_per_px_from=f"the resolution of {name}, {um:g} µm" if um else "",
        max_stacked=MAX_STACKED,
    )


def _um(attributes: h5py.AttributeManager) -> float | None:
    """Return the DNB spacing in µm, which the file states in nm; ``None`` if it does not."""
    stated = np.asarray(attributes.get("resolution", 0)).ravel()
    return float(stated[0]) / 1000 if len(stated) and stated[0] > 0 else None


def _features(genes: NDArray[Any]) -> pd.DataFrame:
    """Return symbols and identifiers, which older versions of SAW store in one column."""
    fields = genes.dtype.names or ()
    symbols, ids = (
        next((genes[field] for field in names if field in fields), None)
        for names in (("geneName", "gene", "geneID"), ("geneID", "gene", "geneName"))
    )
    if symbols is None or ids is None:
        raise InputError(f"its genes have no name (geneName, gene or geneID), only {', '.join(fields)}")
    text = [[value.decode() if isinstance(value, bytes) else str(value) for value in part] for part in (symbols, ids)]
    return pd.DataFrame({"symbol": text[0], "gene_ids": text[1], "feature_types": GENE_EXPRESSION, "genome": ""})


def _borders(borders: NDArray[np.int16], centres: NDArray[np.float64]) -> NDArray[np.object_]:
    """Return the outlines of cells, (n_cells,), from border vertices relative to their centres, (n_cells, 32, 2)."""
    used = (borders != PADDING).all(axis=2)
    cell, _ = np.nonzero(used)
    outlines = np.full(len(borders), None, dtype=object)
    enough = used.sum(axis=1) >= 3
    vertices = borders[used] + centres[cell]
    keep = enough[cell]
    if keep.any():
        _, index = np.unique(cell[keep], return_inverse=True)
        outlines[enough] = polygons(vertices[keep], index)
    return outlines
