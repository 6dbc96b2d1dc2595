"""Space Ranger's folders, and other data in the same layout."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from mmsrl import _keys
from mmsrl._errors import InputError
from mmsrl.ingest import images, layout, matrix, positions
from mmsrl.ingest.content import Content, info, warning


def read_folder(root: Path, bin_size: int | str | None) -> tuple[Content, list[Path]]:
    """Read Space Ranger's `outs`, its parent, or one `binned_outputs/square_*um`.

    Parameters
    ----------
    root
        The folder.
    bin_size
        Visium HD bin in µm, or ``"cell"``; ``None`` takes the only one.

    Returns
    -------
    content, files
        The section, and the files that it was read from.

    Raises
    ------
    InputError
        A file is missing, damaged or does not belong to the others.
    """
    section, said = layout.find_section(root, bin_size)
    notes = [info(text) for text in said]
    if section.matrix.is_dir():
        counts, files = matrix.read_10x_mtx(section.matrix)
    else:
        counts, files = matrix.read_10x_h5(section.matrix), [section.matrix]
    table = positions.read_positions(section.positions)
    found = table.index.get_indexer(pd.Index(counts.barcodes))
    missing = counts.barcodes[found < 0]
    if len(missing):
        raise InputError(
            f"{len(missing)} of the {len(counts.barcodes)} barcodes of {section.matrix.name} are not in "
            f"{section.positions.name}, e.g. {missing[0]!r} (there: {table.index[0]!r}); are both of the same section?"
        )
    table = table.iloc[found]
    if not section.filtered:
        inside = table[_keys.IN_TISSUE].to_numpy() == 1
        if not inside.any():
            raise InputError(f"{section.positions.name}: no barcode of the raw matrix is in the tissue (in_tissue 1)")
        text = f"no filtered matrix: took the {inside.sum()} of {len(inside)} barcodes of the raw one in the tissue"
        notes.append(warning(text))
        counts = matrix.Counts(counts.matrix[inside], counts.barcodes[inside], counts.features)
        table = table[inside]
    factors: dict[str, float] = {}
    if section.scalefactors is None:
        notes.append(warning("spatial/scalefactors_json.json is missing: images cannot be placed and are not used"))
    else:
        factors = layout.read_scalefactors(section.scalefactors)
        files.append(section.scalefactors)
    pictures, remarks = images.read_images(section.images)
    notes += [warning(text) for text in remarks]
    content = Content(
        counts=counts,
        obs=table[[_keys.IN_TISSUE, _keys.ARRAY_ROW, _keys.ARRAY_COL]],
        spatial=table[["pxl_col_in_fullres", "pxl_row_in_fullres"]].to_numpy(),
        pictures=pictures,
        scalefactors=factors,
        source=section.positions.name,
        notes=notes,
        bin_um=section.bin_um,
    )
    return content, [*files, section.positions, *section.images.values()]
