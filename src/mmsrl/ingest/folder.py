"""Reader of Space Ranger folders and archives, and of other data in the same layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mmsrl import _keys
from mmsrl.ingest import images, layout, look, matrix, places, segmentation
from mmsrl.ingest.content import Content, info, warning
from mmsrl.ingest.look import Found
from mmsrl.ingest.matrix import Counts

_STACKED_CELLS = 0.01
"""Maximum share of cells with identical centroids, due to nested cells and vertices rounded to 0.1 pixels."""


def read_folder(path: Path, bin_size: int | str | None, scratch: Path | None = None) -> tuple[Content, list[Path]]:
    """Read a section in the layout of Space Ranger: a folder, an archive, or a folder with archives of its parts.

    Parameters
    ----------
    path
        Folder or archive.
    bin_size
        Visium HD bin size in µm, or ``"cell"``. ``None`` requires that the folder has one only.
    scratch
        Parent of the temporary folder for unpacked archives. ``None`` uses the system's temporary folder.

    Returns
    -------
    content
        The section.
    files
        Files that were read.

    Raises
    ------
    InputError
        A file is missing, damaged or inconsistent with the others.
    """
    with look.located(path, bin_size, scratch) as found:
        assert found is not None, "unpacked sections are always located"
        section = found.section
        if look.is_text(section.matrix):
            counts, three = matrix.read_10x_mtx(section.matrix)
            named = three[1].name
        else:
            counts = matrix.read_10x_h5(look.plain(section.matrix, found))
            named = section.matrix.name
        look.refuse_aggregated([str(barcode) for barcode in counts.barcodes], named)
        notes = [{"level": level, "text": text} for level, text in found.notes]
        factors: dict[str, float] = {}
        if section.scalefactors is None:
            notes.append(warning("spatial/scalefactors_json.json is missing: images cannot be placed and are not used"))
        else:
            factors = layout.read_scalefactors(look.plain(section.scalefactors, found))
        pictures, remarks = images.read_images(
            {size: look.plain(image, found) for size, image in section.images.items()}
        )
        notes += map(warning, remarks)
        content = Content(
            counts=counts,
            obs=pd.DataFrame(),
            spatial=np.empty((0, 2)),
            pictures=pictures,
            scalefactors=factors,
            source="",
            notes=notes,
            bin_um=section.bin_um,
        )
        return (_spots if section.outlines is None else _cells)(content, found), found.files


def _spots(content: Content, found: Found) -> Content:
    """Add the positions of spots."""
    path = found.section.positions
    assert path is not None, "a section without outlines has positions"
    placed = places.read_places(look.plain(path, found), content.counts.barcodes.tolist(), found.section)
    return content._replace(
        counts=_kept(content.counts, placed.kept),
        obs=placed.table[[_keys.IN_TISSUE, _keys.ARRAY_ROW, _keys.ARRAY_COL]],
        spatial=placed.table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(),
        source=path.name,
        notes=[*content.notes, *map(warning, placed.notes)],
    )


def _cells(content: Content, found: Found) -> Content:
    """Add segmented cells, located at the centroids of their polygons."""
    path, notes = found.section.outlines, list(content.notes)
    assert path is not None, "a section of cells has outlines"
    cells = segmentation.read_cells(look.plain(path, found), content.counts.barcodes)
    notes += map(warning, cells.notes)
    if not found.section.filtered:
        notes.append(warning("no filtered matrix of cells: took all of the raw one"))
    diameter = float(np.median(2 * np.sqrt(cells.areas / np.pi)))
    notes.append(info(f"{len(cells.areas)} segmented cells, with a median diameter of {diameter:.1f} pixels"))
    return content._replace(
        counts=_kept(content.counts, cells.kept),
        obs=pd.DataFrame({_keys.IN_TISSUE: np.ones(len(cells.areas), dtype=np.int64)}),
        spatial=cells.spatial,
        # Plots that draw cells as dots need a diameter, which Space Ranger does not give.
        scalefactors={"spot_diameter_fullres": diameter, **content.scalefactors},
        source=path.name,
        notes=notes,
        platform="visium_hd",
        area=cells.areas,
        outlines=cells.outlines,
        max_stacked=_STACKED_CELLS,
    )


def _kept(counts: Counts, kept: NDArray[np.bool_]) -> Counts:
    return counts if kept.all() else Counts(counts.matrix[kept], counts.barcodes[kept], counts.features)
