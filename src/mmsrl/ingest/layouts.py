"""The files of instruments other than Visium, by the names that vendors give them, and the columns in these."""

from __future__ import annotations

from typing import NamedTuple


class Role(NamedTuple):
    """One file of a section."""

    what: str
    names: tuple[str, ...]
    """Names in order of preference, ``*`` for anything; a prefix (``<sample>_``) and ``.gz`` are accepted of each."""
    needed: bool = True
    unless: str | None = None
    """Pattern of names that are another file."""


class Cells(NamedTuple):
    """Columns of a table of counts and of a table of cells. Of several names in one tuple the first that is there."""

    counts_id: tuple[tuple[str, ...], ...]
    """Columns that name a cell together; empty for a matrix with names of its own. ``""`` is a column without name."""
    id: tuple[tuple[str, ...], ...]
    place: tuple[str, str]
    """x, y."""
    um_per_px: float | None
    """µm of one unit of these; ``None``: as the table tells."""
    area_um2: str | None = None
    area_px: str | None = None
    outline_id: tuple[tuple[str, ...], ...] = ()
    vertices: tuple[str, str] | None = None
    """x and y of a vertex in the table of outlines; ``None`` for GeoParquet."""
    name: str | None = None
    """Column of the table of cells with the vendor's own name of a cell, where it is another than ``id``."""
    controls: str | None = None
    """Pattern of the names of control features beyond those that are known of all platforms."""


class Layout(NamedTuple):
    """How an instrument's folder is laid out."""

    platforms: tuple[str, ...]
    """Names of :data:`mmsrl._platforms.PLATFORMS` that are read so; the first where none is stated."""
    marks: tuple[tuple[str, ...], ...]
    """Alternatives of names that tell the instrument, all of one needed."""
    roles: dict[str, Role]
    cells: Cells | None = None
    """Where two tables, of counts and of cells, are what is read."""
    unread: tuple[tuple[str, str], ...] = ()
    """Names of files that hold counts but are not read, and what to do."""


_PROTEIN = r"\bprotein\b"
UNNAMED = ("", "Unnamed: 0", "__index_level_0__")
"""What a column of row names is called where it has no name, by itself, by pandas in text and in Parquet."""

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
"""The instruments whose folders are read."""
