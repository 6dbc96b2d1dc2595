"""File names and table columns of instruments other than Visium."""

from __future__ import annotations

from typing import NamedTuple


class Role(NamedTuple):
    """File of a section."""

    what: str
    """Content of the file, for messages."""
    names: tuple[str, ...]
    """Names in order of preference, with ``*`` as wildcard. A prefix (``<sample>_``) and ``.gz`` are accepted."""
    needed: bool = True
    unless: str | None = None
    """Regular expression of names to exclude."""


class Cells(NamedTuple):
    """Columns of a table of counts and a table of cells. The first existing column of each inner tuple is used."""

    counts_id: tuple[tuple[str, ...], ...]
    """Columns of the counts that identify a cell together; empty for a matrix with barcodes. ``""`` is an unnamed
    column."""
    id: tuple[tuple[str, ...], ...]
    """Columns of the cells that identify a cell together."""
    place: tuple[str, str]
    """Coordinates x, y."""
    um_per_px: float | None
    """Length of one coordinate unit in µm; ``None`` derives it from the table."""
    area_um2: str | None = None
    area_px: str | None = None
    outline_id: tuple[tuple[str, ...], ...] = ()
    """Columns of the outlines that identify a cell together."""
    vertices: tuple[str, str] | None = None
    """Coordinates x, y of a vertex in the table of outlines; ``None`` for GeoParquet."""
    name: str | None = None
    """Column with the vendor's name of a cell, if it differs from ``id``."""
    controls: str | None = None
    """Regular expression of control features, in addition to those of all platforms."""


class Layout(NamedTuple):
    """Layout of an instrument's output folder."""

    platforms: tuple[str, ...]
    """Names of :data:`mmsrl._platforms.PLATFORMS` with this layout. The first is the default."""
    marks: tuple[tuple[str, ...], ...]
    """Alternative sets of file names that identify the instrument. All names of one set are required."""
    roles: dict[str, Role]
    """Files by role."""
    cells: Cells | None = None
    """Columns of the two tables; ``None`` for other formats."""
    unread: tuple[tuple[str, str], ...] = ()
    """Names of files with counts in an unsupported format, and the remedy."""


_PROTEIN = r"\bprotein\b"
UNNAMED = ("", "Unnamed: 0", "__index_level_0__")
"""Names of an unnamed column of row names: in CSV, as read by pandas, and in Parquet."""

LAYOUTS = (
    Layout(
        ("xenium", "atera"),
        (("cell_feature_matrix*",), ("experiment.xenium",)),
        {
            "counts": Role("counts", ("cell_feature_matrix.h5", "cell_feature_matrix")),
            "cells": Role("places of the cells", ("cells.parquet", "cells.csv")),
            "outlines": Role("outlines", ("cell_boundaries.parquet", "cell_boundaries.csv"), needed=False),
        },
        Cells(
            (),
            (("cell_id",),),
            ("x_centroid", "y_centroid"),
            1.0,
            area_um2="cell_area",
            outline_id=(("cell_id",),),
            vertices=("vertex_x", "vertex_y"),
        ),
        unread=(
            ("cell_feature_matrix.zarr.zip", "copy cell_feature_matrix.h5 as well, which the instrument writes beside"),
            ("cell_feature_matrix.tar.gz", "unpack it, or copy cell_feature_matrix.h5 as well"),
        ),
    ),
    Layout(
        ("cosmx",),
        (("exprMat_file.csv",),),
        {
            "counts": Role("counts", ("exprMat_file.csv",)),
            "cells": Role("places of the cells", ("metadata_file.csv",)),
            "outlines": Role("outlines", ("polygons.csv",), needed=False),
        },
        Cells(
            (("fov",), ("cell_ID",)),
            (("fov",), ("cell_ID",)),
            ("CenterX_global_px", "CenterY_global_px"),
            None,
            area_um2="Area.um2",
            area_px="Area",
            outline_id=(("fov",), ("cellID", "cell_ID")),
            vertices=("x_global_px", "y_global_px"),
            name="cell",
            controls=r"^(?:Negative\d|NegPrb|SystemControl|FalseCode)",
        ),
    ),
    Layout(
        ("merscope", "merfish"),
        (("cell_by_gene*.csv",), ("cell_by_gene*.parquet",)),
        {
            "counts": Role("counts", ("cell_by_gene*.csv", "cell_by_gene*.parquet")),
            "cells": Role("places of the cells", ("cell_metadata*.csv", "cell_metadata*.parquet")),
            "outlines": Role("outlines", ("cell_boundaries.parquet", "*_micron_space.parquet"), needed=False),
        },
        Cells(
            (("EntityID", "cell", "cell_id", *UNNAMED),),
            (("EntityID", "cell", "cell_id", *UNNAMED),),
            ("center_x", "center_y"),
            1.0,
            outline_id=(("EntityID",),),
        ),
    ),
    Layout(
        ("seqfish",),
        (("CellxGene.csv",), ("CellCoordinates.csv",)),
        {
            "counts": Role("counts", ("CellxGene.csv",)),
            "cells": Role("places of the cells", ("CellCoordinates.csv",)),
        },
        Cells((("label", "cell", *UNNAMED),), (("label",),), ("center_x", "center_y"), 1.0, area_um2="area"),
    ),
    Layout(
        ("stereoseq",),
        (("*.gef",), ("*.gem",)),
        {
            "cells": Role("counts of cells", ("adjusted.cellbin.gef", "cellbin.gef"), needed=False, unless=_PROTEIN),
            "bins": Role(
                "counts of bins",
                ("tissue.gef", "tissuecut.gef", "*.gef"),
                needed=False,
                unless=rf"(cellbin|raw)\.gef|{_PROTEIN}",
            ),
            "raw": Role("counts of bins, of the whole chip", ("raw.gef",), needed=False, unless=_PROTEIN),
        },
        unread=(("*.gem", "convert it to .gef or .h5ad with the vendor's SAW or stereopy"),),
    ),
    Layout(
        ("curio", "slideseq"),
        (("anndata.h5ad", "Metrics.csv"),),
        {"counts": Role("counts and places", ("anndata.h5ad",))},
    ),
    Layout(
        ("dbit",),
        (("barcode_list*", "*.h5ad"),),
        {
            "counts": Role("counts", ("*.h5ad",)),
            "barcodes": Role("places of the barcodes", ("barcode_list*",)),
            "image": Role("the image", ("tissue_lowres_image.png",), needed=False),
        },
    ),
)
"""Layouts of all supported instruments."""
